/* Where two cells part: the distance between their predicted pictures at each noise level, from both recordings. */

import { fill, h } from "../../static/elements.js";
import { Record } from "../../viewer/static/record.js";

const NOISE = -12; // log-SNR that stands for pure noise, which has none

const level = (evaluation) => (evaluation.log_snr === null ? NOISE : Math.max(NOISE, evaluation.log_snr));

/** Points {level, value}. Each evaluation of the shorter run is paired with the evaluation of the other run that is
    nearest in noise level; nothing is interpolated. `value` is the root mean square difference of predicted x0, in
    units of the latents. */
function pointsOf(one, other) {
  const [short, long] = one.evaluations.length <= other.evaluations.length ? [one, other] : [other, one];
  return short.evaluations.map((evaluation) => {
    const at = level(evaluation);
    const near = long.evaluations.reduce((best, e) =>
      Math.abs(level(e) - at) < Math.abs(level(best) - at) ? e : best,
    );
    let sum = 0;
    for (let i = 0; i < evaluation.denoised.length; i++) sum += (evaluation.denoised[i] - near.denoised[i]) ** 2;
    return { level: at, value: Math.sqrt(sum / evaluation.denoised.length) };
  });
}

/** The curve in words. The point of half the last difference is named only for curves that begin below it. */
export function sentenceOf(points, words) {
  const [first, last] = [points[0].value, points[points.length - 1].value];
  const most = Math.max(...points.map((point) => point.value));
  const numbers = { first: first.toFixed(3), last: last.toFixed(3), most: most.toFixed(3) };
  if (last < 0.0005 || last < most / 100) return fill(words["curve.meet"], numbers);
  if (first >= last / 2) return fill(words["curve.apart"], numbers);
  const half = points.find((point) => point.value >= last / 2);
  const share = (half.level - points[0].level) / (points[points.length - 1].level - points[0].level);
  return fill(words["curve.said"], { ...numbers, share: Math.round(100 * share) });
}

/** Draws the curve of two cells of a job into `into`. `keep` holds the records read so far, by cell. */
export async function compareCurve(into, { job, cells, keep, words }) {
  const showMessage = (text) => into.replaceChildren(h("p", { class: "cmp-curve-sentence" }, text));
  showMessage(words["curve.wait"]);
  const records = [];
  for (const cell of cells) {
    if (!keep.has(cell)) {
      const record = new Record(job, cell);
      if ((await record.grow()) === "none") return showMessage(words["curve.none"]);
      keep.set(cell, record);
    }
    records.push(keep.get(cell));
  }
  const [one, other] = records;
  if (!one.evaluations.length || !other.evaluations.length) return showMessage(words["curve.none"]);
  if (String(one.shape) !== String(other.shape)) return showMessage(words["curve.size"]);
  const points = pointsOf(one, other);
  const [W, H, L, B] = [640, 180, 44, 22];
  const most = Math.max(...points.map((p) => p.value), 1e-6);
  const low = points[0].level;
  const high = Math.max(points[points.length - 1].level, low + 1e-6);
  const x = (p) => L + ((p.level - low) / (high - low)) * (W - L - 12);
  const y = (p) => H - B - (p.value / most) * (H - B - 12);
  const svg = (tag, attributes, ...children) => {
    const node = document.createElementNS("http://www.w3.org/2000/svg", tag);
    for (const [name, value] of Object.entries(attributes)) node.setAttribute(name, value);
    node.append(...children);
    return node;
  };
  const sentence = sentenceOf(points, words);
  into.replaceChildren(
    svg(
      "svg",
      { viewBox: `0 0 ${W} ${H}`, class: "cmp-chart", role: "img", "aria-label": sentence },
      ...[0, 0.5, 1].map((part) =>
        svg("line", {
          x1: L,
          x2: W - 12,
          y1: y({ value: most * part }),
          y2: y({ value: most * part }),
          class: "ls-grid",
        }),
      ),
      ...[0, 1].map((part) =>
        svg("text", { x: L - 6, y: y({ value: most * part }) + 4, "text-anchor": "end" }, (most * part).toPrecision(2)),
      ),
      svg("polyline", { points: points.map((p) => `${x(p)},${y(p)}`).join(" "), class: "ls-curve" }),
      ...points.map((p) => svg("circle", { cx: x(p), cy: y(p), r: 2.5, class: "ls-point" })),
      svg("text", { x: L, y: H - 4 }, words["curve.axis"]),
      svg("text", { x: W - 12, y: 10, "text-anchor": "end" }, words["curve.value"]),
    ),
    h("p", { class: "cmp-curve-sentence" }, sentence),
  );
}
