/* A picture that is dropped or pasted anywhere on the page, or chosen with the button: a dialog shows what it says of
   how it was made, and what can be done with that. Where something else on the page takes the picture (an upload, a
   Control unit), nothing happens here. */

import { give } from "../../generate/static/picture.js";
import { openDialog } from "../../static/dialog.js";
import { fieldIn, fill, h, isVisible, listText, sentencesText } from "../../static/elements.js";
import { openTab, prepareFolds, prepareTab } from "../../static/opening.js";
import { openUpscaling } from "../../static/upscaling.js";
import { compareFiles } from "./comparing.js";
import { openSheet, setOpener } from "./opener.js";

const ADDRESS = "/ask/picture-settings";
const TABS = ["text_to_image", "image_to_image", "inpaint"]; // those that make pictures
const FILES = "image/*,.avif,.txt"; // what the button offers to choose
const LOOK = 500; // ms between two looks at which run the noise viewer shows
const INFOTEXT = /(^|\n)[ \t]*Steps: *\d+ *(,|$)/; // the line of A1111's text that holds the settings

let showComparison = () => {}; // set by the line above the noise viewer
let actions = null;

/** What can be done with a picture, for other parts of the page too: `put(tab, data)`, `run(data)`,
    `look(data, file, says)`, `compare(data)`,
    `toTab(tab, file)`. `data`: {settings, whole}; `says`: the route's answer. */
export const pictureActions = () => actions;

/** Whether a text is one that programs write into pictures. */
export const isInfotext = (text) => text.length < 1_000_000 && INFOTEXT.test(text);

const isPicture = (file) => file.type.startsWith("image/") || /\.avif$/i.test(file.name);
const isText = (file) => file.type === "text/plain" || /\.txt$/i.test(file.name);

/** The button that chooses a file, for whoever cannot drop one. */
export function settingsButton({ element, props }) {
  const input = h("input", {
    type: "file",
    accept: FILES,
    hidden: true,
    onchange: () => {
      const [file] = input.files;
      input.value = "";
      if (file) openSheet({ file });
    },
  });
  const choose = h("button", { type: "button", class: "ls-sheet-choose" }, props.words.choose);
  choose.addEventListener("click", () => input.click());
  element.replaceChildren(h("div", {}, choose, input));
}

/** Listens to the whole page. `props.most_bytes`: the largest file that is read. */
export function pictureSheet({ element, props, watch, trigger }) {
  const { words } = props;
  const say = (key, values) => fill(words[key], values);
  const hint = h("div", { class: "ls-sheet-hint", "aria-hidden": "true", hidden: true }, say("hint"));
  element.replaceChildren(hint);
  let lookedAt = null; // {file, number} of the run that was sent to the noise viewer last
  actions = { put, run, look, compare, toTab };
  setOpener(open);
  watch("value", compareRun);

  /* --------------------------------------------------------------------------------------------- drop and paste */

  const hasFiles = (event) => [...(event.dataTransfer?.types || [])].includes("Files");
  addEventListener("dragover", (event) => {
    if (!hasFiles(event)) return;
    hint.hidden = event.defaultPrevented;
    if (event.defaultPrevented) return;
    event.preventDefault(); // else the browser leaves the page and opens the file
    event.dataTransfer.dropEffect = "copy";
  });
  addEventListener("dragleave", (event) => !event.relatedTarget && (hint.hidden = true));
  addEventListener("drop", () => (hint.hidden = true), true);
  addEventListener("drop", (event) => {
    if (event.defaultPrevented || !hasFiles(event)) return;
    event.preventDefault();
    take([...event.dataTransfer.files]);
  });
  addEventListener("paste", (event) => {
    if (event.defaultPrevented) return;
    const text = event.clipboardData?.getData("text/plain") || "";
    const types = event.target.closest?.("textarea, input, [contenteditable]");
    const files = [...(event.clipboardData?.files || [])].filter(isPicture);
    if (types && text) {
      if (!isInfotext(text) || !types.closest(".ls-prompt, #noise_viewer-prompt")) return;
      event.preventDefault();
      open({ text, field: types });
    } else if (files.length) {
      event.preventDefault();
      take(files);
    }
  });

  /** The first picture is taken, else the first file; the others are named. */
  function take(files) {
    const file = files.find(isPicture) || files[0];
    if (file) open({ file, others: files.filter((one) => one !== file).map((one) => one.name) });
  }

  /* ------------------------------------------------------------------------------------------------- the sheet */

  /** Opens the sheet of a `file` (of `others`, the names that are not taken), or of a `text` pasted into `field`. */
  async function open({ file = null, text = "", field = null, others = [] }) {
    document.querySelector("dialog.ls-sheet[open]")?.close();
    const { box, body } = openDialog(say(file ? "title" : "title_text"), say("close"));
    box.classList.add("ls-sheet");
    const status = h("p", { role: "status" }, say("reading"));
    const problem = h("p", { role: "alert" });
    const actions = h("div", { class: "ls-sheet-actions", role: "group", "aria-label": say("actions") });
    const facts = h("div", { class: "ls-library-facts" });
    const image = file && isPicture(file) ? pictureOf(file, box) : null;
    body.append(
      ...(image ? [h("figure", {}, image)] : []),
      h("div", { class: "ls-sheet-says" }, status, problem),
      ...(others.length ? [h("p", {}, say("others", { names: listText(others.slice(0, 10)) }))] : []),
      actions,
      facts,
    );
    const add = (key, act, isMain) => {
      const closeAndAct = () => {
        for (const dialog of document.querySelectorAll("dialog[open]")) dialog.close(); // that of the library too
        act();
      };
      const main = isMain ? "ls-sharing-main" : null;
      actions.append(h("button", { type: "button", class: main, onclick: closeAndAct }, say(key)));
    };
    if (field) add("insert", () => insert(field, text));
    let answer = null;
    try {
      answer = await read(file, text);
    } catch (failure) {
      status.textContent = "";
      problem.textContent = failure.message || say("lost");
      return;
    }
    if (!box.open) return;
    const { says } = answer;
    problem.textContent = answer.problem;
    status.textContent = firstSentence(answer, Boolean(file));
    if (says) drawFacts(facts, says, answer);
    actions.replaceChildren();
    if (says) drawActions();
    if (field) add("insert", () => insert(field, text));
    if (file && answer.width) {
      add("image_to_image", () => toTab("image_to_image", file), !says);
      add("inpaint", () => toTab("inpaint", file));
      const { width, height } = answer;
      add("upscale", () => openUpscaling({ pictures: [{ file, width, height, name: file.name }] }));
    }
    // The focus stood on the close button, since nothing else was there.
    if (document.activeElement === box.querySelector("header button")) actions.querySelector("button")?.focus();

    function drawActions() {
      const { settings } = says;
      const whole = { settings, whole: true };
      const target = TABS.find(isOpen) || (says.from_picture ? "image_to_image" : "text_to_image");
      const prompts = { prompt: settings.prompt || "", negative_prompt: settings.negative_prompt || "" };
      if (!Object.keys(settings).length) return;
      add("all", () => put(target, whole), true);
      if (prompts.prompt || prompts.negative_prompt) add("prompts", () => put(target, { settings: prompts }));
      // A new seed, since the present one chooses the same words again.
      if (Object.keys(says.template).length)
        add("template", () => put(target, { settings: { ...settings, ...says.template, seed: "" }, whole: true }));
      if (settings.seed !== undefined && settings.seed !== null)
        add("seed", () => put(target, { settings: { seed: settings.seed } }));
      if (says.from_picture) return;
      add("run", () => run(whole));
      add("viewer", () => look(whole, file, says));
      add("compare", () => compare(whole));
    }
  }

  /** What stands at the top: by which program, or that nothing is said. */
  function firstSentence({ says, width, height }, isFile) {
    const size = width ? say("size", { width, height }) : "";
    if (!says) return sentencesText([say(isFile ? "nothing" : "nothing_text"), size]);
    const made = says.program ? say("made", { program: says.program }) : say("made_unnamed");
    const from = says.from_picture ? say("from_picture") : "";
    return sentencesText([made, size, from]);
  }

  async function read(file, text) {
    if (file && file.size > props.most_bytes)
      throw new Error(say("too_large", { most: Math.floor(props.most_bytes / 2 ** 20) }));
    const isTextFile = file && !isPicture(file) && isText(file);
    const type = file && !isTextFile ? (file.type.startsWith("image/") ? file.type : "image/unknown") : "text/plain";
    await file
      ?.slice(0, 1)
      .arrayBuffer()
      .catch(() => {
        throw new Error(say("unreadable")); // a folder, or a file that is gone
      });
    let response = null;
    try {
      response = await fetch(ADDRESS, { method: "POST", headers: { "content-type": type }, body: file || text });
    } catch {
      throw new Error(say("lost"));
    }
    if (!response.ok) throw new Error(await response.text());
    return response.json();
  }

  function drawFacts(facts, says) {
    const row = (label, value) => (value ? [h("dt", {}, label), h("dd", { dir: "auto" }, value)] : []);
    const list = (key, sentences) =>
      sentences.length ? [h("h3", {}, say(key)), h("ul", {}, ...sentences.map((one) => h("li", {}, one)))] : [];
    facts.replaceChildren(
      ...list("missing", says.missing),
      ...list("left_out", says.left_out),
      ...list("notes", says.notes),
      h(
        "dl",
        {},
        ...row(say("prompt"), says.prompt),
        ...row(say("negative_prompt"), says.negative_prompt),
        ...says.stated.flatMap(([label, value]) => row(label, value)),
        ...row(say("stated_size"), says.size),
      ),
    );
  }

  /* ------------------------------------------------------------------------------------------------- what it does */

  const isOpen = (tab) => {
    const workspace = document.getElementById(`${tab}-workspace`);
    return workspace && isVisible(workspace);
  };
  async function prepared(tab) {
    await prepareTab(tab);
    await prepareFolds(tab);
  }
  async function put(tab, data) {
    await prepared(tab);
    trigger(tab, data);
    fieldIn(`${tab}-prompt`)?.focus({ preventScroll: true });
  }
  async function run(data) {
    await prepared("text_to_image");
    trigger("run", data);
  }
  async function compare(data) {
    await prepareTab("compare");
    trigger("compare", data);
  }
  async function look(data, file, says) {
    await prepareTab("noise_viewer");
    const others = [...says.missing, ...says.left_out, ...says.notes]; // what may be why it comes out otherwise
    lookedAt = { file, others, number: (lookedAt?.number || 0) + 1 };
    showComparison(file ? say("compared.waiting") : "");
    trigger("look", { ...data, number: lookedAt.number });
  }
  /** The run in the noise viewer has ended: did it come out as the file? */
  async function compareRun() {
    const { number, ended, picture, job } = props.value || {};
    const mine = lookedAt;
    if (!mine?.file || mine.number !== number || !ended) return;
    if (!picture) return showComparison("");
    const answer = await compareFiles(mine.file, `/picture/${picture}`);
    if (mine !== lookedAt) return;
    const isLossy = answer.state === "differs" && mine.file.type !== "image/png";
    const result = say(isLossy ? "compared.differs_lossy" : `compared.${answer.state}`, answer);
    showComparison(answer.state === "same" ? result : sentencesText([result, ...mine.others]), job);
  }
  async function toTab(tab, file) {
    await prepareTab(tab);
    openTab(tab)?.focus({ preventScroll: true });
    give(`${tab}-image`, file);
  }
  /** Puts the text where the person was about to paste it, as typing does, so that Ctrl+Z takes it back. */
  function insert(field, text) {
    field.focus();
    document.execCommand("insertText", false, text);
  }
}

/** The picture, from the file itself. */
function pictureOf(file, box) {
  const address = URL.createObjectURL(file);
  const image = h("img", { src: address, alt: file.name, onerror: () => image.closest("figure")?.remove() });
  box.addEventListener("close", () => URL.revokeObjectURL(address));
  return image;
}

/** The line above the noise viewer that says whether a run came out as the picture whose settings it has. It goes when
    the viewer shows another run than `job`. */
export function comparedRun({ element }) {
  const line = h("p", { class: "ls-sheet-compared", role: "status", hidden: true });
  element.replaceChildren(line);
  let timer = null;
  showComparison = (text, job) => {
    line.textContent = text;
    line.hidden = !text;
    clearInterval(timer);
    if (!job) return;
    timer = setInterval(() => {
      const shown = document.querySelector(".ls-viewer-tab .ls-viewer")?.record?.job;
      if (shown && shown !== job) showComparison("");
    }, LOOK);
  };
}
