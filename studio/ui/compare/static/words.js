/* Texts about the cells of a comparison. */

import { fill } from "../../static/elements.js";

/** The settings of cell `k`, in words. */
export function cellSettings(view, k) {
  if (!view.x) return "";
  const [x, y] = [k % view.columns, Math.floor(k / view.columns)];
  const parts = [`${view.x.name} ${view.x.labels[x]}`];
  if (view.y) parts.push(`${view.y.name} ${view.y.labels[y]}`);
  return parts.join(" · ");
}

/** Why a cell has no picture; empty where it has one. `hasCells`: the comparison has cells. */
export function cellNote(cell, words, hasCells) {
  if (cell.state === "impossible") return `${words.impossible}. ${cell.message}`;
  if (cell.state === "failed") return `${words["cell.failed"]}. ${cell.message}`;
  if (cell.state === "stopped") return words["cell.stopped"];
  if (cell.state === "running") return fill(words.step, { index: cell.index || 0, total: cell.total || 0 });
  return cell.state === "waiting" && hasCells ? words.waiting : "";
}

/** Names the settings in which cells `a` and `b` differ, and the distance of their pictures. apart() gives the mean
    and the greatest difference, or nothing. */
export function differenceText(view, a, b, words, apart) {
  if (a === b) return words.same;
  const parts = [];
  for (const [name, of] of [
    ["x", (c) => c % view.columns],
    ["y", (c) => Math.floor(c / view.columns)],
  ]) {
    const axis = view[name];
    if (axis && of(a) !== of(b))
      parts.push(fill(words.differ, { name: axis.name, a: axis.labels[of(a)], b: axis.labels[of(b)] }));
  }
  const distance = apart();
  if (distance) parts.push(fill(words.mean, { mean: distance.mean.toFixed(1), most: distance.most }));
  return parts.join(" · ");
}
