/* The runs that the studio's end has cut off: each with its settings, and a button that runs it again. */

import { h } from "../../../static/elements.js";

export function interruptedRuns({ say, again, reuse, dismiss }) {
  const list = h("ul", { class: "ls-cut-runs" });
  const element = h("section", { class: "ls-cut", hidden: true }, h("h2", {}, say("interrupted.title")), list);

  const button = (text, title, onclick) =>
    h("button", { class: "ls-button", type: "button", title, "aria-label": `${text}: ${title}`, onclick }, text);

  function row(run) {
    const prompt = run.prompt || say("interrupted.none");
    return h(
      "li",
      { class: "ls-cut-run", "data-job": run.job },
      h(
        "div",
        {},
        h("p", { class: "ls-asked-words", dir: "auto" }, prompt),
        h("p", { class: "ls-caption", dir: "auto" }, run.line),
      ),
      h(
        "div",
        { class: "ls-actions" },
        button(say("again"), prompt, () => again(run)),
        button(say("reuse"), prompt, () => reuse(run)),
        button(say("dismiss"), prompt, () => dismiss(run)),
      ),
    );
  }

  function draw(runs) {
    element.hidden = !runs.length;
    const ids = runs.map((run) => run.job).join();
    if (list.dataset.ids === ids) return;
    list.dataset.ids = ids;
    list.replaceChildren(...runs.map(row));
  }

  return { element, draw };
}
