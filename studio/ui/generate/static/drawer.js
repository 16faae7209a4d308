/* The drawer of LoRAs and embeddings below a prompt: a card with a picture for each, which a click puts into the prompt
   and another takes out; those in use have a slider that changes the weight in the text, and their trigger words. What
   runs is what stands in the fields: the drawer reads and writes them, and remembers nothing. */

import { fieldIn, fill, h, sentencesText, type } from "../../static/elements.js";
import { freshNames, names } from "./prompt_listing.js";
import { added, embeddingsIn, hasWords, lorasIn, tagOf, weighed, without } from "./prompt_tags.js";
import { tagLine } from "./tag_file.js";

const MOST = 60; // cards that are drawn at once
const TAGS = 8; // of a training that are offered

/** The drawer of one prompt field and its negative one. */
export function drawer({ element, props }) {
  const { words } = props;
  let open = false;
  let last = props.field; // the field that was written in last
  const title = h("span", {}, words.open);
  const fold = h("button", { type: "button", class: "ls-helper-open", "aria-expanded": "false" });
  fold.append(h("i", { class: "ls-chevron", "aria-hidden": "true" }), title);
  const find = h("input", {
    type: "search",
    class: "ls-helper-find",
    placeholder: words.find,
    "aria-label": words.find,
  });
  const note = h("p", { class: "ls-help", role: "status" });
  const used = h("div", { class: "ls-used" });
  const cards = h("div", { class: "ls-cards" });
  const box = h("div", { class: "ls-drawer-box", hidden: true }, used, find, note, cards);

  const set = (id, text) => fieldIn(id) && type(fieldIn(id), text);
  const textOf = (id) => fieldIn(id)?.value || "";
  const target = () => (fieldIn(last) ? last : props.field);

  /** What of the listing stands in the fields: [{row, isLora, id, weight, …}…], `id` the field's. */
  function inUse() {
    const { loras, embeddings } = names();
    const of = (id, list, isLora) => list.map((one) => ({ ...one, isLora, id }));
    return [
      ...of(props.field, lorasIn(textOf(props.field), loras), true),
      ...of(props.field, embeddingsIn(textOf(props.field), embeddings), false),
      ...of(props.negative, embeddingsIn(textOf(props.negative), embeddings), false),
    ];
  }
  const findUse = (row) => inUse().find((one) => one.row.name === row.name && one.isLora === row.isLora);

  function toggle(row) {
    const use = findUse(row);
    if (use) set(use.id, without(textOf(use.id), use, use.isLora));
    else if (row.isLora) set(props.field, added(textOf(props.field), tagOf(row), false));
    else set(target(), added(textOf(target()), row.name, true));
    draw();
  }

  // ------------------------------------------------------------------------------------------------------ in use

  const rows = new Map(); // by kind, field and name: the row's parts, so that a slider that is moved stays
  function usedRow(use) {
    const { row, isLora, id } = use;
    const now = () => inUse().find((one) => one.row.name === row.name && one.isLora === isLora && one.id === id);
    const slider = h("input", { type: "range", step: "0.05", "aria-label": fill(words.weight, { name: row.name }) });
    const value = h("output", {});
    slider.addEventListener("input", () => {
      const one = now();
      if (one) set(id, weighed(textOf(id), one, isLora, Number(slider.value)));
      drawUsed();
    });
    const away = h("button", { type: "button", class: "ls-style-delete" }, "×");
    away.setAttribute("aria-label", fill(words.remove, { name: row.name }));
    away.addEventListener("click", () => {
      toggle({ ...row, isLora });
      find.focus();
    });
    const chips = [...new Set([...(row.words || []), ...(row.tags || []).slice(0, TAGS)])].map((text) => {
      const chip = h("button", { type: "button", class: "ls-chip" }, text);
      chip.addEventListener("click", () => {
        if (!hasWords(textOf(id), text)) set(id, added(textOf(id), text, true));
        drawUsed();
      });
      return chip;
    });
    const labels = { class: "ls-chips", role: "group", "aria-label": fill(words.words, { name: row.name }) };
    const where = id === props.negative ? h("small", {}, words.negative) : null;
    const line = h(
      "div",
      { class: "ls-used-row" },
      h("div", { class: "ls-used-line" }, h("b", { dir: "auto" }, row.name), where, slider, value, away),
      chips.length ? h("div", labels, ...chips) : null,
    );
    return { line, slider, value, chips };
  }
  function drawUsed() {
    const uses = inUse();
    title.textContent = uses.length ? fill(words.count, { count: uses.length }) : words.open;
    if (!open) return;
    const lines = uses.map((use) => {
      const key = [use.isLora, use.id, use.row.name].join("\n");
      if (!rows.has(key)) rows.set(key, usedRow(use));
      const { line, slider, value, chips } = rows.get(key);
      slider.min = String(Math.min(use.isLora ? -1 : 0, use.weight));
      slider.max = String(Math.max(2, use.weight));
      slider.value = String(use.weight);
      value.textContent = String(use.weight);
      for (const chip of chips) chip.setAttribute("aria-pressed", String(hasWords(textOf(use.id), chip.textContent)));
      return line;
    });
    // Only what changes is moved: a row that left the page for a moment would lose the focus.
    if (lines.length !== used.children.length || lines.some((line, k) => used.children[k] !== line))
      used.replaceChildren(...lines);
    used.hidden = !lines.length;
    const pressed = new Set(uses.map((use) => `${use.isLora}\n${use.row.name}`));
    for (const card of cards.querySelectorAll("button"))
      card.setAttribute("aria-pressed", String(pressed.has(card.dataset.key)));
  }

  // ------------------------------------------------------------------------------------------------------- cards

  function card(row) {
    const source = row.picture && `model-picture/${encodeURIComponent(row.picture)}`;
    const picture = source
      ? h("img", { src: source, alt: "", loading: "lazy", decoding: "async" })
      : h("i", { "aria-hidden": "true" }, row.name.slice(0, 1).toUpperCase());
    const kind = [words[row.isLora ? "lora" : "embedding"], row.family].filter(Boolean).join(" · ");
    const button = h(
      "button",
      { type: "button", class: "ls-card", "data-key": `${row.isLora}\n${row.name}`, title: row.words[0] || null },
      h("span", { class: "ls-card-picture" }, picture),
      h("b", { dir: "auto" }, row.name),
      h("small", {}, kind),
    );
    button.addEventListener("click", () => toggle(row));
    return button;
  }
  function draw() {
    if (!open) return drawUsed();
    const { loras, embeddings } = names();
    const all = [
      ...loras.map((row) => ({ ...row, isLora: true })),
      ...embeddings.map((row) => ({ ...row, isLora: false })),
    ];
    const query = find.value.trim().toLowerCase();
    const matches = all.filter((row) =>
      [row.name, row.alias, ...row.words].some((text) => text?.toLowerCase().includes(query)),
    );
    find.hidden = all.length < 2;
    const rest = matches.length - MOST;
    const says = !all.length ? words.none : !matches.length ? words.nothing : words.help;
    const more = rest > 0 ? fill(words.more, { count: rest }) : embeddings.length ? words["help.negative"] : "";
    note.textContent = sentencesText([says, all.length ? more : ""]);
    const keys = matches.slice(0, MOST).map((row) => `${row.isLora}\n${row.name}`);
    const present = [...cards.children].map((one) => one.dataset.key);
    if (keys.join("\n\n") !== present.join("\n\n")) cards.replaceChildren(...matches.slice(0, MOST).map(card));
    drawUsed();
  }

  fold.addEventListener("click", async () => {
    open = !open;
    fold.setAttribute("aria-expanded", String(open));
    box.hidden = !open;
    if (!open) return;
    if (!box.querySelector(".ls-tag-file")) box.append(tagLine(words));
    await freshNames();
    draw();
  });
  find.addEventListener("input", draw);
  const isOurs = (field) => [props.field, props.negative].find((id) => field && field === fieldIn(id));
  let soon = 0;
  const look = ({ target: field }) => {
    if (!isOurs(field)) return;
    clearTimeout(soon);
    soon = setTimeout(drawUsed, 200);
  };
  for (const kind of ["input", "change", "focusin"]) document.addEventListener(kind, look);
  document.addEventListener("focusin", ({ target: field }) => {
    last = isOurs(field) || last;
  });
  element.replaceChildren(h("div", { class: "ls-helper-bar" }, fold), box);
}
