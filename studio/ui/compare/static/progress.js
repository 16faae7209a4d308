/* The progress of a comparison. */

import { runAnnouncer } from "../../static/announcements.js";
import { progressLine } from "../../static/progress_line.js";

export function compareProgress({ words, say }) {
  const { element, bar, show } = progressLine({ label: words.label });

  const announceRun = runAnnouncer();

  /** The finished share of a cell, from 0 to 1. */
  function shareOf(cell) {
    if (cell.state === "running") return (cell.index || 0) / Math.max(1, cell.total || 1);
    return ["finished", "failed"].includes(cell.state) ? 1 : 0;
  }

  function draw(view, isStopping) {
    const done = view.cells.filter((cell) => cell.state === "finished").length;
    const count = view.possible || 0;
    const isRunning = view.state === "running";
    const isOver = ["finished", "stopped"].includes(view.state);
    let left = view.cells.length || isOver ? view.message || "" : "";
    if (isStopping) left = words.stopping;
    else if (isRunning) left = say("ready", { done, count });
    let share = count ? view.cells.reduce((sum, cell) => sum + shareOf(cell), 0) / count : 0;
    if (view.state === "loading") share = view.fraction || 0;
    show({ left, right: isRunning ? view.left || "" : "", share, done, count });
    announceRun({ state: view.state, share, message: view.message });
    bar.hidden = view.state === "sample" || (!view.cells.length && view.state !== "loading");
  }

  return { element, progress: bar, draw };
}
