/* Two pictures in detail: one alone, with a divider, side by side, in turn, or their difference. Both have one zoom
   and one pan. This file knows pictures, not comparisons: the caller says what A and B are. */

import { h } from "../../static/elements.js";

export function compareLook({ words }) {
  const MOST = 32; // zoom
  const BLINK = 700; // ms

  const pane = (name) => {
    const canvas = h("canvas", { class: "cmp-canvas", role: "img" });
    const tag = h("span", { class: "cmp-tag" });
    const note = h("p", { class: "cmp-note", hidden: true });
    const light = h("i", { class: "cmp-live", hidden: true });
    return {
      canvas,
      tag,
      note,
      light,
      node: h("div", { class: "cmp-pane", "data-pane": name }, canvas, note, tag, light),
    };
  };
  const a = pane("a");
  const b = pane("b");
  const divider = h(
    "div",
    {
      class: "cmp-divider",
      role: "slider",
      tabindex: 0,
      "aria-label": words.divider,
      "aria-valuemin": 0,
      "aria-valuemax": 100,
    },
    h("i"),
  );
  const view = h(
    "div",
    { class: "cmp-view", tabindex: 0, role: "group", "aria-label": words.view },
    a.node,
    b.node,
    divider,
  );

  let mode = "single";
  let gain = 1;
  let split = 50; // percent
  let zoom = { k: 1, x: 0, y: 0 };
  let contents = { a: null, b: null };
  let blinkTimer = null;
  const differences = new Map(); // "idA idB" -> {data, mean, most}

  // ------------------------------------------------------------------------------------------------ drawing

  function paint({ canvas, tag, note, light }, content) {
    tag.textContent = content ? content.tag : "";
    tag.hidden = !tag.textContent;
    note.textContent = content ? content.note || "" : "";
    note.hidden = !note.textContent;
    light.hidden = !content?.live;
    const image = content?.image;
    canvas.hidden = !image;
    if (!image) return;
    if (canvas.width !== content.width || canvas.height !== content.height) {
      canvas.width = content.width;
      canvas.height = content.height;
    }
    canvas.getContext("2d").drawImage(image, 0, 0, content.width, content.height);
    canvas.setAttribute("aria-label", content.tag || words.view);
  }

  /** The absolute difference of two finished pictures, computed once for each pair. */
  function difference(one, other) {
    const key = `${one.id} ${other.id}`;
    if (!differences.has(key)) {
      if (differences.size > 24) differences.clear();
      const pixels = (content) => {
        const canvas = new OffscreenCanvas(one.width, one.height);
        const pen = canvas.getContext("2d", { willReadFrequently: true });
        pen.drawImage(content.image, 0, 0, one.width, one.height);
        return pen.getImageData(0, 0, one.width, one.height).data;
      };
      const [p, q] = [pixels(one), pixels(other)];
      const data = new Uint8ClampedArray(p.length);
      let sum = 0;
      let most = 0;
      for (let i = 0; i < p.length; i += 4) {
        for (let c = i; c < i + 3; c++) {
          const far = Math.abs(p[c] - q[c]);
          data[c] = far;
          sum += far;
          if (far > most) most = far;
        }
      }
      differences.set(key, { data, mean: sum / (0.75 * p.length), most });
    }
    return differences.get(key);
  }

  function paintDifference() {
    const { a: one, b: other } = contents;
    if (!one || !other || !one.id || !other.id || !one.image || !other.image) return paint(b, other);
    paint(b, { ...one, tag: `|A − B| × ${gain}` });
    const { data } = difference(one, other);
    const out = new ImageData(one.width, one.height);
    for (let i = 0; i < data.length; i += 4) {
      out.data[i] = data[i] * gain;
      out.data[i + 1] = data[i + 1] * gain;
      out.data[i + 2] = data[i + 2] * gain;
      out.data[i + 3] = 255;
    }
    b.canvas.getContext("2d").putImageData(out, 0, 0);
  }

  function draw() {
    view.dataset.mode = mode;
    view.style.setProperty("--split", `${split}%`);
    divider.hidden = mode !== "divider";
    divider.setAttribute("aria-valuenow", Math.round(split));
    if (mode === "difference") paintDifference();
    else paint(b, contents.b);
    if (mode !== "single" && mode !== "difference") paint(a, contents.a);
    place();
  }

  function place() {
    for (const { canvas, node } of [a, b]) {
      canvas.style.transform = `translate(${zoom.x * node.clientWidth}px, ${zoom.y * node.clientHeight}px) scale(${zoom.k})`;
      const fit = Math.min(node.clientWidth / canvas.width, node.clientHeight / canvas.height);
      canvas.style.imageRendering = fit * zoom.k >= 6 ? "pixelated" : "auto";
    }
    view.dataset.zoomed = String(zoom.k > 1);
  }

  // ------------------------------------------------------------------------------------------- zoom and pan

  /** Zooms by a factor about a point of a pane (fractions of its sides). Pans are fractions too, so both panes
      agree. */
  function zoomBy(factor, at = { x: 0.5, y: 0.5 }) {
    const k = Math.max(1, Math.min(MOST, zoom.k * factor));
    zoom = clamp({ k, x: at.x - ((at.x - zoom.x) * k) / zoom.k, y: at.y - ((at.y - zoom.y) * k) / zoom.k });
    place();
  }
  const clamp = ({ k, x, y }) => ({ k, x: Math.min(0, Math.max(1 - k, x)), y: Math.min(0, Math.max(1 - k, y)) });
  function fit() {
    zoom = { k: 1, x: 0, y: 0 };
    place();
  }

  const paneAt = (event) => event.target.closest(".cmp-pane") || b.node;
  const where = (event, node) => {
    const box = node.getBoundingClientRect();
    return { x: (event.clientX - box.left) / box.width, y: (event.clientY - box.top) / box.height };
  };
  const fingers = new Map();
  let isDividing = false;

  view.addEventListener(
    "wheel",
    (event) => {
      // The whole picture shows already: the page scrolls
      if (!event.ctrlKey && zoom.k === 1 && event.deltaY > 0) return;
      event.preventDefault();
      zoomBy(Math.exp(-event.deltaY / 300), where(event, paneAt(event)));
    },
    { passive: false },
  );
  view.addEventListener("pointerdown", (event) => {
    const handle = event.target.closest(".cmp-divider");
    isDividing = mode === "divider" && (!!handle || zoom.k === 1);
    if (!isDividing && zoom.k === 1 && event.pointerType !== "touch") return;
    view.setPointerCapture(event.pointerId);
    fingers.set(event.pointerId, { x: event.clientX, y: event.clientY, node: paneAt(event) });
    if (isDividing) moveDivider(event);
  });
  view.addEventListener("pointermove", (event) => {
    const finger = fingers.get(event.pointerId);
    if (!finger) return;
    if (isDividing && fingers.size === 1) return moveDivider(event);
    const box = finger.node.getBoundingClientRect();
    if (fingers.size === 2) {
      const other = [...fingers].find(([id]) => id !== event.pointerId)[1];
      const before = Math.hypot(finger.x - other.x, finger.y - other.y);
      const now = Math.hypot(event.clientX - other.x, event.clientY - other.y);
      zoomBy(now / Math.max(1, before), {
        x: ((event.clientX + other.x) / 2 - box.left) / box.width,
        y: ((event.clientY + other.y) / 2 - box.top) / box.height,
      });
    } else if (zoom.k > 1) {
      zoom = clamp({
        k: zoom.k,
        x: zoom.x + (event.clientX - finger.x) / box.width,
        y: zoom.y + (event.clientY - finger.y) / box.height,
      });
      place();
    }
    fingers.set(event.pointerId, { ...finger, x: event.clientX, y: event.clientY });
  });
  for (const end of ["pointerup", "pointercancel"]) {
    view.addEventListener(end, (event) => {
      fingers.delete(event.pointerId);
      if (!fingers.size) isDividing = false;
    });
  }
  view.addEventListener("dblclick", () => (zoom.k > 1 ? fit() : zoomBy(4)));

  function moveDivider(event) {
    split = Math.max(0, Math.min(100, where(event, view).x * 100));
    draw();
  }
  divider.addEventListener("keydown", (event) => {
    const to = { ArrowLeft: split - 2, ArrowRight: split + 2, Home: 0, End: 100 }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    event.stopPropagation();
    split = Math.max(0, Math.min(100, to));
    draw();
  });
  new ResizeObserver(place).observe(view);

  // ------------------------------------------------------------------------------------------------- for others

  return {
    view,
    /** Show A and B: {id, image, width, height, tag, note, live} or null. */
    set(one, other) {
      contents = { a: one, b: other };
      draw();
    },
    mode(next) {
      mode = next;
      clearInterval(blinkTimer);
      view.dataset.front = "b";
      if (mode === "blink")
        blinkTimer = setInterval(() => (view.dataset.front = view.dataset.front === "a" ? "b" : "a"), BLINK);
      draw();
    },
    gain(next) {
      gain = next;
      draw();
    },
    /** How far A and B are apart: {mean, most} from 0 to 255, or null while one of them is unfinished. */
    apart: () =>
      contents.a && contents.b && contents.a.id && contents.b.id && contents.a.image && contents.b.image
        ? difference(contents.a, contents.b)
        : null,
    zoomBy,
    fit,
  };
}
