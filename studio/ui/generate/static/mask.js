/* A mask, painted over the uploaded picture on a canvas of our own. The picture is not sent again: the page sends a
   PNG of one channel, which it makes here. */

import { h, icon, isVisible } from "../../static/elements.js";
import { holdRuns } from "../../static/waiting.js";
import { keepPicture, storedPicture } from "./stored_picture.js";

const LONGEST = 1024; // pixels of the mask's longer side; latents of 8 x 8 pixels cannot use a finer one
const BLACK_BELOW = 32; // of 255, as in studio/picture/masks.py
const UNDO = 24;

export function mask({ element, props }) {
  const word = (key) => props.words[key];
  const field = (name) => document.getElementById(`${props.tab}-${name}`);

  const picture = h("img", { class: "ls-mask-picture", alt: "" });
  const canvas = h("canvas", { class: "ls-mask-canvas", tabindex: 0, role: "img", "aria-label": word("canvas") });
  const cursor = h("i", { class: "ls-mask-cursor", hidden: true, "aria-hidden": "true" });
  const sheet = h("div", { class: "ls-mask-sheet" }, picture, canvas, cursor);
  const size = h("input", {
    type: "range",
    min: 1,
    max: 100,
    value: 28,
    class: "ls-mask-size",
    "aria-label": word("size"),
    title: word("size"),
  });
  const file = h("input", { type: "file", accept: "image/png,image/jpeg,image/webp,image/gif", hidden: true });
  const note = h("p", { class: "ls-mask-note", role: "status" }, word("hint"));
  const button = (name, act, iconName) =>
    h(
      "button",
      { class: "ls-pick", type: "button", onclick: act, title: word(name) },
      iconName ? icon(iconName) : null,
      word(name),
    );
  const brush = button("brush", () => choose(false), "inpaint");
  const eraser = button("eraser", () => choose(true), "eraser");
  const undoButton = button("undo", undo, "undo");
  const transparent = button("transparent", () => change(() => paintAll((_, k) => (seeThrough[k] ? 255 : 0))));
  transparent.hidden = true;
  const tools = h(
    "div",
    { class: "ls-mask-tools", role: "toolbar", "aria-label": word("canvas") },
    brush,
    eraser,
    size,
    undoButton,
    button("invert", () => change(() => paintAll((alpha) => 255 - alpha))),
    button("clear", () => change(() => paintAll(() => 0))),
    button("upload", () => file.click()),
    transparent,
    button("other", other),
    file,
  );
  const editor = h("div", { class: "ls-mask", hidden: true }, h("div", { class: "ls-mask-frame" }, sheet), tools, note);
  element.replaceChildren(editor);

  const pen = canvas.getContext("2d", { willReadFrequently: true });
  const past = []; // alpha channels, oldest first
  let isErasing = false;
  let stroke = null; // the last position of the pointer, in pixels of the mask
  let source = "";
  let sendCount = 0;
  let before = storedPicture(`${props.tab}-mask`); // the mask from before a reload, until its picture is back
  let seeThrough = []; // for each pixel of the mask: whether the picture is transparent there

  // --------------------------------------------------------------------------------------------- the picture

  /** Gradio's upload field holds the picture; while it has one, the editor covers it. */
  function look() {
    const upload = field("image")?.querySelector("img");
    const now = upload ? upload.src : "";
    if (now === source) return;
    source = now;
    editor.hidden = !now;
    if (field("image")) field("image").classList.toggle("ls-covered", !!now);
    if (now) picture.src = now;
    else forget();
  }
  picture.addEventListener("load", () => {
    const scale = Math.min(1, LONGEST / Math.max(picture.naturalWidth, picture.naturalHeight));
    canvas.width = Math.max(1, Math.round(picture.naturalWidth * scale));
    canvas.height = Math.max(1, Math.round(picture.naturalHeight * scale));
    forget();
    place();
    paintAgain();
    const pixels = pixelsOf(picture);
    seeThrough = Array.from({ length: pixels.length / 4 }, (_, k) => pixels[k * 4 + 3] < 128);
    transparent.hidden = !seeThrough.includes(true);
  });
  picture.addEventListener("error", () => {
    if (!source) return; // nobody can paint on a picture that the browser cannot show; its field says what is wrong
    editor.hidden = true;
    field("image").classList.remove("ls-covered");
    forget();
  });
  /** After a reload: paints the mask of this picture again. A mask of another size belongs to another picture. */
  async function paintAgain() {
    const earlierMask = before && (await createImageBitmap((await before) || new Blob()).catch(() => null));
    if (earlierMask && earlierMask.width === canvas.width && earlierMask.height === canvas.height && !past.length) {
      const isPaintedAt = paintTest(pixelsOf(earlierMask));
      paintAll((_, k) => (isPaintedAt(k) ? 255 : 0));
    }
    before = null;
    publish();
  }
  /** A picture's pixels at the mask's size, four bytes each. */
  function pixelsOf(source) {
    const scratch = Object.assign(document.createElement("canvas"), {
      width: canvas.width,
      height: canvas.height,
    }).getContext("2d");
    scratch.drawImage(source, 0, 0, canvas.width, canvas.height);
    return scratch.getImageData(0, 0, canvas.width, canvas.height).data;
  }
  function forget() {
    past.length = 0;
    pen.clearRect(0, 0, canvas.width, canvas.height);
    publish();
  }
  function other() {
    const remove = field("image").querySelector("button[aria-label]");
    if (remove) remove.click();
  }

  /** The sheet has the shape of the picture to be made: the present picture and its extensions. */
  function place() {
    const by = Object.fromEntries(
      ["left", "right", "up", "down"].map((side) => {
        const input = field(`extend_${side}`)?.querySelector("input");
        return [side, Math.min(1024, Math.max(0, (input && Number(input.value)) || 0))];
      }),
    );
    const [w, hh] = [picture.naturalWidth || 1, picture.naturalHeight || 1];
    const [width, height] = [w + by.left + by.right, hh + by.up + by.down];
    sheet.style.aspectRatio = `${width} / ${height}`;
    sheet.style.setProperty("--ratio", width / height);
    for (const part of [picture, canvas]) {
      part.style.left = `${(by.left / width) * 100}%`;
      part.style.top = `${(by.up / height) * 100}%`;
      part.style.width = `${(w / width) * 100}%`;
      part.style.height = `${(hh / height) * 100}%`;
    }
  }

  // ------------------------------------------------------------------------------------------------ painting

  const choose = (eraserChosen) => {
    isErasing = eraserChosen;
    brush.setAttribute("aria-pressed", String(!isErasing));
    eraser.setAttribute("aria-pressed", String(isErasing));
  };
  /** Diameter of the brush in pixels of the mask: a share of the longer side, which grows faster at the end of the
      slider. */
  const diameter = () => Math.max(1, Math.max(canvas.width, canvas.height) * 0.5 * (size.value / 100) ** 1.6);

  function at(event) {
    const box = canvas.getBoundingClientRect();
    return [
      ((event.clientX - box.left) / box.width) * canvas.width,
      ((event.clientY - box.top) / box.height) * canvas.height,
    ];
  }
  function line(from, to) {
    pen.globalCompositeOperation = isErasing ? "destination-out" : "source-over";
    pen.strokeStyle = getComputedStyle(canvas).color;
    pen.lineCap = pen.lineJoin = "round";
    pen.lineWidth = diameter();
    pen.beginPath();
    pen.moveTo(...from);
    pen.lineTo(to[0] + 0.01, to[1]); // a line without length would paint no dot
    pen.stroke();
  }
  function alphas() {
    const { data } = pen.getImageData(0, 0, canvas.width, canvas.height);
    const out = new Uint8Array(data.length / 4);
    for (let k = 0; k < out.length; k++) out[k] = data[k * 4 + 3];
    return out;
  }
  function paintAll(alphaOf) {
    const before = alphas();
    const [r, g, b] = (getComputedStyle(canvas).color.match(/\d+/g) || [75, 79, 217]).map(Number);
    const image = pen.createImageData(canvas.width, canvas.height);
    for (let k = 0; k < before.length; k++) image.data.set([r, g, b, alphaOf(before[k], k)], k * 4);
    pen.putImageData(image, 0, 0);
  }
  function remember() {
    past.push(alphas());
    if (past.length > UNDO) past.shift();
  }
  function change(paint) {
    if (!source) return;
    remember();
    paint();
    publish();
  }
  function undo() {
    const before = past.pop();
    if (!before) return;
    paintAll((_, k) => before[k]);
    publish();
  }

  canvas.addEventListener("pointerdown", (event) => {
    if (event.button > 0) return;
    event.preventDefault();
    canvas.focus({ preventScroll: true });
    canvas.setPointerCapture(event.pointerId);
    remember();
    stroke = at(event);
    line(stroke, stroke);
  });
  canvas.addEventListener("pointermove", (event) => {
    hover(event);
    if (!stroke) return;
    for (const sample of event.getCoalescedEvents ? [...event.getCoalescedEvents(), event] : [event]) {
      const to = at(sample);
      line(stroke, to);
      stroke = to;
    }
  });
  const lift = () => {
    if (!stroke) return;
    stroke = null;
    publish();
  };
  canvas.addEventListener("pointerup", lift);
  canvas.addEventListener("pointercancel", lift);
  canvas.addEventListener("pointerleave", () => {
    cursor.hidden = true;
  });
  function hover(event) {
    const box = canvas.getBoundingClientRect();
    const outer = sheet.getBoundingClientRect();
    const width = (diameter() / canvas.width) * box.width;
    cursor.hidden = event.pointerType === "touch";
    cursor.style.width = cursor.style.height = `${width}px`;
    cursor.style.left = `${event.clientX - outer.left - width / 2}px`;
    cursor.style.top = `${event.clientY - outer.top - width / 2}px`;
  }
  editor.addEventListener("keydown", (event) => {
    if ((event.ctrlKey || event.metaKey) && event.key.toLowerCase() === "z") {
      event.preventDefault();
      undo();
    } else if (event.target === size || event.ctrlKey || event.metaKey || event.altKey) return;
    else if (event.key === "[") size.value = Number(size.value) - 5;
    else if (event.key === "]") size.value = Number(size.value) + 5;
    else if (event.key === "b") choose(false);
    else if (event.key === "e") choose(true);
  });

  file.addEventListener("change", async () => {
    const [upload] = file.files;
    file.value = "";
    if (!upload) return;
    try {
      const isPainted = paintTest(pixelsOf(await createImageBitmap(upload)));
      change(() => paintAll((_, k) => (isPainted(k) ? 255 : 0)));
      note.textContent = word("hint");
    } catch {
      note.textContent = word("unreadable");
    }
  });

  // ----------------------------------------------------------------------------------------------- what is sent

  /** Sets the mask as the component's value, which Generate sends; empty where nothing is painted. */
  const publish = () => holdRuns(sendMask());
  async function sendMask() {
    const ownCount = ++sendCount;
    const alpha = alphas();
    undoButton.disabled = past.length === 0;
    const anyPaint = source && alpha.some((value) => value >= 128);
    editor.dataset.painted = String(!!anyPaint);
    const png = anyPaint ? await greyPng(alpha, canvas.width, canvas.height) : "";
    if (ownCount !== sendCount) return;
    props.value = png ? { png } : {};
    if (!before) keepPicture(`${props.tab}-mask`, png ? new Blob([bytesOf(png)], { type: "image/png" }) : null);
  }

  new MutationObserver(look).observe(field("image") || document.body, {
    subtree: true,
    childList: true,
    attributes: true,
    attributeFilter: ["src"],
  });
  document.addEventListener("input", (event) => {
    if (event.target.closest?.(".ls-extend") && isVisible(editor)) place();
  });
  choose(false);
  look();
}

/** Which pixels of an uploaded mask are painted, by the rule of the API (studio/picture/masks.py). Normally these
    are the light pixels. On transparent ground they are the strokes in any colour, unless the strokes are black and
    white. */
export function paintTest(data) {
  const light = (k) => 0.299 * data[k * 4] + 0.587 * data[k * 4 + 1] + 0.114 * data[k * 4 + 2];
  const opaque = (k) => data[k * 4 + 3] >= 128;
  let black = false;
  let white = false;
  let transparent = false;
  for (let k = 0; k < data.length / 4; k++) {
    if (!opaque(k)) transparent = true;
    else if (light(k) >= 128) white = true;
    else if (light(k) < BLACK_BELOW) black = true;
  }
  if (!transparent) return (k) => light(k) >= 128;
  return black && white ? (k) => opaque(k) && light(k) >= 128 : opaque;
}

/** Values from 0 to 255 => a grey PNG of one channel, in base64. Values from 128 become white, the others black. */
export async function greyPng(values, width, height) {
  const rows = new Uint8Array((width + 1) * height);
  for (let y = 0; y < height; y++) {
    for (let x = 0; x < width; x++) rows[y * (width + 1) + 1 + x] = values[y * width + x] >= 128 ? 255 : 0;
  }
  const compressed = new Uint8Array(
    await new Response(new Blob([rows]).stream().pipeThrough(new CompressionStream("deflate"))).arrayBuffer(),
  );
  const header = new DataView(new ArrayBuffer(13));
  header.setUint32(0, width);
  header.setUint32(4, height);
  header.setUint8(8, 8); // bits a pixel, then colour type 0: grey
  const parts = [
    new Uint8Array([137, 80, 78, 71, 13, 10, 26, 10]),
    chunk("IHDR", new Uint8Array(header.buffer)),
    chunk("IDAT", compressed),
    chunk("IEND", new Uint8Array()),
  ];
  const bytes = new Uint8Array(await new Blob(parts).arrayBuffer());
  let text = "";
  for (let k = 0; k < bytes.length; k += 32768) text += String.fromCharCode(...bytes.subarray(k, k + 32768));
  return btoa(text);
}

const bytesOf = (base64) => Uint8Array.from(atob(base64), (one) => one.charCodeAt(0));

function chunk(kind, body) {
  const out = new DataView(new ArrayBuffer(body.length + 12));
  const bytes = new Uint8Array(out.buffer);
  out.setUint32(0, body.length);
  bytes.set(
    [...kind].map((letter) => letter.charCodeAt(0)),
    4,
  );
  bytes.set(body, 8);
  out.setUint32(8 + body.length, crc32(bytes.subarray(4, 8 + body.length)));
  return bytes;
}

function crc32(bytes) {
  let crc = ~0;
  for (const byte of bytes) {
    crc ^= byte;
    for (let k = 0; k < 8; k++) crc = (crc >>> 1) ^ (crc & 1 ? 0xedb88320 : 0);
  }
  return ~crc >>> 0;
}
