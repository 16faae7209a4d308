/* Presets: a tab's fields under a name, and those that come with a checkpoint. A quiet line below the checkpoint; open,
   a chip for each, and what can be done with the present settings. The server checks and stores them. */

import { copyText, selectIn } from "../../static/copying.js";
import { fieldIn, fill, h, sentencesText } from "../../static/elements.js";
import { prepareFolds } from "../../static/opening.js";

let shared = null; // {presets, models} of all tabs, once they have been asked for
const blocks = new Set();

async function ask(address, body) {
  const answer = await fetch(address, body === null ? {} : { method: "POST", body });
  if (!answer.ok) throw new Error(await answer.text());
  const content = await answer.json();
  if (content.presets) {
    shared = content;
    for (const show of blocks) show();
  }
  return content;
}

/** The presets of one tab. */
export function presets({ element, props, watch, trigger }) {
  const { words, tab } = props;
  const say = (key, values) => fill(words[key], values);
  let open = false;
  let renamed = null; // the preset whose name is being changed
  const uses = []; // what is done with the fields when they come
  let checkpoint = null; // the name of the chosen one, once it is known

  const plain = (text, act, attributes = {}) => {
    const button = h("button", { type: "button", class: "ls-chip", ...attributes }, text);
    button.addEventListener("click", act);
    return button;
  };
  const note = h("p", { class: "ls-help ls-preset-note", role: "status" });
  const tell = (...parts) => note.replaceChildren(...parts);
  const undoing = (sentence, undo, after) => {
    const back = () => {
      tell(after);
      keepFocus(fold);
    };
    const button = plain(words.undo, () => attempt(undo, back));
    tell(`${sentence} `, button);
    keepFocus(button);
  };
  /** What had the focus may be gone. */
  const keepFocus = (element) => document.activeElement === document.body && element.focus();
  const failed = (error) => tell(error instanceof TypeError ? words.failed : error.message || words.failed);
  const attempt = (order, done) => ask("presets", order && JSON.stringify({ tab, ...order })).then(done, failed);
  const mine = () => (shared ? shared.presets.filter((one) => one.tab === tab) : []);
  const preset = (name) => mine().find((one) => one.name === name);
  const ofModel = () => shared?.models.find((one) => one.tab === tab && one.checkpoint === checkpoint);
  const label = () => fieldIn(props.checkpoint)?.value || checkpoint || "";
  /** Asks Gradio for the present fields, for `act`. */
  const withFields = (act) => {
    uses.push(act);
    trigger("collect");
  };

  // ------------------------------------------------------------------------------------------------ what is done

  const choose = async (one) => {
    await prepareFolds(tab);
    trigger("put", { fields: one.fields, name: one.name });
  };
  const again = (one) => ({ save: one.name, fields: one.fields, as_stored: true });
  const remove = (one) =>
    attempt({ delete: one.name }, () =>
      undoing(say("deleted", { name: one.name }), again(one), say("saved", { name: one.name })),
    );
  const save = () =>
    withFields((fields) => {
      const name = nameField.value.trim().replace(/\s+/g, " ");
      const before = preset(name);
      attempt({ save: name, fields }, () => {
        nameField.value = "";
        if (before) undoing(say("replaced", { name }), again(before), say("back", { name }));
        else tell(say("saved", { name }));
      });
    });
  const remember = () =>
    withFields((fields) => {
      const before = ofModel();
      attempt({ remember: checkpoint, fields }, () => {
        const sentence = say("remembered", { name: label() });
        const undo = before ? { remember: checkpoint, fields: before.fields, as_stored: true } : { forget: checkpoint };
        undoing(sentence, undo, say("undone"));
      });
    });
  const forget = () => {
    const before = ofModel();
    attempt({ forget: checkpoint }, () => {
      const undo = { remember: before.checkpoint, fields: before.fields, as_stored: true };
      undoing(say("forgotten", { name: label() }), undo, say("remembered", { name: label() }));
    });
  };
  const link = () =>
    withFields((fields) =>
      ask("presets/link", JSON.stringify({ tab, fields })).then(async ({ query }) => {
        const address = `${location.origin}${location.pathname}?${query}`;
        const anchor = h("a", { href: address, class: "ls-preset-link" }, address);
        tell(anchor);
        note.dataset.address = address;
        const why = await copyText(address, () => selectIn(anchor));
        if (why) note.append(h("br"), why);
        else tell(words.linked);
      }, failed),
    );
  const take = async () => {
    const [file] = fileField.files;
    fileField.value = "";
    if (!file) return;
    await ask("presets/import", file).then(({ says }) => tell(says), failed);
  };
  const rename = (one, field) => {
    const name = field.value.trim();
    if (name === one.name) return endRenaming(one.name);
    attempt({ rename: one.name, to: name }, () => {
      endRenaming(name.replace(/\s+/g, " "));
      tell(say("renamed", { before: one.name, name }));
    });
  };
  const endRenaming = (name) => {
    renamed = null;
    show();
    chipOf(name)?.focus();
  };

  // ----------------------------------------------------------------------------------------------------- drawing

  const chips = h("div", { class: "ls-chips" });
  const chipOf = (name) => [...chips.querySelectorAll(".ls-chip")].find((one) => one.textContent === name);
  function chip(one) {
    const small = (text, key, act) => {
      const name = say(key, { name: one.name });
      const button = h("button", { type: "button", class: "ls-style-delete", "aria-label": name, title: name }, text);
      button.addEventListener("click", act);
      return button;
    };
    if (renamed === one.name) {
      const field = h("input", { type: "text", maxLength: 100, "aria-label": say("new_name", { name: one.name }) });
      field.value = one.name;
      field.addEventListener("keydown", (event) => {
        if (event.key === "Enter") rename(one, field);
        else if (event.key === "Escape") endRenaming(one.name);
        else return;
        event.preventDefault();
        event.stopPropagation();
      });
      const done = plain(words.rename_done, () => rename(one, field));
      requestAnimationFrame(() => field.isConnected && (field.focus(), field.select()));
      return h("span", { class: "ls-style ls-style-row" }, field, done);
    }
    const start = () => {
      renamed = one.name;
      show();
    };
    return h(
      "span",
      { class: "ls-style" },
      plain(one.name, () => choose(one), { title: one.fields.prompt || null }),
      small("✎", "rename", start),
      small("×", "delete", () => remove(one)),
    );
  }

  const nameField = h("input", { type: "text", maxLength: 100, placeholder: words.name, "aria-label": words.name });
  nameField.addEventListener("keydown", (event) => {
    if (event.key !== "Enter") return;
    event.preventDefault();
    save();
  });
  const model = h("div", { class: "ls-style-row" });
  const fileField = h("input", { type: "file", accept: ".json,application/json", hidden: true });
  fileField.addEventListener("change", take);
  const file = h("a", { href: "presets.json", download: "presets.json" }, words.file);
  const bring = plain(words.import, () => fileField.click(), { title: words["import.title"] });

  function show() {
    if (!open || !shared) return;
    const inside = chips.contains(document.activeElement) ? document.activeElement.textContent : null;
    chips.replaceChildren(...(mine().length ? mine().map(chip) : [h("p", { class: "ls-help" }, words.none)]));
    if (inside) [...chips.querySelectorAll("button")].find((one) => one.textContent === inside)?.focus();
    file.hidden = !shared.presets.length && !shared.models.length;
    const has = ofModel();
    const isInside = model.contains(document.activeElement);
    model.replaceChildren(
      h("span", { class: "ls-help" }, say(has ? "model.has" : "model.help", { name: label() })),
      plain(say(has ? "remember_anew" : "remember"), remember),
      ...(has ? [plain(words.forget, forget)] : []),
    );
    if (isInside) model.querySelector("button").focus();
  }

  const fold = h("button", { type: "button", class: "ls-helper-open", "aria-expanded": "false" });
  fold.append(h("i", { class: "ls-chevron", "aria-hidden": "true" }), h("span", {}, words.open));
  const box = h(
    "div",
    { class: "ls-preset-box", hidden: true },
    chips,
    h("div", { class: "ls-style-row" }, nameField, plain(words.save, save)),
    model,
    h("div", { class: "ls-style-row" }, plain(words.link, link), bring, file, fileField),
  );
  fold.addEventListener("click", () => {
    open = !open;
    fold.setAttribute("aria-expanded", String(open));
    box.hidden = !open;
    if (!open) return;
    withFields(() => attempt(null, show));
  });
  blocks.add(show);

  function receive() {
    const value = props.value || {};
    if (value.fields) {
      checkpoint = value.fields.checkpoint ?? null;
      for (const act of uses.splice(0)) act(value.fields);
      return;
    }
    if (value.checkpoint) checkpoint = value.checkpoint;
    const came = value.came ? say("came", { name: label() }) : "";
    const says = value.says || [];
    if (value.checkpoint || came || says.length) tell(sentencesText([came, ...says]));
    if (value.opened) forgetQuery(value.opened);
    show();
  }
  element.replaceChildren(h("div", { class: "ls-helper-bar" }, fold), note, box);
  watch("value", receive);
  receive(); // a link's sentence may be there before this script
}

/** The address loses what a link has brought, so that a reload brings back what the person has made of it. */
function forgetQuery(names) {
  const query = new URLSearchParams(location.search);
  for (const name of names) query.delete(name);
  const rest = query.toString() && `?${query}`;
  history.replaceState(history.state, "", location.pathname + rest + location.hash);
}
