/* What Gradio's fields lack: landmarks under a slider, words to put into the prompt, the line above the page. */

import { fieldIn, h, icon, type } from "./elements.js";
import { openings, openTab, tabButtons, tabOf } from "./opening.js";
import { personalLink, sharing } from "./sharing.js";
import { free } from "./waiting.js";

/** Landmarks: words under a slider for values worth knowing; a click goes there. Those of steps and guidance scale
 * follow the checkpoint. */
export function landmarks({ element, props, watch }) {
  const go = (value) => {
    const slider = document.querySelector(`#${props.field} input[type=range]`);
    if (slider) type(slider, value);
  };
  const mark = ([value, label]) =>
    h("button", { type: "button", onclick: () => go(value) }, `${label} `, h("b", {}, String(value)));
  const draw = () => element.replaceChildren(h("div", { class: "ls-landmarks" }, ...(props.value || []).map(mark)));
  watch("value", draw);
  draw();
}

/** Example prompts: a click types one. */
export function examples({ element, props, watch }) {
  function draw() {
    const examples = props.value || [];
    if (!examples.length) return element.replaceChildren();
    const choose = (text) => {
      const field = fieldIn(props.field);
      if (!field) return;
      type(field, text);
      field.focus();
    };
    const cards = examples.map((text) =>
      h("button", { class: "ls-example", type: "button", onclick: () => choose(text) }, text),
    );
    element.replaceChildren(
      h("div", { class: "ls-examples" }, h("h2", {}, props.words.examples), h("div", {}, ...cards)),
    );
  }
  watch("value", draw);
  draw();
}

/** The line above the page: the name, what the engine is doing, light or dark. It says that the page is ready once its
    fields are as they were before a reload: from then on clicks are obeyed at once. */
export function header({ element, props, watch, trigger }) {
  const LONGEST = 10_000; // ms to wait for fields that do not come back
  const studio = window.latentStudio;
  const dot = h("i", { class: "ls-dot" });
  const text = h("span", {});
  const state = h("p", { class: "ls-engine", role: "status" }, dot, text);
  const turn = () => {
    const dark = document.body.classList.toggle("dark");
    localStorage.setItem("latent-studio-theme", dark ? "dark" : "light");
  };
  const theme = h(
    "button",
    { class: "ls-round", type: "button", onclick: turn, "aria-label": props.words.theme, title: props.words.theme },
    icon("theme"),
  );
  const languages = languageChoice(props.words.language);
  const leave = h("a", { class: "ls-leave", href: "/logout", hidden: true }, props.words.leave);
  const share = h(
    "button",
    { class: "ls-header-button", type: "button", hidden: true, onclick: () => sharing(props.sharing) },
    props.sharing.open,
  );
  const mine = h(
    "button",
    { class: "ls-header-button", type: "button", hidden: true, onclick: () => personalLink(props.sharing) },
    props.sharing.mine,
  );
  const mark = h("span", { class: "ls-mark", "aria-hidden": "true" });
  element.replaceChildren(
    h("header", { class: "ls-header" }, h("h1", {}, mark, props.title), state, share, mine, leave, languages, theme),
  );
  function draw() {
    const answer = props.value || {};
    const status = answer.state === "ready" && !obeying ? {} : answer;
    dot.dataset.state = status.state || "starting";
    const percent =
      status.state === "loading" && typeof status.fraction === "number"
        ? ` ${Math.round(status.fraction * 100)} %`
        : "";
    text.textContent = (status.message || props.words.starting) + percent;
    state.title = status.device || "";
    leave.hidden = !status.leave;
    share.hidden = !status.owner;
    mine.hidden = !status.guest;
  }
  let obeying = false;
  const obey = () => {
    if (obeying) return;
    obeying = true;
    studio.obey();
    if (studio.open) openTab(studio.open);
    draw();
  };
  openings({ trigger });
  keepTab(props.addresses);
  keepLanguage();
  studio.whenRestored = () => props.forms.every((key) => studio.restored.has(key)) && obey();
  watch("value", draw);
  draw();
  studio.whenRestored();
  setTimeout(obey, LONGEST);
  const chosen = localStorage.getItem("latent-studio-theme");
  if (chosen && !new URLSearchParams(location.search).has("__theme"))
    document.body.classList.toggle("dark", chosen === "dark");
}

/** The languages of the page, each by its own name. Another one is spoken from the next load on; fields, tab and runs
    are as before after a reload. */
function languageChoice(label) {
  const { language, languages, choose } = window.studioLanguage;
  const option = ([name, itself]) => h("option", { value: name, selected: name === language, lang: name }, itself);
  const choice = h(
    "select",
    {
      class: "ls-language",
      "aria-label": label,
      title: label,
      onchange: async () => {
        choose(choice.value);
        await free();
        location.reload();
      },
    },
    ...Object.entries(languages).map(option),
  );
  return choice;
}

/** The page says which language its words are in, which Gradio does not know. */
function keepLanguage() {
  const root = document.documentElement;
  const { tag } = window.studioLanguage;
  const look = () => root.lang !== tag && (root.lang = tag);
  new MutationObserver(look).observe(root, { attributes: true, attributeFilter: ["lang"] });
  look();
}

/** The tab somebody was in is the one a reload opens; a new browser tab begins with the first, or with the one that its
    address names (`addresses`: what stands between # and : to the tab's name). */
function keepTab(addresses) {
  const KEPT = "latent-studio-tab";
  const tabs = tabButtons;
  const linked = Object.keys(addresses).find((name) => location.hash.startsWith(`#${name}:`));
  const kept = linked ? addresses[linked] : sessionStorage.getItem(KEPT);
  const open = (tries) => {
    const tab = tabs().find((one) => tabOf(one)?.props.id === kept);
    if (!tab && tries) return requestAnimationFrame(() => open(tries - 1));
    if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
  };
  if (linked || (kept && !location.search && !location.hash)) open(300);
  document.addEventListener("click", ({ target }) =>
    requestAnimationFrame(() => {
      const chosen =
        target.closest?.("#tabs .overflow-dropdown button") ||
        tabs().find((one) => one.getAttribute("aria-selected") === "true");
      const name = chosen && tabOf(chosen)?.props.id;
      if (name) sessionStorage.setItem(KEPT, name);
    }),
  );
}

/** One quiet sentence. */
export function sentence({ element, props, watch }) {
  const line = h("p", { class: props.css, role: "status" });
  element.replaceChildren(line);
  const draw = () => {
    line.textContent = typeof props.value === "string" ? props.value : "";
  };
  watch("value", draw);
  draw();
}
