/* A canvas that is painted on with the mouse, a pen, a finger or the keyboard, with its tools and an undo. What a tool
   draws is decided by whoever uses it. */

import { h, icon } from "../../static/elements.js";

const UNDO = 24;
const STEP = 1 / 40; // of the longer side: how far an arrow key moves the cross, with Shift four times as far
const WAYS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

/** `tools`: [name, icon or null, whether it is a shape, which is drawn anew while it is dragged]; `extras`: [name, act]
    of the buttons after Undo. `draw(tool, from, to)` draws in the canvas's pixels, `onChange` hears when a stroke or a
    change has ended. `word(name)`: the text of a tool, and of "size" and "undo". */
export function paintBoard({ label, word, brushSize, tools, extras, draw, onChange }) {
  const canvas = h("canvas", { class: "ls-paint-canvas", tabindex: 0, role: "img", "aria-label": label });
  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const cross = h("i", { class: "ls-paint-cross", hidden: true, "aria-hidden": "true" });
  const sheet = h("div", { class: "ls-paint-sheet" }, canvas, cross);
  const size = h("input", {
    type: "range",
    min: brushSize.min,
    max: brushSize.max,
    value: brushSize.value,
    class: "ls-mask-size",
    "aria-label": word("size"),
    title: word("size"),
  });
  const button = (name, act, iconName) =>
    h(
      "button",
      { class: "ls-pick", type: "button", onclick: act, title: word(name) },
      iconName ? icon(iconName) : null,
      word(name),
    );
  const toolButtons = Object.fromEntries(tools.map(([name, sign]) => [name, button(name, () => choose(name), sign)]));
  const shapes = new Set(tools.filter(([, , isShape]) => isShape).map(([name]) => name));
  const undoButton = button("undo", undo, "undo");
  const bar = h(
    "div",
    { class: "ls-mask-tools", role: "toolbar", "aria-label": label },
    ...Object.values(toolButtons),
    size,
    undoButton,
    ...extras.map(([name, act]) => button(name, act)),
  );

  let tool = tools[0][0];
  let from = null; // where the brush went down or was last, in pixels of the canvas; null while it is up
  let before = null; // the picture before the present shape
  let at = null; // the keyboard's cross
  const past = [];

  function choose(name) {
    tool = name;
    for (const [one, element] of Object.entries(toolButtons))
      element.setAttribute("aria-pressed", String(one === tool));
  }
  const pixels = () => pen.getImageData(0, 0, canvas.width, canvas.height);
  function remember() {
    past.push(pixels());
    if (past.length > UNDO) past.shift();
    undoButton.disabled = false;
  }
  function ended() {
    undoButton.disabled = !past.length;
    onChange();
  }
  function change(act) {
    remember();
    act();
    ended();
  }
  function undo() {
    const last = past.pop();
    if (!last) return;
    pen.putImageData(last, 0, 0);
    ended();
  }
  /** Makes the canvas this large, empty and without a past. */
  function reset(width, height) {
    [canvas.width, canvas.height] = [width, height];
    canvas.style.aspectRatio = `${width} / ${height}`;
    past.length = 0;
    undoButton.disabled = true;
    from = before = at = null;
    cross.hidden = true;
  }

  function press(point) {
    remember();
    before = past[past.length - 1];
    from = point;
    move(point);
  }
  function move(to) {
    if (shapes.has(tool)) {
      pen.putImageData(before, 0, 0);
      draw(tool, from, to);
    } else {
      draw(tool, from, to);
      from = to;
    }
  }
  function lift() {
    if (!from) return;
    from = before = null;
    cross.dataset.down = "false";
    ended();
  }
  function pointOf(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * canvas.width,
      ((event.clientY - box.top) / box.height) * canvas.height,
    ];
  }
  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0 || from) return; // a second finger paints nothing
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    cross.hidden = true;
    press(pointOf(event));
  });
  canvas.addEventListener("pointermove", (event) => {
    if (!from || !canvas.hasPointerCapture(event.pointerId)) return;
    for (const one of event.getCoalescedEvents ? [...event.getCoalescedEvents(), event] : [event]) move(pointOf(one));
  });
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);

  // The keyboard: arrow keys move the cross, the space bar puts the brush down and lifts it.
  canvas.addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    const way = WAYS[event.key];
    if (!way && event.key !== " ") return;
    event.preventDefault();
    at = at || [canvas.width / 2, canvas.height / 2];
    if (way) {
      const far = Math.max(canvas.width, canvas.height) * STEP * (event.shiftKey ? 4 : 1);
      at = [
        Math.min(canvas.width, Math.max(0, at[0] + way[0] * far)),
        Math.min(canvas.height, Math.max(0, at[1] + way[1] * far)),
      ];
      if (from) move(at);
    } else if (from) lift();
    else {
      press(at);
      cross.dataset.down = "true";
    }
    cross.hidden = false;
    cross.style.left = `${(100 * at[0]) / canvas.width}%`;
    cross.style.top = `${(100 * at[1]) / canvas.height}%`;
  });
  canvas.addEventListener("blur", lift);

  /** Ctrl+Z within this element undoes. */
  function undoKeys(element) {
    element.addEventListener("keydown", (event) => {
      if (!(event.ctrlKey || event.metaKey) || event.key.toLowerCase() !== "z") return;
      event.preventDefault();
      undo();
    });
  }

  choose(tool);
  return {
    canvas,
    pen,
    sheet,
    bar,
    pixels,
    choose,
    change,
    reset,
    undoKeys,
    tool: () => tool,
    /** The brush's radius in pixels of the canvas. */
    radius: () => (Math.max(canvas.width, canvas.height) * size.value) / 200,
    hasPast: () => past.length > 0,
  };
}
