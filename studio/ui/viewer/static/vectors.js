/* Arrows from one point in a plane whose two axes have one scale. */
import { svg } from "./chart.js";

const [WIDTH, HEIGHT, EDGE, LINE] = [420, 220, 34, 12];

/** draw(arrows, axes): `arrows` are [{end: [x, y], label, isChosen}] from (0, 0), `axes` the names {x, y}. */
export function vectors({ label }) {
  const element = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "ls-chart ls-vectors", role: "img" });
  element.setAttribute("aria-label", label);
  return {
    element,
    draw(arrows, axes) {
      const span = (k) => {
        const values = [0, ...arrows.map((arrow) => arrow.end[k])];
        return [Math.min(...values), Math.max(...values)];
      };
      const [[x0, x1], [y0, y1]] = [span(0), span(1)];
      const right = 96; // room for the labels
      const scale = Math.min((WIDTH - EDGE - right) / (x1 - x0 || 1), (HEIGHT - 2 * EDGE) / (y1 - y0 || 1));
      const px = (value) => EDGE + (value - x0) * scale;
      const py = (value) => HEIGHT - EDGE - (value - y0) * scale;
      const parts = [
        svg("line", { x1: EDGE, x2: WIDTH - EDGE, y1: py(0), y2: py(0), class: "ls-grid" }),
        svg("line", { x1: px(0), x2: px(0), y1: EDGE / 2, y2: HEIGHT - EDGE, class: "ls-grid" }),
        svg("text", { x: EDGE, y: HEIGHT - 6 }, `→ ${axes.x}   ↑ ${axes.y}`),
      ];
      for (const { end, isChosen } of arrows) {
        const [x, y] = [px(end[0]), py(end[1])];
        const kind = isChosen ? "ls-arrow ls-arrow-chosen" : "ls-arrow";
        parts.push(svg("line", { x1: px(0), y1: py(0), x2: x, y2: y, class: kind }));
        parts.push(svg("circle", { cx: x, cy: y, r: isChosen ? 4 : 2.5, class: `${kind} ls-arrow-end` }));
      }
      // Labels beside the ends, moved apart where they would overlap
      const labels = arrows.map(({ end, label, isChosen }) => ({
        label,
        isChosen,
        x: px(end[0]) + 7,
        y: py(end[1]) + 4,
      }));
      labels.sort((one, other) => one.y - other.y);
      labels.forEach((one, k) => {
        for (const other of labels.slice(0, k)) {
          const isNear = Math.abs(other.x - one.x) < 7 * Math.max(one.label.length, other.label.length);
          if (isNear && one.y - other.y < LINE) one.y = other.y + LINE;
        }
        parts.push(
          svg(
            "text",
            { x: one.x, y: one.y, class: one.isChosen ? "ls-line-label ls-guide" : "ls-line-label" },
            one.label,
          ),
        );
      });
      element.replaceChildren(...parts);
      const at = ({ label: name, end: [x, y] }) => `${name} ${x.toFixed(1)}, ${y.toFixed(1)}`;
      element.setAttribute("aria-label", `${label}: ${arrows.map(at).join("; ")}`);
    },
  };
}
