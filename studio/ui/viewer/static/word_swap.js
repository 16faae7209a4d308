/* Part of the panel Weights: another word in the place of one, in its layout. A branch goes on with the new word, and for
   its first evaluations looks where the recorded run looked. */

import { number } from "./chart.js";

const SHARE = 0.8; // of the evaluations that are left: how many keep the layout at first

export function wordSwap(context) {
  const { h, say } = context;
  let namesOfChoice = null; // the words that can be chosen
  let runOfKeep = null; // the run and the evaluation that the slider is of

  const choice = h("select", { class: "ls-choice", "aria-label": say("swap.word"), onchange: () => drawGo() });
  const replacement = h("input", {
    type: "text",
    class: "ls-text",
    maxlength: 100,
    placeholder: say("swap.replacement"),
    "aria-label": say("swap.replacement"),
    oninput: () => drawGo(),
    onkeydown: (event) => {
      if (event.key === "Enter" && !go.disabled) leave();
    },
  });
  const output = h("output", {});
  const keep = h("input", { type: "range", class: "ls-range", min: 1, step: 1, oninput: () => drawGo() });
  const go = h("button", { class: "ls-button", type: "button", onclick: leave });
  const element = h(
    "div",
    { class: "ls-effect ls-swap" },
    h("h3", {}, say("swap")),
    h("p", { class: "ls-formula-line" }, "softmax(Q₀ K₀ᵀ / √d) A V"),
    h("p", { class: "ls-note" }, say("swap.what")),
    h("div", { class: "ls-weights-go" }, choice, h("span", { "aria-hidden": "true" }, "→"), replacement),
    h("label", { class: "ls-weight-line" }, h("span", {}, say("swap.keep")), keep, output),
    h("div", { class: "ls-weights-go" }, go),
  );

  function leave() {
    const { index } = context;
    const swap = `${choice.value}>${replacement.value.trim()}`;
    context.branch({ evaluation: index, swap, swap_until: index + Number(keep.value) });
  }
  function drawGo() {
    output.textContent = number(Number(keep.value), 0);
    go.disabled = !choice.value || !replacement.value.trim();
    go.textContent = say("swap.go", { index: context.index + 1 });
  }

  return {
    element,
    draw(words) {
      const { record, index } = context;
      const names = [...new Set(words.map((word) => word.label))].filter((label) => /[\p{L}\p{N}]/u.test(label));
      element.hidden = !names.length;
      if (namesOfChoice !== names.join("\n")) {
        namesOfChoice = names.join("\n");
        const before = choice.value;
        choice.replaceChildren(...names.map((name) => h("option", { value: name }, name)));
        choice.value = names.includes(before) ? before : names[names.length - 1];
      }
      // While the run goes, the recorded evaluations grow.
      const left = record.evaluations.length - index;
      const key = [record.job, record.image, index].join(" ");
      keep.max = left;
      if (runOfKeep !== key) {
        runOfKeep = key;
        keep.value = Math.max(1, Math.round(SHARE * left));
      }
      drawGo();
    },
  };
}
