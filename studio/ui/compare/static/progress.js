/* How far a comparison is: the line of words and the bar below it. */

import { h } from "../../static/elements.js";

export function compareProgress({ words, say }) {
  const status = h("span", { class: "ls-status", role: "status", "aria-live": "polite" });
  const right = h("span", { class: "ls-pace" });
  const bar = h("i");
  const progress = h(
    "div",
    { class: "ls-bar", role: "progressbar", "aria-valuemin": 0, "aria-label": words.label },
    bar,
  );
  const element = h("div", { class: "ls-line" }, status, right);

  function draw(view, stopping) {
    const done = view.cells.filter((cell) => cell.state === "finished").length;
    const count = view.possible || 0;
    const ended = ["finished", "stopped"].includes(view.state);
    if (stopping) status.textContent = words.stopping;
    else if (view.state === "running") status.textContent = say("ready", { done, count });
    else status.textContent = view.cells.length || ended ? view.message || "" : "";
    right.textContent = view.state === "running" ? view.left || "" : "";
    const share =
      view.state === "loading"
        ? view.fraction || 0
        : count
          ? view.cells.reduce(
              (sum, cell) =>
                sum +
                (cell.state === "running"
                  ? (cell.index || 0) / Math.max(1, cell.total || 1)
                  : ["finished", "failed"].includes(cell.state)
                    ? 1
                    : 0),
              0,
            ) / count
          : 0;
    bar.style.transform = `scaleX(${share})`;
    progress.setAttribute("aria-valuemax", Math.max(1, count));
    progress.setAttribute("aria-valuenow", done);
    progress.hidden = !view.cells.length && view.state !== "loading";
  }

  return { element, progress, draw };
}
