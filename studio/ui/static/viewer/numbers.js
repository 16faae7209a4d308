/* Panel: the numbers of one evaluation. */
"use strict";

window.LatentStudio.panels.push({
  name: "numbers",
  build(context) {
    const { h, say } = context;
    const numbers = {
      timestep: (at) => at.timestep.toFixed(0),
      sigma: (at) => at.sigma.toFixed(3),
      snr: (at) => say("number.decibel", { value: ((at.log_snr * 10) / Math.LN10).toFixed(1).replace("-", "−") }),
      norm_x_t: (at) => at.norm_x_t.toFixed(3),
      norm_denoised: (at) => at.norm_denoised.toFixed(3),
      norm_noise_pred: (at) => at.norm_noise_pred.toFixed(3),
    };
    const cells = Object.keys(numbers).map((name) => [name, h("dd", {})]);
    const element = h("dl", { class: "ls-numbers" }, ...cells.map(([name, cell]) => h("div", {}, h("dt", {}, say(`number.${name}`)), cell)));
    return {
      element,
      draw(at) {
        for (const [name, cell] of cells) cell.textContent = Number.isFinite(at.sigma) ? numbers[name](at) : "–";
      },
    };
  },
});
