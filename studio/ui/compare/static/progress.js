/* How far a comparison is. */

import { progressLine } from "../../static/progress_line.js";

export function compareProgress({ words, say }) {
  const { element, bar, show } = progressLine({ label: words.label, spoken: true });

  /** How much of a cell is done, from 0 to 1. */
  function shareOf(cell) {
    if (cell.state === "running") return (cell.index || 0) / Math.max(1, cell.total || 1);
    return ["finished", "failed"].includes(cell.state) ? 1 : 0;
  }

  function draw(view, stopping) {
    const done = view.cells.filter((cell) => cell.state === "finished").length;
    const count = view.possible || 0;
    const running = view.state === "running";
    const ended = ["finished", "stopped"].includes(view.state);
    let left = view.cells.length || ended ? view.message || "" : "";
    if (stopping) left = words.stopping;
    else if (running) left = say("ready", { done, count });
    let share = count ? view.cells.reduce((sum, cell) => sum + shareOf(cell), 0) / count : 0;
    if (view.state === "loading") share = view.fraction || 0;
    show({ left, right: running ? view.left || "" : "", share, done, count });
    bar.hidden = !view.cells.length && view.state !== "loading";
  }

  return { element, progress: bar, draw };
}
