/* Styles: words under a name, as chips. A click puts a style's words into the prompt and the negative prompt, another
   takes them out; so what runs is what stands in the fields. */

import { fieldIn, fill, h, type } from "../../static/elements.js";

const PLACE = "{prompt}";

/** A text with the words of a style, and without them. Pure functions; the first is the one of studio/picture/styles.py. */
export const styling = (() => {
  const around = (words) => {
    const at = words.indexOf(PLACE);
    return at < 0 ? null : [words.slice(0, at), words.slice(at + PLACE.length)];
  };
  const add = (text, words) => {
    if (words.includes(PLACE)) return words.split(PLACE).join(text);
    return [text.trim(), words.trim()].filter(Boolean).join(", ");
  };
  /** The text without the words of a style; null where they do not stand in it as they were put there. */
  const remove = (text, words) => {
    const ends = around(words);
    if (ends) {
      const [before, after] = ends;
      const holds = text.length >= before.length + after.length && text.startsWith(before) && text.endsWith(after);
      return holds && words.split(PLACE).length === 2 ? text.slice(before.length, text.length - after.length) : null;
    }
    const own = words.trim();
    if (text.trim() === own) return "";
    const place = text.lastIndexOf(`, ${own}`);
    const end = place + own.length + 2;
    if (place >= 0 && (end === text.length || text.startsWith(", ", end)))
      return text.slice(0, place) + text.slice(end);
    return text.startsWith(`${own}, `) ? text.slice(own.length + 2) : null;
  };
  const parts = (style) => [style.prompt, style.negative_prompt];
  return {
    put: (texts, style) => texts.map((text, index) => (text === undefined ? text : add(text, parts(style)[index]))),
    /** Both texts without a style, or null where one of them has not all of its words. */
    take: (texts, style) => {
      const rest = texts.map((text, index) =>
        text !== undefined && parts(style)[index].trim() ? remove(text, parts(style)[index]) : text,
      );
      return rest.includes(null) ? null : rest;
    },
  };
})();

const choosers = new Map(); // by the id of the prompt's block: puts a style into the tab's fields
let isAsked = false;
let shared = null; // the styles of all tabs, once they have been asked for
const blocks = new Set();

async function ask(order) {
  const body = order && { method: "POST", body: JSON.stringify(order) };
  const answer = await fetch("styles", body || {});
  if (!answer.ok) throw new Error(await answer.text());
  shared = (await answer.json()).styles;
  for (const show of blocks) show();
}

/** The styles that may be put into a prompt field: none where its tab has none, or until they have been asked for. */
export const stylesOf = (id) => (choosers.has(id) && shared) || [];

/** Puts a style into the fields of a tab, if it is not there yet. */
export const putStyle = (id, name) => choosers.get(id)?.(shared.find((one) => one.name === name));

/** Asks for the styles, once, where the field's tab has any. */
export async function loadStyles(id) {
  if (shared || isAsked || !choosers.has(id)) return;
  isAsked = true;
  await ask(null).catch(() => {}); // the block says it when it is opened
}

/** The styles of one prompt field and its negative one. */
export function styles({ element, props }) {
  const { words } = props;
  let open = false;
  let last = null; // the style that was deleted just now
  const fields = () => [fieldIn(props.field), fieldIn(props.negative)];
  const texts = () => fields().map((field) => field?.value); // a folded field is not in the page
  const note = h("p", { class: "ls-help", role: "status" });
  const chips = h("div", { class: "ls-chips" });
  const name = h("input", { type: "text", maxLength: 100, placeholder: words.name, "aria-label": words.name });
  const save = h("button", { type: "button", class: "ls-chip" }, words.save);
  const title = h("span");
  const file = h("a", { href: "styles.csv", download: "styles.csv", title: words["file.title"] }, words.file);
  const say = (text, ...more) => note.replaceChildren(text, ...more);

  const put = (changed) => {
    for (const [index, field] of fields().entries())
      if (field && changed[index] !== undefined && field.value !== changed[index]) type(field, changed[index]);
    show();
  };
  /** Unfold the negative prompt, which is in the page from then on. */
  const unfold = async () => {
    document.querySelector(`#${props.fold} button`)?.click();
    for (let wait = 0; wait < 40 && !fieldIn(props.negative); wait++) await new Promise((done) => setTimeout(done, 50));
  };
  const choose = async (style) => {
    say("");
    if (style.negative_prompt.trim() && !fieldIn(props.negative)) await unfold();
    const pressed = styling.take(texts(), style) !== null;
    const changed = pressed ? styling.take(texts(), style) : styling.put(texts(), style);
    if (changed) put(changed);
    else say(fill(words.edited, { name: style.name }));
  };
  const attempt = (order, done) =>
    ask(order).then(done, (error) => say(error instanceof TypeError ? words.failed : error.message || words.failed));
  const remove = (style) => {
    const undo = h("button", { type: "button", class: "ls-chip" }, words.undo);
    undo.addEventListener("click", () => attempt(last, () => say(fill(words.saved, { name: style.name }))));
    last = style;
    attempt({ delete: style.name }, () => say(`${fill(words.deleted, { name: style.name })} `, undo));
  };
  save.addEventListener("click", async () => {
    if (!fieldIn(props.negative)) await unfold();
    const [prompt, negative_prompt = ""] = texts();
    attempt({ name: name.value, prompt, negative_prompt }, () => {
      say(fill(words.saved, { name: name.value.trim() }));
      name.value = "";
    });
  });

  function chip(style) {
    const pressed = styling.take(texts(), style) !== null;
    const button = h("button", { type: "button", class: "ls-chip", "aria-pressed": String(pressed) }, style.name);
    button.title = [style.prompt, style.negative_prompt].filter(Boolean).join("\n− ");
    button.addEventListener("click", () => choose(style));
    const away = h("button", { type: "button", class: "ls-style-delete" }, "×");
    away.setAttribute("aria-label", fill(words.delete, { name: style.name }));
    away.addEventListener("click", () => remove(style));
    return h("span", { class: "ls-style" }, button, away);
  }

  function show() {
    const count = shared ? shared.filter((style) => styling.take(texts(), style) !== null).length : 0;
    title.textContent = count ? fill(words.count, { count }) : words.open;
    if (!open || !shared) return;
    const focus = chips.contains(document.activeElement) ? document.activeElement.textContent : null;
    chips.replaceChildren(...(shared.length ? shared.map(chip) : [h("p", { class: "ls-help" }, words.none)]));
    file.hidden = !shared.length;
    if (focus) [...chips.querySelectorAll("button")].find((one) => one.textContent === focus)?.focus();
  }

  const fold = h("button", { type: "button", class: "ls-helper-open", "aria-expanded": "false" });
  fold.append(h("i", { class: "ls-chevron", "aria-hidden": "true" }), title);
  const box = h(
    "div",
    { class: "ls-style-box", hidden: true },
    chips,
    note,
    h("div", { class: "ls-style-row" }, name, save, file),
  );
  fold.addEventListener("click", () => {
    open = !open;
    fold.setAttribute("aria-expanded", String(open));
    box.hidden = !open;
    if (open) attempt(null, show);
  });
  blocks.add(show);
  choosers.set(props.field, (style) => style && styling.take(texts(), style) === null && choose(style));
  let soon = 0;
  document.addEventListener("input", ({ target }) => {
    if (!fields().includes(target)) return;
    clearTimeout(soon);
    soon = setTimeout(show, 300);
  });
  element.replaceChildren(h("div", { class: "ls-helper-bar" }, fold), box);
  show();
}
