/* Panel: what the prompt adds. Shows the noise predicted without and with it, their difference, and this evaluation
   at another guidance scale. All of it is computed here at once, from the recording. */

import { gainOf } from "./calm.js";
import { chart, number } from "./chart.js";
import { guidedBy, inPlane, METHODS, USUAL } from "./guidance_methods.js";
import { predictedX0 } from "./quantities.js";
import { vectors } from "./vectors.js";

/** The numbers of rescale and APG: the run's own, or the usual ones. */
function settingsOf(run) {
  const isApg = run.guidance_method === "apg";
  return {
    rescale: run.guidance_rescale || USUAL.rescale,
    eta: isApg ? run.apg_eta : USUAL.eta,
    norm: isApg ? run.apg_norm : USUAL.norm,
  };
}

export const panel = {
  name: "guidance",
  place: "deeper",
  build(context) {
    const { h, say, state } = context;
    const [LOW, HIGH] = [-2, 20];
    const makePane = (name, colour, word) => {
      const canvas = h("canvas", { role: "img", class: "ls-pixels", "aria-label": word, "data-guidance": name });
      const note = h("small", {});
      return {
        canvas,
        note,
        figure: h(
          "figure",
          { class: "ls-pane", "data-colour": colour },
          h("div", { class: "ls-pane-table" }, h("div", { class: "ls-frame" }, canvas)),
          h(
            "figcaption",
            {},
            h(
              "div",
              { class: "ls-pane-head" },
              h("i", { class: "ls-key" }),
              h("span", { class: "ls-pane-name" }, word),
            ),
            note,
          ),
        ),
      };
    };
    const uncond = makePane("eps_uncond", "noise", say("pane.eps_uncond"));
    const cond = makePane("eps_cond", "noise", say("pane.eps_cond"));
    const difference = makePane("guidance", "guidance", say("pane.guidance"));
    const whatIfPane = makePane("what_if", "x0", say("whatif.picture"));
    const real = makePane("real", "x0", say("pane.denoised"));
    const slider = h("input", {
      type: "range",
      min: LOW,
      max: HIGH,
      step: 0.1,
      "aria-label": say("whatif"),
      class: "ls-range",
      oninput: () => choose(Number(slider.value)),
    });
    let method = "cfg";
    const methods = h(
      "select",
      {
        class: "ls-choice",
        "aria-label": say("guidance.method"),
        onchange: () => {
          method = methods.value;
          context.set({});
        },
      },
      ...METHODS.map((name) => h("option", { value: name }, say(`guidance.method.${name}`))),
    );
    const plane = vectors({ label: say("guidance.vectors") });
    const value = h("output", { class: "ls-output" });
    const tick = h("button", { type: "button", class: "ls-tick", onclick: () => choose(null) });
    const track = h("div", { class: "ls-track" }, slider, tick);
    const again = h("button", { type: "button", class: "ls-button", onclick: makeRun }, say("whatif.again"));
    const moveNote = h("p", { class: "ls-note" });
    const sizes = chart({ width: 420, height: 150, label: say("guidance.sizes") });
    const angle = chart({ width: 420, height: 150, label: say("guidance.cosine") });
    const ratio = chart({ width: 420, height: 150, label: say("guidance.ratio") });
    const none = h("p", { class: "ls-note" });
    const body = h(
      "div",
      {},
      h(
        "div",
        { class: "ls-row-of", "data-many": "5" },
        uncond.figure,
        cond.figure,
        difference.figure,
        real.figure,
        whatIfPane.figure,
      ),
      h("div", { class: "ls-whatif" }, h("label", {}, say("whatif")), track, value, methods, again),
      moveNote,
      h(
        "div",
        { class: "ls-charts" },
        h("figure", {}, h("h3", {}, say("guidance.vectors")), plane.element),
        h("figure", {}, h("h3", {}, say("guidance.sizes")), sizes.element),
        h("figure", {}, h("h3", {}, say("guidance.ratio")), ratio.element),
        h("figure", {}, h("h3", {}, say("guidance.cosine")), angle.element),
      ),
    );
    const element = h("section", { class: "ls-panel" }, none, body);

    function choose(scale) {
      context.set({ guidance: scale });
    }
    function makeRun() {
      context.branch({ guidance_scale: current(), evaluation: context.index });
    }
    const own = () => context.record.evaluations[context.index].guidance_scale ?? context.record.run.guidance_scale;
    const current = () => state.guidance ?? own();

    return {
      element,
      draw(at, total) {
        const { record, index, painter } = context;
        const why = record.why(index, "guidance");
        body.hidden = !!why;
        none.textContent = why ? say(`undefined.${why}`) : "";
        none.hidden = !why;
        if (why) return;
        const [C, H, W] = record.shape;
        // The VAE has no picture for another guidance scale
        const quick = record.decoder && ["fast", "tiny", "vae"].includes(context.state.how);
        const draw = (pane, latents, words, gain = 1) => {
          if (quick) painter.picture(pane.canvas, latents, [C, H, W], record.decoder, { gain, mayBeCoarse: true });
          else painter.tiles(pane.canvas, latents, [C, H, W], 3);
          pane.canvas.classList.toggle("ls-pixels", !quick);
          pane.note.textContent = words;
        };
        const gain = context.state.calm ? gainOf("eps_cond") : 1;
        const fast = gain < 1 ? say("how.calm", { gain: number(gain, 2) }) : say("how.fast");
        const how = quick ? fast : say("how.channels", { channels: C, range: "3.0" });
        draw(uncond, record.latents(index, "eps_uncond"), how, gain);
        draw(cond, record.latents(index, "eps_cond"), how, gain);
        for (const { canvas } of [uncond, cond])
          canvas.parentElement.classList.toggle("ls-noise-tone", quick && gain < 1);
        const high = record.scale("guidance");
        painter.heat(difference.canvas, record.cells(index, "guidance"), [H, W], high);
        difference.note.textContent = say("how.cells", { high: number(high, 2) });
        const x0 = record.latents(index, "denoised");
        const w = current();
        if (x0) {
          draw(real, x0, say("whatif.real", { guidance: number(own(), 1) }));
          const type = record.run.prediction_type;
          const settings = settingsOf(record.run);
          const outputs = METHODS.map((name) => guidedBy(name, type, at, w, settings));
          const other = predictedX0(type, at, outputs[METHODS.indexOf(method)]);
          const note = method === "cfg" ? "whatif.note" : "whatif.note.by";
          draw(whatIfPane, other, say(note, { guidance: number(w, 1), method: say(`guidance.method.${method}`) }));
          const ends = [at.model_uncond, at.model_cond, ...outputs, at.model];
          const names = [
            say("guidance.without"),
            say("guidance.with"),
            ...METHODS.map((name) => say(`guidance.method.${name}`)),
            say("guidance.run"),
          ];
          plane.draw(
            inPlane(type, at, ends).map(([along, across], k) => ({
              end: [across, along], // d is mostly across
              label: names[k],
              isChosen: k - 2 === METHODS.indexOf(method),
            })),
            { x: say("guidance.across"), y: say("guidance.along") },
          );
        }
        plane.element.parentElement.hidden = !x0;
        for (const pane of [real, whatIfPane]) pane.figure.hidden = !x0;
        slider.value = String(w);
        value.textContent = number(w, 1);
        tick.style.left = `${((own() - LOW) / (HIGH - LOW)) * 100}%`;
        tick.textContent = number(own(), 1);
        tick.title = say("whatif.reset", { guidance: number(own(), 1) });
        again.hidden = !context.branch || !context.online;
        const isLocked = !!context.isLocked?.("guidance_scale");
        again.title = isLocked ? say("branches.locked.field") : "";
        again.disabled = isLocked || method !== "cfg" || w < 1 || Math.abs(w - own()) < 1e-9;
        moveNote.textContent = say(
          method !== "cfg" ? `whatif.by.${method}` : at.captured ? "whatif.captured" : "whatif.warning",
          settingsOf(record.run),
        );
        const all = record.evaluations;
        const per = (name) => all.map((_e, k) => [k, record.rms(k, name)]).filter((point) => point[1] !== null);
        const axis = { low: 0, high: total - 1, from_one: true, label: say("schedule.evaluations") };
        sizes.draw({
          lines: [
            { points: per("eps_uncond"), class: "ls-ghost", label: say("guidance.without"), label_at: "start" },
            { points: per("eps_cond"), class: "ls-noise", label: say("guidance.with") },
            { points: per("guidance"), class: "ls-guide", label: say("guidance.d") },
          ],
          x: axis,
          y: { low: 0, high: Math.max(1.2, ...per("eps_cond").map((p) => p[1])) },
          marker: { x: index, points: [record.rms(index, "guidance")] },
          pick: (x) => context.walk(Math.round(x)),
        });
        const ratioAt = (k) => {
          const [d, u] = [record.rms(k, "guidance"), record.rms(k, "eps_uncond")];
          return d === null || !u ? null : d / u;
        };
        const ratios = all.map((_e, k) => [k, ratioAt(k)]).filter((point) => point[1] !== null);
        ratio.draw({
          lines: [{ points: ratios, class: "ls-guide" }],
          x: axis,
          y: { low: 0 },
          marker: { x: index, points: [ratioAt(index)] },
          pick: (x) => context.walk(Math.round(x)),
        });
        const cosines = all
          .map((_e, k) => [k, record.cosine(k, "eps_cond", "eps_uncond")])
          .filter((point) => point[1] !== null);
        angle.draw({
          lines: [{ points: cosines, class: "ls-guide" }],
          x: axis,
          y: { high: 1, low: Math.min(0.9, ...cosines.map((p) => p[1])) },
          marker: { x: index, points: [record.cosine(index, "eps_cond", "eps_uncond")] },
          pick: (x) => context.walk(Math.round(x)),
        });
      },
    };
  },
};
