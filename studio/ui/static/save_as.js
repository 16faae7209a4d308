/* What a picture is taken away as: a fold beside each Save, with the format, and whether its settings are in the file.
   The choice is this browser's and holds for every Save. */

import { h } from "./elements.js";

const STORED = "latent-studio.save-as";
const FORMATS = { png: "PNG", jpeg: "JPEG", webp: "WebP" };
const folds = new Set();

function choice() {
  try {
    const { format, bare } = JSON.parse(localStorage.getItem(STORED)) || {};
    return { format: format in FORMATS ? format : "", bare: bare === true };
  } catch {
    return { format: "", bare: false };
  }
}

function choose(next) {
  try {
    localStorage.setItem(STORED, JSON.stringify(next));
  } catch {
    // The browser stores nothing: the choice holds for nothing then, and the fields say so.
  }
  for (const one of folds) {
    if (one.fold.isConnected) one.draw();
    else folds.delete(one);
  }
}

/** The name in the header of an answer that is a file. */
function nameOf(answer) {
  const header = answer.headers.get("content-disposition") || "";
  const encoded = /filename\*=utf-8''([^;]+)/i.exec(header);
  return encoded ? decodeURIComponent(encoded[1]) : /filename="([^"]*)"/.exec(header)?.[1] || "picture";
}

/** Puts the fold beside a link that saves a picture; the link's address is one that takes `format` and `metadata`. */
export function saveAs(link) {
  const words = window.studioLanguage.words("save_as");
  const note = h("p", { class: "ls-save-as-note", role: "alert" });
  const formats = h(
    "select",
    { "aria-label": words.format, onchange: () => choose({ ...choice(), format: formats.value }) },
    h("option", { value: "" }, words.as_it_is),
    ...Object.entries(FORMATS).map(([value, label]) => h("option", { value }, label)),
  );
  const bare = h("input", { type: "checkbox", onchange: () => choose({ ...choice(), bare: bare.checked }) });
  const summary = h("summary", { class: "ls-button", "aria-label": words.title, title: words.title }, "▾");
  const box = h(
    "div",
    { class: "ls-save-as-box" },
    h("label", {}, h("span", {}, words.format), formats),
    h("label", { class: "ls-save-as-bare" }, bare, words.bare),
    h("small", {}, words["bare.what"]),
    note,
  );
  const fold = h("details", { class: "ls-save-as" }, summary, box);
  const close = (event) => {
    if (fold.open && !fold.contains(event.target)) fold.open = false;
  };
  fold.addEventListener("toggle", () => {
    if (fold.open) document.addEventListener("pointerdown", close);
    else document.removeEventListener("pointerdown", close);
  });
  fold.addEventListener("keydown", (event) => {
    if (event.key !== "Escape" || !fold.open) return;
    event.preventDefault();
    event.stopPropagation();
    fold.open = false;
    summary.focus();
  });

  function draw() {
    const now = choice();
    formats.value = now.format;
    bare.checked = now.bare;
    note.textContent = "";
    summary.dataset.changed = String(Boolean(now.format || now.bare));
  }

  link.addEventListener("click", async (event) => {
    const now = choice();
    if (link.dataset.plain === "true" || (!now.format && !now.bare)) return;
    event.preventDefault();
    const address = new URL(link.href);
    if (now.format) address.searchParams.set("format", now.format);
    if (now.bare) address.searchParams.set("metadata", "0");
    try {
      const answer = await fetch(address);
      if (!answer.ok) throw new Error(await answer.text());
      const place = URL.createObjectURL(await answer.blob());
      h("a", { href: place, download: nameOf(answer) }).click();
      setTimeout(() => URL.revokeObjectURL(place), 60_000);
      note.textContent = "";
    } catch (failure) {
      fold.open = true;
      note.textContent = failure.message;
    }
  });
  folds.add({ fold, draw });
  draw();
  return h("span", { class: "ls-save" }, link, fold);
}
