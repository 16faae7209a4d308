/* The figure of the last chapter: the whole machine once more. A part that is chosen says what it does, and what it is
   in the run that is shown. */

import { h } from "../../static/elements.js";
import { machine } from "../../static/machine.js";
import { architectureOf } from "../../viewer/static/ask.js";
import { number } from "../../viewer/static/chart.js";

export const whole = {
  name: "whole",
  build(context) {
    const { tell: say, props } = context;
    const drawing = machine({ words: props.machine, pick: choose });
    context.join(drawing);
    const name = h("strong", {});
    const text = h("p", {});
    const facts = h("p", { class: "ls-note" });
    const chapter = h("button", { class: "ls-button", type: "button", onclick: () => leave() }, "");
    const about = h("div", { class: "ls-learn-part" }, h("div", { role: "status" }, name, text, facts), chapter);
    const element = h("div", { class: "ls-learn-whole" }, drawing.element, about);
    let part = "unet";
    let answer = null; // of the question `architecture`
    let checkpoint = null;

    function choose(next) {
      part = next;
      draw();
    }
    const leave = () => context.choose(context.chapterOf(part));

    const many = (value) => value.toLocaleString(document.documentElement.lang);
    const numbers = (shape) =>
      shape
        ? say("whole.fact.numbers", { shape: shape.join(" × "), count: many(shape.reduce((all, one) => all * one, 1)) })
        : "";
    const network = (one) => {
      const facts = answer?.parts[one];
      return facts
        ? say("whole.fact.network", {
            count: many(facts.parameters),
            milliseconds: number(facts.milliseconds, facts.milliseconds < 10 ? 1 : 0),
          })
        : "";
    };
    /** What a part is in the run that is shown, as far as the studio has said it. */
    function factsOf(one) {
      const { record } = context;
      const shapes = answer?.shapes ?? {};
      const { run, evaluations = [] } = record ?? {};
      if (["encoder", "decoder", "unet", "text_encoder"].includes(one)) return network(one);
      if (["picture", "output"].includes(one)) return numbers(shapes.picture);
      if (["latents", "noise", "clean"].includes(one)) return numbers(shapes.latents);
      if (one === "attention") return numbers(shapes.context);
      if (!run || !evaluations.length) return "";
      if (one === "prompt") return say("whole.fact.prompt", { prompt: run.prompt });
      if (one === "guidance") return say("whole.fact.guidance", { value: number(run.guidance_scale, 1) });
      if (one === "steps") return say("whole.fact.steps", { count: evaluations.length });
      const [first, last] = [evaluations[0], evaluations.at(-1)].map((at) => number(at.timestep, 0));
      return one === "time" ? say("whole.fact.time", { first, last }) : "";
    }

    function draw() {
      drawing.light([part]);
      name.textContent = props.machine[`part.${part}`];
      text.textContent = say(`whole.part.${part}`);
      facts.textContent = factsOf(part);
      chapter.textContent = say("whole.chapter", { chapter: say(`chapter.${context.chapterOf(part)}`) });
      about.dataset.part = part;
    }
    return {
      element,
      async draw() {
        draw();
        const next = context.checkpoint();
        if (!next || checkpoint === next) return;
        checkpoint = next;
        answer = await architectureOf(next, () => checkpoint === next).catch(() => null);
        if (checkpoint === next) draw();
      },
    };
  },
};
