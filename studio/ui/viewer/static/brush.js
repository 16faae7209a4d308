/* Part of the panel Latent space: paints on the latents of one evaluation, shows the changed picture at once, and
   goes on from there as a branch. */

import { number } from "./chart.js";

export function brush(context) {
  const { h, say } = context;
  const MOST = 20; // the studio's limit (docs/viewer.md)
  let on = false;
  let paintLayer = null; // added to x_t, (C h w); null while nothing is painted
  let of = null; // the evaluation that the layer belongs to
  const toggle = h(
    "button",
    { class: "ls-pick", type: "button", onclick: () => ((on = !on), context.draw()) },
    say("brush"),
  );
  const strength = h("input", {
    type: "range",
    min: -4,
    max: 4,
    step: 0.1,
    value: 2,
    class: "ls-range",
    "aria-label": say("brush.strength"),
    oninput: () => drawNumbers(),
  });
  const size = h("input", {
    type: "range",
    min: 1,
    max: 5,
    step: 1,
    value: 2,
    class: "ls-range",
    "aria-label": say("brush.size"),
    oninput: () => drawNumbers(),
  });
  const numbers = { strength: h("output", { class: "ls-level" }), size: h("output", { class: "ls-level" }) };
  const clear = h(
    "button",
    { class: "ls-button", type: "button", onclick: () => ((paintLayer = null), context.draw()) },
    say("brush.clear"),
  );
  const go = h("button", { class: "ls-button ls-primary", type: "button", onclick: leave });
  const note = h("p", { class: "ls-note" });
  const tools = h(
    "div",
    { class: "ls-brush-tools" },
    h("label", { class: "ls-inline" }, say("brush.strength"), strength, numbers.strength),
    h("label", { class: "ls-inline" }, say("brush.size"), size, numbers.size),
    clear,
    go,
  );
  const element = h("div", { class: "ls-brush" }, toggle, tools, note);

  function drawNumbers() {
    numbers.strength.textContent = number(Number(strength.value), 1);
    numbers.size.textContent = size.value;
  }
  const key = () => `${context.record.job} ${context.record.image} ${context.index}`;
  function leave() {
    context.branch({ evaluation: context.index }, paintLayer.buffer);
    paintLayer = null;
  }

  return {
    element,
    get on() {
      return on && context.online;
    },
    /** Adds to a channel around a cell. `share`: the change of x_t for a change of 1 in the quantity on the panel. */
    paint(channel, cell, share) {
      const [C, H, W] = context.record.shape;
      if (!paintLayer) paintLayer = new Float32Array(C * H * W);
      of = key();
      const radius = Number(size.value) / 2;
      const reach = Math.ceil(radius);
      for (let y = Math.max(0, cell.y - reach); y <= Math.min(H - 1, cell.y + reach); y++) {
        for (let x = Math.max(0, cell.x - reach); x <= Math.min(W - 1, cell.x + reach); x++) {
          if (Math.hypot(x - cell.x, y - cell.y) > radius - 0.4) continue;
          const at = (channel * H + y) * W + x;
          // A stroke sets the added value: passing a place twice changes nothing more.
          paintLayer[at] = Math.max(-MOST, Math.min(MOST, Number(strength.value) * share));
        }
      }
      context.draw();
    },
    /** Latents with the paint added. */
    apply(latents, share) {
      if (!paintLayer || of !== key() || !share) return latents;
      return latents.map((value, k) => value + paintLayer[k] / share);
    },
    /** `share` as for paint(); 0 where the quantity cannot be painted on. */
    draw(share) {
      element.hidden = !context.online;
      if (!context.online) return;
      const here = !!paintLayer && of === key();
      toggle.setAttribute("aria-pressed", String(on));
      tools.hidden = !on;
      note.hidden = !on;
      clear.disabled = go.disabled = !here;
      go.textContent = say("brush.go", { index: context.index + 1 });
      note.textContent = say(!share ? "brush.other" : paintLayer && !here ? "brush.elsewhere" : "brush.what");
      drawNumbers();
    },
  };
}
