/* The live canvas of Image to image: a white sheet or the picture, painted on with a few brushes and shapes. While it
   is open, a run starts from what is painted. Its value is a picture in base64, made here after each stroke; live mode
   (live.js) then makes the picture again. */

import { fill, h } from "../../static/elements.js";
import { holdRuns } from "../../static/waiting.js";
import { paintBoard } from "./paint_board.js";
import { keepPicture, storedPicture } from "./stored_picture.js";

const SHARP = 512; // the canvas of a small sheet has at least so many pixels on its longer side, for smooth strokes
const LONGEST = 1024; // pixels of the longer side that are sent
const LARGE_PNG = 1_000_000; // characters; a photograph is sent as a JPEG
const WHITE = "#ffffff";
const COLORS = {
  black: "#1b1b1f",
  grey: "#8c8c94",
  white: WHITE,
  brown: "#7a4a26",
  red: "#d1242f",
  orange: "#f08c28",
  yellow: "#f6d32d",
  green: "#2e9b4f",
  forest: "#14532d",
  sky: "#8ecdf5",
  blue: "#2458c6",
  purple: "#7b3fb3",
  pink: "#f29ac0",
};

export function liveCanvas({ element, props }) {
  const word = (key, values) => fill(props.words[key], values);
  const field = (name) => document.getElementById(`${props.tab}-${name}`);
  const board = paintBoard({
    label: word("label"),
    word,
    brushSize: { min: 1, max: 60, value: 10 },
    tools: [
      ["brush", "inpaint", false],
      ["soft", null, false],
      ["line", null, true],
      ["rectangle", null, true],
      ["oval", null, true],
      ["eraser", "eraser", false],
    ],
    extras: [
      ["fill", () => board.change(() => flood(color))],
      ["clear", () => board.change(() => flood(WHITE))],
    ],
    draw,
    onChange: publish,
  });
  const { canvas, pen } = board;
  const own = h("input", {
    type: "color",
    class: "ls-canvas-own",
    value: COLORS.blue,
    "aria-label": word("own"),
    title: word("own"),
    oninput: () => pick(own.value),
    onclick: () => pick(own.value),
  });
  const swatches = Object.entries(COLORS).map(([name, hex]) => {
    const one = h("button", {
      type: "button",
      class: "ls-canvas-color",
      "aria-label": word(`color.${name}`),
      title: word(`color.${name}`),
      onclick: () => pick(hex),
    });
    one.style.background = hex;
    one.dataset.color = hex;
    return one;
  });
  const colors = h("div", { class: "ls-canvas-colors", role: "group", "aria-label": word("colors") }, ...swatches, own);
  const note = h("p", { class: "ls-help", role: "status" });
  const openButton = h("button", { class: "ls-button ls-canvas-open", type: "button", onclick: open }, word("open"));
  const map = h("button", { class: "ls-button", type: "button", onclick: paintMap }, word("map"));
  const close = h("button", { class: "ls-button ls-canvas-close", type: "button", onclick: shut }, word("close"));
  const editor = h(
    "div",
    { class: "ls-canvas", hidden: true },
    board.sheet,
    board.bar,
    colors,
    h("div", { class: "ls-canvas-foot" }, map, close),
    note,
    h("p", { class: "ls-help" }, word("help")),
  );
  element.replaceChildren(openButton, editor);

  let color = COLORS.black;
  let outSize = [512, 512]; // of the picture that is sent
  let source = ""; // the upload that stands on the canvas
  let isEmpty = true; // nothing stands on the canvas yet

  // -------------------------------------------------------------------------------------------------- painting

  function pick(choice) {
    color = choice;
    for (const one of swatches) one.setAttribute("aria-pressed", String(one.dataset.color === color));
    if (board.tool() === "eraser") board.choose("brush");
  }
  function flood(hex) {
    pen.fillStyle = hex;
    pen.fillRect(0, 0, canvas.width, canvas.height);
  }
  function draw(tool, from, to) {
    const radius = board.radius();
    pen.strokeStyle = pen.fillStyle = tool === "eraser" ? WHITE : color;
    pen.lineWidth = 2 * radius;
    pen.lineCap = pen.lineJoin = "round";
    pen.beginPath();
    if (tool === "soft") spray(from, to, 2 * radius);
    else if (tool === "rectangle") pen.fillRect(from[0], from[1], to[0] - from[0], to[1] - from[1]);
    else if (tool === "oval") {
      const [rx, ry] = [Math.abs(to[0] - from[0]) / 2, Math.abs(to[1] - from[1]) / 2];
      pen.ellipse((from[0] + to[0]) / 2, (from[1] + to[1]) / 2, rx, ry, 0, 0, 2 * Math.PI);
      pen.fill();
    } else {
      pen.moveTo(...from);
      pen.lineTo(...to);
      pen.stroke();
    }
  }
  /** Soft dabs along the way, a quarter of their radius apart. */
  function spray(from, to, radius) {
    const count = Math.max(1, Math.ceil(Math.hypot(to[0] - from[0], to[1] - from[1]) / (radius / 4)));
    for (let k = 1; k <= count; k++) {
      const [x, y] = [0, 1].map((n) => from[n] + ((to[n] - from[n]) * k) / count);
      const dab = pen.createRadialGradient(x, y, 0, x, y, radius);
      dab.addColorStop(0, `${color}40`);
      dab.addColorStop(1, `${color}00`);
      pen.fillStyle = dab;
      pen.fillRect(x - radius, y - radius, 2 * radius, 2 * radius);
    }
  }

  // ------------------------------------------------------------------------------------------ opening and closing

  const upload = () => field("image")?.querySelector("img")?.src || "";
  /** A sheet's size: the fields' where they are filled in, else the checkpoint's. */
  function sheetSize() {
    const [width, height] = ["width", "height"].map((name) => Number(field(name)?.querySelector("input")?.value) || 0);
    const native = (field("controls")?.querySelector("[data-size]")?.dataset.size || "512x512").split("x").map(Number);
    return [width || native[0], height || native[1]];
  }
  function resize([width, height]) {
    const scale = Math.min(1, LONGEST / Math.max(width, height));
    outSize = [width, height].map((side) => Math.max(1, Math.round(side * scale)));
    const sharp = Math.max(1, Math.ceil(SHARP / Math.max(...outSize)));
    board.reset(outSize[0] * sharp, outSize[1] * sharp);
    flood(WHITE);
    isEmpty = false;
    note.textContent = scale < 1 ? word("reduced", { width: outSize[0], height: outSize[1] }) : "";
  }
  async function drawPicture(address) {
    source = address;
    const picture = new Image();
    picture.src = address;
    try {
      await picture.decode();
    } catch {
      note.textContent = word("unreadable");
      return;
    }
    if (source !== address) return;
    resize([picture.naturalWidth, picture.naturalHeight]);
    pen.drawImage(picture, 0, 0, canvas.width, canvas.height);
  }
  async function open() {
    if (upload() && upload() !== source) await holdRuns(drawPicture(upload()));
    if (isEmpty) resize(sheetSize());
    show(true);
    publish();
    canvas.focus({ preventScroll: true });
    const live = field("live")?.querySelector("input[type=checkbox]");
    if (live && !live.checked) live.click();
  }
  function shut() {
    show(false);
    props.value = {};
    keepPicture(`${props.tab}-painting`, null);
    openButton.focus();
  }
  function show(isOpen) {
    editor.hidden = !isOpen;
    openButton.hidden = isOpen;
    map.hidden = !field("controls")?.querySelector("[data-paintable=true]");
    field("image")?.classList.toggle("ls-covered", isOpen);
    element.dataset.open = String(isOpen);
  }
  /** Opens the section Control, whose first ControlNet is painted for. */
  function paintMap() {
    const fold = field("controls")?.querySelector("details");
    if (!fold) return;
    fold.open = true;
    requestAnimationFrame(() => {
      fold.scrollIntoView({ block: "nearest" });
      (fold.querySelector(".ls-paint-canvas") || fold.querySelector("summary")).focus();
    });
  }

  // ------------------------------------------------------------------------------------------------ the value

  function publish() {
    const out = h("canvas", { width: outSize[0], height: outSize[1] });
    const context = out.getContext("2d");
    context.imageSmoothingQuality = "high";
    context.drawImage(canvas, 0, 0, ...outSize);
    let address = out.toDataURL("image/png");
    if (address.length > LARGE_PNG) address = out.toDataURL("image/jpeg", 0.92);
    props.value = { png: address.split(",")[1] };
    out.toBlob((blob) => editor.hidden || keepPicture(`${props.tab}-painting`, blob));
    document.getElementById(`${props.tab}-workspace`)?.dispatchEvent(new CustomEvent("ls-painted"));
  }
  /** What was painted before a reload. */
  async function back() {
    const blob = await storedPicture(`${props.tab}-painting`);
    if (!blob || !editor.hidden) return;
    const address = URL.createObjectURL(blob);
    await drawPicture(address);
    URL.revokeObjectURL(address);
    source = upload();
    show(true);
    publish();
  }

  // A picture that is dropped, pasted or sent here while the canvas is open comes onto it.
  const block = field("image");
  if (block)
    new MutationObserver(async () => {
      const now = upload();
      if (editor.hidden || !now || now === source) return;
      await drawPicture(now);
      publish();
    }).observe(block, { subtree: true, childList: true, attributes: true, attributeFilter: ["src"] });
  board.undoKeys(editor);
  pick(color);
  holdRuns(back());
}
