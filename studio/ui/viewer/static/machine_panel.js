/* Panel: the whole machine at the head of the viewer, with this run's own pictures and blocks. A click on a part opens the
   panel that shows what it does. */

import { machine } from "../../static/machine.js";
import { architectureOf } from "./ask.js";

// Where each part leads
const PANEL_OF = {
  picture: "forward",
  encoder: "vae",
  latents: "latent",
  noising: "forward",
  noise: "panes",
  unet: "architecture",
  time: "schedules",
  attention: "attention",
  steps: "equation",
  prompt: "words",
  text_encoder: "words",
  guidance: "guidance",
  clean: "latent",
  decoder: "vae",
  output: "panes",
};

/** Whether a run began at a picture and not at pure noise. */
export const isFromPicture = (record) =>
  record.isFromPicture || (record.run.kind ?? "text_to_image") !== "text_to_image";

export const panel = {
  name: "machine",
  place: "head",
  build(context) {
    const { h, say } = context;
    const hasPanel = (part) => context.props.panels.includes(PANEL_OF[part]); // a replay has fewer
    const drawing = machine({
      words: context.props.machine,
      pick: (part) => hasPanel(part) && context.show(PANEL_OF[part]),
    });
    const text = h("p", { class: "ls-machine-say" }, say("machine.what"));
    const fold = h("button", {
      class: "ls-pick",
      type: "button",
      onclick: () => context.set({ machine: !context.state.machine }),
    });
    const body = h("div", { class: "ls-machine-body" }, drawing.element, text);
    const element = h(
      "section",
      { class: "ls-machine-head", "aria-label": say("machine") },
      h("div", { class: "ls-machine-line" }, h("h2", {}, say("machine")), fold),
      body,
    );
    let recordHere = null;
    let hasEnded = false;
    let checkpointHere = null;

    /** What the part under the pointer or the focus is, and where it leads. */
    function tell(event) {
      const part = event.target.closest?.("[data-part]")?.dataset.part;
      const name = part && context.props.machine[`part.${part}`];
      text.textContent = !part
        ? say("machine.what")
        : hasPanel(part)
          ? say("machine.leads", { part: name, panel: say(`tab.${PANEL_OF[part]}`) })
          : name;
    }
    for (const event of ["pointerover", "focusin", "focusout"]) drawing.element.addEventListener(event, tell);
    drawing.element.addEventListener("pointerleave", tell);

    /** The run's own pictures at their places. */
    function illustrate(record) {
      const tiles = (latents) => {
        const canvas = document.createElement("canvas");
        context.painter.tiles(canvas, latents, record.shape, 3);
        context.painter.finish();
        return canvas.toDataURL();
      };
      drawing.show({
        noise: tiles(record.evaluations[0].x_t),
        clean: record.clean && tiles(record.clean),
        output: record.picture?.toDataURL(),
      });
      drawing.count(record.evaluations.length);
      drawing.begin(isFromPicture(record) ? "picture" : "noise");
    }

    /** Without an answer the drawing keeps the usual blocks, without shapes. */
    async function fit() {
      const checkpoint = context.checkpoint();
      if (!checkpoint || checkpointHere === checkpoint) return;
      checkpointHere = checkpoint;
      const answer = await architectureOf(checkpoint, () => checkpointHere === checkpoint).catch(() => null);
      if (checkpointHere === checkpoint) drawing.fit(answer);
    }

    return {
      element,
      draw() {
        const { record, state } = context;
        body.hidden = !state.machine;
        fold.textContent = say(state.machine ? "machine.hide" : "machine.show");
        fold.setAttribute("aria-expanded", String(state.machine));
        if (!state.machine) return;
        if (record !== recordHere || record.ended !== hasEnded) {
          recordHere = record;
          hasEnded = record.ended;
          illustrate(record);
        }
        if (record.ended) fit(); // while a run goes on the network is busy with it
      },
    };
  },
};
