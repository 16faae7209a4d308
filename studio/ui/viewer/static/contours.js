/* Lines of equal value over a picture (marching squares), for a field whose colours would hide the picture. */
const SIDE = 320; // pixels of the drawing's longer side

/** A field's value between the centres of its cells; beyond the outermost ones it stays the same. */
function sampler(values, H, W) {
  return (x, y) => {
    const [cx, cy] = [Math.min(W - 1, Math.max(0, x)), Math.min(H - 1, Math.max(0, y))];
    const [x0, y0] = [Math.min(W - 1, Math.floor(cx)), Math.min(H - 1, Math.floor(cy))];
    const [x1, y1] = [Math.min(W - 1, x0 + 1), Math.min(H - 1, y0 + 1)];
    const upper = values[y0 * W + x0] + (values[y0 * W + x1] - values[y0 * W + x0]) * (cx - x0);
    const lower = values[y1 * W + x0] + (values[y1 * W + x1] - values[y1 * W + x0]) * (cx - x0);
    return upper + (lower - upper) * (cy - y0);
  };
}

/** The segments [x, y, x', y'] where a field (H, W) has a value, in fractions of its width and height. */
export function segments(values, [H, W], level, fine = 4) {
  const at = sampler(values, H, W);
  const [rows, columns] = [H * fine, W * fine];
  const value = (i, j) => at(j / fine - 0.5, i / fine - 0.5);
  const out = [];
  for (let i = 0; i < rows; i++) {
    for (let j = 0; j < columns; j++) {
      const corners = [
        [j, i, value(i, j)],
        [j + 1, i, value(i, j + 1)],
        [j + 1, i + 1, value(i + 1, j + 1)],
        [j, i + 1, value(i + 1, j)],
      ];
      const cuts = [];
      corners.forEach(([x, y, v], k) => {
        const [x_, y_, v_] = corners[(k + 1) % 4];
        if (v >= level === v_ >= level) return;
        const share = (level - v) / (v_ - v);
        cuts.push([(x + (x_ - x) * share) / columns, (y + (y_ - y) * share) / rows]);
      });
      for (let k = 0; k + 1 < cuts.length; k += 2) out.push([...cuts[k], ...cuts[k + 1]]);
    }
  }
  return out;
}

/** Draws the lines of several levels, each [value, colour], on a transparent ground. */
export function contours(canvas, values, [H, W], levels) {
  const scale = SIDE / Math.max(H, W);
  [canvas.width, canvas.height] = [Math.round(W * scale), Math.round(H * scale)];
  const pen = canvas.getContext("2d");
  pen.lineCap = "round";
  for (const [level, colour] of levels) {
    const path = new Path2D();
    for (const [x, y, x_, y_] of segments(values, [H, W], level)) {
      path.moveTo(x * canvas.width, y * canvas.height);
      path.lineTo(x_ * canvas.width, y_ * canvas.height);
    }
    for (const [width, style] of [
      [4.5, "rgb(0 0 0 / 55%)"],
      [2.25, colour],
    ]) {
      [pen.lineWidth, pen.strokeStyle] = [width, style];
      pen.stroke(path);
    }
  }
}
