/* Thin lines with direct labels: the one kind of chart the viewer has. Elements only, no library. */
const SPACE = "http://www.w3.org/2000/svg";

export function svg(tag, attributes = {}, text = null) {
  const element = document.createElementNS(SPACE, tag);
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  if (text !== null) element.textContent = text;
  return element;
}

const LINE = 12; // px between two labels

export const number = (value, digits = 0) => value.toFixed(digits).replace("-", "−");

/** Round values between low and high, about `count` of them. */
function ticks(low, high, count = 4) {
  const rough = (high - low) / count || 1;
  const power = 10 ** Math.floor(Math.log10(rough));
  const step = [1, 2, 5, 10].map((k) => k * power).find((k) => k >= rough);
  const out = [];
  for (let value = Math.ceil(low / step) * step; value <= high + step * 1e-6; value += step)
    out.push(Math.abs(value) < step * 1e-6 ? 0 : value);
  return { values: out, digits: Math.max(0, -Math.floor(Math.log10(step) + 1e-9)) };
}

/** A chart of lines. draw({lines, x, y, marker, marks, pick}) takes these values.

    `lines`: [{points: [[x, y]], class, label, dots}], drawn in order. The label stands at the line's end: on the
    line, or beside the chart if `gutter` is set and there is room.

    `x`, `y`: {low, high, label, from, to, log}: the axis, its name, and what its two ends mean.

    `bands`: [{from, to, class}], shaded behind the lines.

    `marker`: {x, points: [y]}, the present place. `marks`: [{x, label}], thin vertical lines. pick(x) is called with
    the x of a click. */
export function chart({ width = 360, height = 150, left = 36, right = 12, gutter = false, label }) {
  const [top, bottom] = [10, 34];
  const LETTER = 6.1; // px, of the labels' font
  const margin = right;
  const drawing = svg("svg", { viewBox: `0 0 ${width} ${height}`, class: "ls-chart", role: "img" });
  let content = null;
  // Drawn at its width on the page, so that letters have the same size everywhere.
  new ResizeObserver(([entry]) => {
    const newWidth = Math.round(entry.contentRect.width);
    if (!newWidth || newWidth === width) return;
    width = newWidth;
    drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
    if (content) api.draw(content);
  }).observe(drawing);
  let onPick = null;
  let scale = null;
  drawing.addEventListener("click", (event) => {
    if (!onPick || !scale) return;
    const box = drawing.getBoundingClientRect();
    onPick(scale(((event.clientX - box.left) / box.width) * width));
  });

  const api = {
    element: drawing,
    draw(next) {
      content = next;
      const { lines, x, y, marker, marks = [], bands = [], pick = null, description = "" } = next;
      const all = lines.flatMap((line) => line.points).filter((point) => point.every(Number.isFinite));
      const span = (axis, k) => {
        const values = all.map((point) => point[k]);
        const low = axis.low ?? Math.min(...values);
        const high = axis.high ?? Math.max(...values);
        return high > low ? [low, high] : [low - 0.5, high + 0.5];
      };
      if (!all.length) return drawing.replaceChildren();
      const [x0, x1] = span(x, 0);
      const [y0, y1] = span(y, 1);
      const beside = gutter && width >= 560;
      const longest = Math.max(
        0,
        ...lines.filter((line) => line.label && line.label_at !== "start").map((line) => line.label.length),
      );
      const right = beside && longest ? margin + 12 + Math.ceil(longest * LETTER) : margin;
      const inner = width - left - right;
      const px = (value) => left + (inner * (value - x0)) / (x1 - x0);
      const py = (value) => top + ((height - top - bottom) * (y1 - value)) / (y1 - y0);
      scale = (at) => x0 + ((at - left) / inner) * (x1 - x0);
      onPick = pick;
      const parts = [];
      for (const band of bands) {
        const [from, to] = [Math.max(x0, band.from), Math.min(x1, band.to)];
        if (to <= from) continue;
        const box = { x: px(from), y: top, width: px(to) - px(from), height: height - top - bottom };
        parts.push(svg("rect", { ...box, class: band.class }));
      }
      const rows = ticks(y0, y1, 3);
      for (const value of rows.values) {
        parts.push(svg("line", { x1: left, x2: width - right, y1: py(value), y2: py(value), class: "ls-grid" }));
        parts.push(svg("text", { x: left - 6, y: py(value) + 3.5, "text-anchor": "end" }, number(value, rows.digits)));
      }
      const floor = height - bottom + 13;
      const columns = ticks(x0, x1, 5);
      if (!x.bare)
        for (const value of columns.values)
          parts.push(
            svg(
              "text",
              { x: px(value), y: floor, "text-anchor": "middle" },
              number(value + (x.from_one ? 1 : 0), columns.digits),
            ),
          );
      if (x.from) parts.push(svg("text", { x: left, y: height - 5, "text-anchor": "start" }, x.from));
      if (x.to) parts.push(svg("text", { x: width - right, y: height - 5, "text-anchor": "end" }, x.to));
      if (x.label) parts.push(svg("text", { x: left + inner / 2, y: height - 5, "text-anchor": "middle" }, x.label));
      for (const mark of marks) {
        if (mark.x < x0 || mark.x > x1) continue;
        parts.push(
          svg("line", { x1: px(mark.x), x2: px(mark.x), y1: top, y2: height - bottom, class: mark.class || "ls-grid" }),
        );
        if (mark.label) parts.push(svg("text", { x: px(mark.x) + 4, y: top + 8, "text-anchor": "start" }, mark.label));
      }
      const labels = [];
      for (const line of lines) {
        const points = line.points.filter((point) => point.every(Number.isFinite));
        if (!points.length) continue;
        if (!line.bare)
          parts.push(
            svg("polyline", {
              points: points.map(([a, b]) => `${px(a).toFixed(2)},${py(b).toFixed(2)}`).join(" "),
              class: `ls-curve ${line.class || ""}`,
            }),
          );
        if (line.dots)
          for (const [a, b] of points)
            parts.push(svg("circle", { cx: px(a), cy: py(b), r: 1.8, class: `ls-point ${line.class || ""}` }));
        if (line.label) labels.push({ line, at: points[line.label_at === "start" ? 0 : points.length - 1] });
      }
      // Labels at the ends of their lines, moved apart where they would overlap.
      const floor_ = height - bottom - 3;
      const places = labels.map(({ line, at }) => ({
        line,
        x: px(at[0]),
        y: py(at[1]),
        aside: beside && line.label_at !== "start",
      }));
      for (const one of places) one.at = Math.min(floor_, Math.max(top + 8, one.aside ? one.y + 3 : one.y - 5));
      for (const column of [places.filter((one) => one.aside), places.filter((one) => !one.aside)]) {
        column.sort((p, q) => p.at - q.at);
        column.forEach((one, k) => k && (one.at = Math.max(one.at, column[k - 1].at + LINE)));
        let most = floor_;
        for (const one of [...column].reverse()) {
          one.at = Math.min(one.at, most);
          most = one.at - LINE;
        }
      }
      for (const { line, x: x_, y: y_, at, aside } of places) {
        const className = `ls-line-label ${line.class || ""}`;
        if (aside) {
          const to = width - right;
          if (Math.abs(at - 3 - y_) > 2)
            parts.push(svg("path", { d: `M ${x_ + 3} ${y_} L ${to + 9} ${at - 3}`, class: "ls-leader" }));
          parts.push(svg("text", { x: to + 12, y: at, "text-anchor": "start", class: className }, line.label));
        } else {
          const end = x_ > left + inner / 2;
          parts.push(
            svg(
              "text",
              { x: x_ + (end ? -2 : 2), y: at, "text-anchor": end ? "end" : "start", class: className },
              line.label,
            ),
          );
        }
      }
      if (marker && Number.isFinite(marker.x)) {
        parts.push(svg("line", { x1: px(marker.x), x2: px(marker.x), y1: top, y2: height - bottom, class: "ls-now" }));
        for (const value of marker.points || [])
          if (Number.isFinite(value))
            parts.push(
              svg("circle", {
                cx: px(marker.x),
                cy: py(Math.min(y1, Math.max(y0, value))),
                r: 4.5,
                class: "ls-marker",
              }),
            );
      }
      drawing.replaceChildren(...parts);
      drawing.setAttribute("aria-label", [label, description].filter(Boolean).join(": "));
      drawing.classList.toggle("ls-pickable", !!pick);
    },
  };
  return api;
}
