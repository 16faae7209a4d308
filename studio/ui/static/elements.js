/* What every script of the page needs: elements made from data (never from markup), texts with values, fields that
   scripts change. */
/** Makes an element with attributes, listeners (on*) and children. Strings become text nodes, so nothing is parsed. */
export function h(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else if (name === "class") element.className = value;
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A text of the catalogue, its {placeholders} replaced. */
export const fill = (text, values = {}) =>
  text.replace(/\{(\w+)\}/g, (placeholder, name) => (name in values ? values[name] : placeholder));

/** Items one after the other, as the page's language writes a list: "a, b" or "a、b". */
export const listText = (items) =>
  new Intl.ListFormat(document.documentElement.lang || "en", { style: "narrow", type: "conjunction" }).format(items);

/** Sentences one after the other; empty ones are left out. After a Chinese full stop no space follows. */
export const sentencesText = (sentences) =>
  sentences
    .filter(Boolean)
    .join(" ")
    .replace(/([。！？]) /g, "$1");

/** Sets a field as if a person had typed, so that Gradio notices. */
export function type(field, value) {
  const prototype = field instanceof HTMLTextAreaElement ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
  Object.getOwnPropertyDescriptor(prototype, "value").set.call(field, value);
  field.dispatchEvent(new Event("input", { bubbles: true }));
  field.dispatchEvent(new Event("change", { bubbles: true }));
}

/** Returns a function that says whether the same question came a moment before: the second half of a double click,
    or a key that is held down. */
export function repeats() {
  const MOMENT = 600; // ms
  let last = null;
  let at = -Infinity;
  return (question) => {
    const now = performance.now();
    const again = question === last && now - at < MOMENT;
    [last, at] = [question, now];
    return again;
  };
}

/** The input or textarea inside one of Gradio's blocks. */
export const fieldIn = (id) => document.querySelector(`#${id} textarea, #${id} input`);

/** True for an element in sight (Gradio keeps the other tabs in the document). */
export const isVisible = (element) => element.offsetParent !== null || element.getClientRects().length > 0;

/** True where a person wants no motion. */
export const isStill = () => matchMedia("(prefers-reduced-motion: reduce)").matches;

/** Shows an image when it is decoded; the old one stays until then, so nothing flickers. Of the images that come
    meanwhile only the newest waits: a slow machine shows fewer frames, but always some. */
export function show(image, source, alt, onError = () => {}) {
  image.dataset.source = source;
  if (image.decoding_ls) {
    image.next_ls = { source, alt, onError };
    return;
  }
  image.decoding_ls = true;
  const ready = new Image();
  ready.src = source;
  ready
    .decode()
    .then(
      () => {
        if (image.dataset.source === "") return;
        image.src = source;
        image.alt = alt;
        image.hidden = false;
      },
      () => image.dataset.source === source && onError(),
    )
    .then(() => {
      image.decoding_ls = false;
      const next = image.next_ls;
      image.next_ls = null;
      if (next && image.dataset.source === next.source) show(image, next.source, next.alt, next.onError);
    });
}

/** Says in a part of the page that its content has failed; existing content stays. */
export function showFailure(element, sentence) {
  if (element.querySelector(":scope > .ls-broken")) return;
  element.prepend(h("p", { class: "ls-broken", role: "alert" }, sentence));
}

const paths = {
  save: "M12 4v11m0 0-4.5-4.5M12 15l4.5-4.5M5 20h14",
  edit: "M4 17l5-5 4 4 3-3 4 4M4 5h16v14H4zM9 9.5a1 1 0 1 1-2 0 1 1 0 0 1 2 0z",
  inpaint: "M14.5 4.5l5 5L11 18l-5-5zM6 13l-2 7 7-2",
  eraser: "M9 20h11M4.5 14.5l9-9a2 2 0 0 1 3 0l3 3a2 2 0 0 1 0 3L12 19H9l-4.5-4.5zM9 10l6 6",
  undo: "M9 7L4 12l5 5M4 12h10a6 6 0 0 1 6 6v1",
  noise: "M3 12h2l2-7 3 14 3-10 2 6 2-3h4",
  compare: "M4 4h6v6H4zM14 4h6v6h-6zM4 14h6v6H4zM14 14h6v6h-6z",
  reuse: "M5 12a7 7 0 0 1 12-5l2 2m0-4v4h-4M19 12a7 7 0 0 1-12 5l-2-2m0 4v-4h4",
  theme: "M12 3a9 9 0 1 0 9 9 7 7 0 0 1-9-9z",
  upscale: "M14 4h6v6M20 4l-6.5 6.5M10 20H4v-6M4 20l6.5-6.5",
  first: "M18 6l-8 6 8 6zM6 6v12",
  previous: "M15 6l-8 6 8 6z",
  play: "M8 5l11 7-11 7z",
  pause: "M8 5v14M16 5v14",
  next: "M9 6l8 6-8 6z",
  last: "M6 6l8 6-8 6zM18 6v12",
};

/** A line icon. It is decoration only: the words stand on the button around it. */
export function icon(name) {
  const space = "http://www.w3.org/2000/svg";
  const drawing = document.createElementNS(space, "svg");
  for (const [key, value] of Object.entries({ viewBox: "0 0 24 24", class: "ls-icon", "aria-hidden": "true" })) {
    drawing.setAttribute(key, value);
  }
  const path = document.createElementNS(space, "path");
  path.setAttribute("d", paths[name]);
  drawing.append(path);
  return drawing;
}
