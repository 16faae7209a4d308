/* Panel: the step as an equation with its real coefficients and its operands as pictures, and how predicted x0
   follows from the model's output. */

import { sentencesText } from "../../static/elements.js";
import { gainOf, gainOfLevel } from "./calm.js";
import { number } from "./chart.js";
import { strideFor } from "./painter.js";

export const panel = {
  name: "equation",
  place: "under",
  build(context) {
    const { h, say } = context;
    const step = h("div", { class: "ls-equation", role: "math" });
    const rows = h("div", { class: "ls-equation-rows" });
    const formula = h("p", { class: "ls-formula" });
    const how = h("p", { class: "ls-note" });
    const element = h(
      "section",
      { class: "ls-equation-strip", "aria-label": say("equation") },
      h("h3", {}, say("equation")),
      step,
      context.caption("equation"),
      h("div", { class: "ls-expert" }, rows, formula, how),
    );
    const OPERAND = 56; // CSS pixels a side, as in viewer.css
    const EARLIER = { x0_prev: 1, x0_prev2: 2 };

    /** `gain`: the contrast, as the panes have it. */
    function operand(symbol, latents, colour, word, gain = 1) {
      const canvas = h("canvas", { "aria-hidden": "true" });
      const { record, painter } = context;
      if (latents && record.decoder)
        painter.picture(canvas, latents, record.shape, record.decoder, {
          stride: strideFor(record.shape, record.decoder, OPERAND),
          gain,
        });
      else if (latents) painter.tiles(canvas, latents, record.shape, 3);
      return h(
        "span",
        { class: "ls-operand", "data-colour": colour, title: word },
        latents ? canvas : h("span", { class: "ls-dice" }),
        h("i", {}, symbol),
      );
    }
    const sign = (value, first) => (first ? (value < 0 ? "−" : "") : value < 0 ? "−" : "+");
    const amount = (value) => number(Math.abs(value), 3);

    return {
      element,
      draw(at) {
        const { record, index } = context;
        const equation = at.step_equation;
        element.hidden = equation === undefined;
        if (element.hidden) return;
        formula.replaceChildren(...formulaOfX0(at));
        if (!equation) {
          step.replaceChildren(h("span", { class: "ls-note" }, say("undefined.pure_noise")));
          rows.replaceChildren();
          how.textContent = "";
          return;
        }
        const next = record.evaluations[index + 1];
        const after = next ? next.x_t : record.clean;
        const terms = [
          ["x_t", "x_t", record.latents(index, "x_t"), "x"],
          ["x0", "x0", record.latents(index, "denoised"), "x0"],
          ...Object.entries(EARLIER).map(([name, back]) => [
            name,
            name,
            index >= back ? record.latents(index - back, "denoised") : null,
            "x0",
          ]),
        ].filter(([name]) => typeof equation[name] === "number" && Math.abs(equation[name]) > 5e-7);
        const parts = [
          operand(say("symbol.next"), after, "x", say("pane.x_t"), next ? gainOfLevel(next) : 1),
          h("span", { class: "ls-sign" }, equation.exact || equation.fresh_noise != null ? "=" : "≈"),
        ];
        terms.forEach(([name, symbol, latents, colour], k) => {
          const value = equation[name];
          const sign_ = sign(value, k === 0);
          if (sign_) parts.push(h("span", { class: "ls-sign" }, sign_));
          parts.push(
            h("span", { class: "ls-coefficient", "data-term": name }, amount(value)),
            operand(say(`symbol.${symbol}`), latents, colour, say(`symbol.${symbol}`), gainOf(name, at)),
          );
        });
        if (typeof equation.fresh_noise === "number" && equation.fresh_noise > 5e-7) {
          parts.push(
            h("span", { class: "ls-sign" }, "+"),
            h("span", { class: "ls-coefficient", "data-term": "fresh_noise" }, amount(equation.fresh_noise)),
            operand(say("symbol.fresh_noise"), null, "none", say("symbol.fresh_noise")),
          );
        }
        step.replaceChildren(...parts);
        drawSum(at, next);
        const scaledTerms = at.scale && Math.abs(at.scale - 1) > 1e-6;
        const sentences = [say("equation.how")];
        if (scaledTerms) sentences.push(say("equation.scaled", { scale: number(at.scale, 3) }));
        if (!equation.exact && equation.fresh_noise == null)
          sentences.push(say("equation.rest", { value: number(equation.relative_residual * 100, 2) }));
        how.textContent = sentencesText(sentences);
      },
    };

    /** How much of the predicted noise a step removes: s before and after. */
    function drawSum(at, next) {
      const after = next ? next.s : 0;
      const share = at.s > 0 ? Math.max(0, Math.min(1, 1 - after / at.s)) : 1;
      const bar = h(
        "span",
        { class: "ls-share", "aria-hidden": "true" },
        h("b", { style: `width: ${(share * 100).toFixed(2)}%` }),
      );
      const text = say(next ? "equation.kept" : "equation.kept_last", {
        share: number(share * 100, share < 0.1 ? 1 : 0),
        before: number(at.s, 3),
        after: number(after, 3),
      });
      rows.replaceChildren(bar, h("span", {}, text));
    }

    /** Predicted x0 by the checkpoint's prediction type, with the numbers of this evaluation. */
    function formulaOfX0(at) {
      const [a, s] = [number(at.a, 4), number(at.s, 4)];
      const type = context.record.run.prediction_type;
      if (at.x0_defined === false) return [h("span", {}, say("undefined.pure_noise"))];
      const c = number(Math.sqrt(Math.max(0, 1 - at.s * at.s)), 4);
      return [h("code", {}, say(`formula.${type}`, { a, s, c })), h("small", {}, say(`formula.type.${type}`))];
    }
  },
};
