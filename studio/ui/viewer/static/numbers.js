/* Panel: the numbers of one evaluation. An undefined number is shown as such. */

import { number } from "./chart.js";
import { alphaBar, decibels } from "./levels.js";

export const panel = {
  name: "numbers",
  place: "aside",
  build(context) {
    const { h, say } = context;
    const rms = (quantity) => () => {
      const value = context.record.rms(context.index, quantity);
      return value === null ? "–" : number(value, 3);
    };
    const numbers = {
      timestep: (at) => number(at.timestep),
      sigma: (at) => (Number.isFinite(at.sigma) ? number(at.sigma, 3) : "∞"),
      snr: (at) =>
        Number.isFinite(at.log_snr)
          ? say("number.decibel", { value: number(decibels(at.log_snr), 1) })
          : say("number.no_signal"),
      abar: (at) => number(alphaBar(at), 4),
      a: (at) => number(at.a, 4),
      s: (at) => number(at.s, 4),
      rms_x_t: rms("x_t"),
      rms_denoised: rms("denoised"),
      rms_noise_pred: rms("noise_pred"),
    };
    const cells = Object.keys(numbers).map((name) => [name, h("dd", {})]);
    const rows = cells.map(([name, cell]) =>
      h(
        "div",
        { "data-number": name },
        h("dt", {}, h("abbr", { title: say(`number.${name}.what`) }, say(`number.${name}`))),
        cell,
      ),
    );
    return {
      element: h("dl", { class: "ls-numbers" }, ...rows),
      draw(at) {
        for (const [name, cell] of cells) cell.textContent = numbers[name](at);
      },
    };
  },
};
