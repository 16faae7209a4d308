/* How pictures are saved: the owner's choice of the files and their names, in a dialog that the Library opens. */

import { openDialog } from "../../static/dialog.js";
import { fill, h } from "../../static/elements.js";

const ADDRESS = "/saving";
const PAUSE = 200; // ms after the last key of a pattern

/** Opens the dialog. `fetchJson(address, order)` asks the studio, by POST where there is an order. */
export async function saving(words, fetchJson) {
  const say = (key, values) => fill(words[key], values);
  const { body } = openDialog(say("saving.title"), words.close);
  const problem = h("p", { role: "alert" });
  const done = h("p", { role: "status" });
  const formats = h("select", { id: "ls-saving-format", onchange: () => change() });
  const quality = h("input", { id: "ls-saving-quality", type: "number", min: 1, max: 100, required: true });
  const lossless = h("input", { type: "checkbox", onchange: () => change() });
  const pattern = h("input", {
    id: "ls-saving-pattern",
    class: "ls-saving-pattern",
    maxlength: 200,
    required: true,
    spellcheck: false,
    autocomplete: "off",
    "aria-describedby": "ls-saving-example",
    oninput: () => change(),
  });
  const example = h("output", { id: "ls-saving-example", class: "ls-saving-example" });
  const chips = h("div", { class: "ls-saving-words", role: "group", "aria-label": say("saving.words") });
  const formatNote = h("small", {});
  const row = (field, label) => h("div", { class: "ls-saving-row" }, h("label", { for: field.id }, say(label)), field);
  const qualityRow = row(quality, "saving.quality");
  const losslessRow = h("label", { class: "ls-saving-check" }, lossless, say("saving.lossless"));
  const patternRow = row(pattern, "saving.pattern");
  patternRow.append(example, h("small", {}, say("saving.pattern.what")), chips);
  const usual = h("button", { type: "button", onclick: () => setPattern(usual.dataset.pattern) }, say("saving.usual"));
  const form = h(
    "form",
    { class: "ls-saving", onsubmit: (event) => store(event) },
    row(formats, "saving.format"),
    losslessRow,
    qualityRow,
    formatNote,
    patternRow,
    h("div", { class: "ls-sharing-row" }, h("button", { class: "ls-sharing-main" }, say("saving.store")), usual, done),
  );
  body.append(h("div", {}, h("p", {}, say("saving.what")), problem, form));

  let timer = null;
  let question = 0;

  /** A field has another value: shows what belongs to it, and soon the name that the pattern gives. */
  function change() {
    const isWebp = formats.value === "webp";
    losslessRow.hidden = !isWebp;
    qualityRow.hidden = formats.value === "png" || (isWebp && lossless.checked);
    formatNote.textContent = words[`saving.note.${formats.value}`];
    done.textContent = "";
    clearTimeout(timer);
    timer = setTimeout(lookAtExample, PAUSE);
  }

  async function lookAtExample() {
    const mine = ++question;
    const query = new URLSearchParams({ pattern: pattern.value, format: formats.value });
    const view = await attempt(() => fetchJson(`${ADDRESS}?${query}`));
    if (view && mine === question) drawExample(view);
  }

  function drawExample(view) {
    example.textContent = view.problem || view.example;
    example.dataset.bad = String(Boolean(view.problem));
    pattern.setAttribute("aria-invalid", String(Boolean(view.problem)));
  }

  function setPattern(text) {
    pattern.value = text;
    pattern.focus();
    change();
  }

  /** A word goes where the caret stands. */
  function insert(word) {
    const [begin, end] = [pattern.selectionStart, pattern.selectionEnd];
    pattern.setRangeText(word, begin, end, "end");
    setPattern(pattern.value);
  }

  function draw(view) {
    const options = Object.entries(view.formats).map(([value, label]) =>
      h("option", { value, selected: value === view.saving.format }, label),
    );
    formats.replaceChildren(...options);
    quality.value = view.saving.quality;
    lossless.checked = view.saving.lossless;
    pattern.value = view.saving.pattern;
    usual.dataset.pattern = view.usual_pattern;
    chips.replaceChildren(
      ...Object.entries(view.words).map(([word, value]) =>
        h("button", { type: "button", onclick: () => insert(word) }, h("code", {}, word), h("small", {}, value)),
      ),
    );
    drawExample(view);
    change();
  }

  async function attempt(act) {
    try {
      const view = await act();
      problem.textContent = "";
      return view;
    } catch (failure) {
      problem.textContent = failure.message || words.lost;
      return null;
    }
  }

  async function store(event) {
    event.preventDefault();
    const order = {
      format: formats.value,
      quality: Number(quality.value),
      lossless: lossless.checked,
      pattern: pattern.value,
    };
    const view = await attempt(() => fetchJson(ADDRESS, order));
    if (!view) return;
    draw(view);
    done.textContent = say("saving.stored");
  }

  const first = await attempt(() => fetchJson(ADDRESS));
  form.hidden = !first;
  if (first) draw(first);
}
