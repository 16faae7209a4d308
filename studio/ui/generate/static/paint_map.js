/* A segmentation map, painted in a ControlNet's own colours on a canvas of the picture's size. Edges are hard, and
   each kind of object has one colour. It stands inside the section Control; its value is a PNG that is made here. */

import { h } from "../../static/elements.js";
import { paintBoard } from "./paint_board.js";

/** `word(key)`: the texts of the section Control. `onPaint(png)` hears of each change: the map in base64, "" while nothing
    is painted. `prompt()`: whose objects are offered first. */
export function paintMap({ word, onPaint, prompt }) {
  const board = paintBoard({
    label: word("paint.canvas"),
    word: (name) => word(`paint.${name}`),
    brushSize: { min: 2, max: 60, value: 16 },
    tools: [
      ["brush", "inpaint", false],
      ["oval", null, true],
      ["eraser", "eraser", false],
    ],
    extras: [
      ["clear", () => board.change(clear)],
      ["example", () => board.change(example)],
    ],
    draw,
    onChange: publish,
  });
  const { canvas, pen } = board;
  const colors = h("div", { class: "ls-paint-colors", role: "group", "aria-label": word("paint.colors") });
  const element = h(
    "div",
    { class: "ls-paint", hidden: true },
    board.sheet,
    board.bar,
    colors,
    h("p", { class: "ls-help" }, word("paint.help")),
  );

  let rows = []; // [name, "#rrggbb"]; the first colour is the ground
  let color = "";

  const groundColor = () => rows[0][1];
  const labelOf = (name) => (name === "*" ? word("paint.anything") : name);
  const words = () => prompt().toLowerCase();
  /** Rows of the objects that the prompt names, in its order. */
  const rowsOfPrompt = () =>
    rows
      .slice(1)
      .filter(([name]) => name.length > 1 && words().includes(name))
      .sort((a, b) => words().indexOf(a[0]) - words().indexOf(b[0]));

  function pick(choice) {
    color = choice;
    for (const one of colors.children) one.setAttribute("aria-pressed", String(one.dataset.color === color));
    if (board.tool() === "eraser") board.choose("brush");
  }
  /** Draws the colours, those of the prompt's objects first. */
  function offer() {
    const first = rowsOfPrompt();
    const inOrder = [...first, ...rows.slice(1).filter((row) => !first.includes(row))];
    colors.replaceChildren(
      ...inOrder.map(([name, hex]) => {
        const swatch = h("i", { "aria-hidden": "true" });
        swatch.style.background = hex;
        const one = h(
          "button",
          { type: "button", class: "ls-paint-color", title: `${labelOf(name)}: ${hex}`, onclick: () => pick(hex) },
          swatch,
          labelOf(name),
        );
        one.dataset.color = hex;
        return one;
      }),
    );
    pick(inOrder.some(([, hex]) => hex === color) ? color : inOrder[0][1]);
  }

  // ---------------------------------------------------------------------------------------------------- painting

  /** Fills every pixel whose centre lies within. Edges are not smoothed, since a mixed colour would be another
      object's. */
  function paint(left, top, right, bottom, inside, hex) {
    pen.fillStyle = hex;
    for (let y = Math.max(0, Math.floor(top)); y < Math.min(canvas.height, Math.ceil(bottom)); y++) {
      let start = -1;
      for (let x = Math.max(0, Math.floor(left)); x <= Math.min(canvas.width, Math.ceil(right)); x++) {
        const now = x < Math.min(canvas.width, Math.ceil(right)) && inside(x + 0.5, y + 0.5);
        if (now && start < 0) start = x;
        if (!now && start >= 0) {
          pen.fillRect(start, y, x - start, 1);
          start = -1;
        }
      }
    }
  }
  function oval(left, top, right, bottom, hex) {
    const [cx, cy, rx, ry] = [
      (left + right) / 2,
      (top + bottom) / 2,
      Math.abs(right - left) / 2,
      Math.abs(bottom - top) / 2,
    ];
    paint(cx - rx, cy - ry, cx + rx, cy + ry, (x, y) => ((x - cx) / rx) ** 2 + ((y - cy) / ry) ** 2 <= 1, hex);
  }
  function stroke([ax, ay], [bx, by], hex) {
    const r = board.radius();
    const [dx, dy] = [bx - ax, by - ay];
    const length = dx * dx + dy * dy || 1;
    paint(
      Math.min(ax, bx) - r,
      Math.min(ay, by) - r,
      Math.max(ax, bx) + r,
      Math.max(ay, by) + r,
      (x, y) => {
        const t = Math.min(1, Math.max(0, ((x - ax) * dx + (y - ay) * dy) / length));
        return (x - ax - t * dx) ** 2 + (y - ay - t * dy) ** 2 <= r * r;
      },
      hex,
    );
  }
  function clear() {
    pen.fillStyle = groundColor();
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }
  /** Paints two of the prompt's objects side by side, or one in the middle. Without any it takes the first objects. */
  function example() {
    const promptRows = rowsOfPrompt();
    const examples = (promptRows.length ? promptRows : rows.filter(([name]) => name.length > 1)).slice(0, 2);
    const [w, hh] = [canvas.width, canvas.height];
    offer(); // the prompt may have changed since
    clear();
    if (examples.length === 1) oval(0.34 * w, 0.34 * hh, 0.98 * w, 0.98 * hh, examples[0][1]);
    else examples.forEach(([, hex], k) => oval((0.02 + 0.5 * k) * w, 0.27 * hh, (0.48 + 0.5 * k) * w, 0.73 * hh, hex));
  }
  function publish() {
    const { data } = board.pixels();
    const [r, g, b] = [1, 3, 5].map((k) => parseInt(groundColor().slice(k, k + 2), 16));
    let anyPaint = false;
    for (let k = 0; k < data.length && !anyPaint; k += 4)
      anyPaint = data[k] !== r || data[k + 1] !== g || data[k + 2] !== b;
    element.dataset.painted = String(anyPaint);
    onPaint(anyPaint ? canvas.toDataURL("image/png").split(",")[1] : "");
  }

  function draw(tool, from, to) {
    if (tool === "oval") oval(...from, ...to, color);
    else stroke(from, to, tool === "eraser" ? groundColor() : color);
  }
  board.undoKeys(element);

  return {
    element,
    /** Opens on a picture (an existing map), or on an empty map. */
    async open(palette, [width, height], picture) {
      rows = palette;
      if (canvas.width !== width || canvas.height !== height || picture || !board.hasPast()) {
        board.reset(width, height);
        clear();
        if (picture) {
          pen.imageSmoothingEnabled = false;
          pen.drawImage(await createImageBitmap(picture), 0, 0, width, height);
        }
      }
      offer();
      element.hidden = false;
      publish();
    },
    /** Paints the example, as its button does. */
    showExample: () => board.change(example),
    close() {
      element.hidden = true;
    },
  };
}
