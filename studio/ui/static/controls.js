/* What Gradio's fields lack: landmarks under a slider, example prompts, and the line above the page. */

import { announce, announcementLine } from "./announcements.js";
import { fieldIn, h, icon, isVisible, type } from "./elements.js";
import { nameSliders, openings, openTab, tabButtons, tabOf } from "./opening.js";
import { guestNotice, openWall, personalLink, sharing } from "./sharing.js";
import { shortcuts } from "./shortcuts.js";
import { free } from "./waiting.js";

/** Landmarks: labelled values under a slider; a click sets one. Those of steps and guidance scale follow the
    checkpoint. */
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

/** The line above the page: the name, the state of the engine, light or dark. It says that the page is ready once
    all fields are restored after a reload; from then on the page obeys clicks at once. */
export function header({ element, props, watch, trigger }) {
  const LONGEST = 10_000; // ms to wait for fields that are not restored
  const studio = window.latentStudio;
  const dot = h("i", { class: "ls-dot" });
  const text = h("span", {});
  const state = h("p", { class: "ls-engine" }, dot, text);
  const toggleTheme = () => {
    const dark = document.body.classList.toggle("dark");
    localStorage.setItem("latent-studio-theme", dark ? "dark" : "light");
    colourWindow();
  };
  const theme = h(
    "button",
    {
      class: "ls-round",
      type: "button",
      onclick: toggleTheme,
      "aria-label": props.words.theme,
      title: props.words.theme,
    },
    icon("theme"),
  );
  const languages = languageChoice(props.words.language);
  const leave = h("a", { class: "ls-leave", href: "/logout", hidden: true }, props.words.leave);
  const share = h(
    "button",
    { class: "ls-header-button", type: "button", hidden: true, onclick: () => sharing(props.sharing) },
    props.sharing.open,
  );
  const linkButton = h(
    "button",
    { class: "ls-header-button", type: "button", hidden: true, onclick: () => personalLink(props.sharing) },
    props.sharing.mine,
  );
  const wallNote = h("p", { class: "ls-wall-notice", role: "status", hidden: true }, props.sharing["wall.notice"]);
  const wall = h(
    "button",
    { class: "ls-header-button", type: "button", hidden: true, onclick: () => openWall(props.sharing) },
    props.sharing["wall.open"],
  );
  let asksForWall = false;
  const keys = h(
    "button",
    {
      class: "ls-round ls-open-keys",
      type: "button",
      onclick: shortcuts(props.shortcuts),
      "aria-label": props.shortcuts.title,
      "aria-keyshortcuts": "?",
      title: props.shortcuts.title,
    },
    "?",
  );
  const mark = h("span", { class: "ls-mark", "aria-hidden": "true" });
  element.replaceChildren(
    skipLink(props.words.skip),
    h(
      "header",
      { class: "ls-header" },
      h("h1", {}, mark, props.title),
      state,
      share,
      wall,
      linkButton,
      leave,
      languages,
      keys,
      theme,
    ),
    wallNote,
    announcementLine(),
  );
  function draw() {
    const answer = props.value || {};
    const status = answer.state === "ready" && !isReady ? {} : answer;
    const before = dot.dataset.state;
    dot.dataset.state = status.state || "starting";
    // Screen readers hear that a model loads, is there or has failed, not each percent.
    if (before && before !== "starting" && before !== dot.dataset.state) announce(status.message);
    const percent =
      status.state === "loading" && typeof status.fraction === "number"
        ? ` ${Math.round(status.fraction * 100)} %`
        : "";
    text.textContent = (status.message || props.words.starting) + percent;
    state.title = [text.textContent, status.device].filter(Boolean).join(" · "); // a narrow page shows the dot alone
    leave.hidden = !status.leave;
    share.hidden = !status.owner;
    linkButton.hidden = !status.guest;
    if (status.guest && !asksForWall) {
      asksForWall = true;
      guestNotice((yes) => {
        wallNote.hidden = wall.hidden = !yes;
      });
    }
  }
  let isReady = false;
  const markReady = () => {
    if (isReady) return;
    isReady = true;
    nameSliders();
    studio.releaseClicks();
    if (studio.open) openTab(studio.open);
    draw();
  };
  openings({ trigger });
  keepTabInSight();
  keepTab(props.addresses);
  keepLanguage();
  studio.onRestore = () => props.forms.every((key) => studio.restoredForms.has(key)) && markReady();
  watch("value", draw);
  draw();
  studio.onRestore();
  setTimeout(markReady, LONGEST);
  const storedTheme = localStorage.getItem("latent-studio-theme");
  if (storedTheme && !new URLSearchParams(location.search).has("__theme"))
    document.body.classList.toggle("dark", storedTheme === "dark");
  colourWindow();
}

/** Gives the window of the installed page, and a phone's bars, the colour of the page's ground. */
function colourWindow() {
  const ground = getComputedStyle(document.documentElement).backgroundColor;
  document.querySelector("meta[name=theme-color]")?.setAttribute("content", ground);
}

/** A link for the keyboard past the header and the tabs, to the content of the tab that is open. */
function skipLink(text) {
  const skip = (event) => {
    event.preventDefault();
    const panel = [...document.querySelectorAll("#tabs > [role=tabpanel]")].find(isVisible);
    if (!panel) return;
    panel.tabIndex = -1;
    panel.focus();
  };
  return h("a", { class: "ls-skip", href: "#tabs", onclick: skip }, text);
}

/** The list of the page's languages, each by its own name. A choice loads the page again; fields, tab and runs stay. */
function languageChoice(label) {
  const { language, languages, choose } = window.studioLanguage;
  const option = ([name, ownName]) => h("option", { value: name, selected: name === language, lang: name }, ownName);
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

/** Sets the page's language to that of its words, which Gradio does not know. */
function keepLanguage() {
  const root = document.documentElement;
  const { tag } = window.studioLanguage;
  const look = () => root.lang !== tag && (root.lang = tag);
  new MutationObserver(look).observe(root, { attributes: true, attributeFilter: ["lang"] });
  look();
}

/** A reload opens the tab that was open. A new browser tab opens the first one, or the one that its address names.
    `addresses`: the name between # and : in the address => the tab's name. */
function keepTab(addresses) {
  const STORAGE_KEY = "latent-studio-tab";
  const tabs = tabButtons;
  const linkName = Object.keys(addresses).find((name) => location.hash.startsWith(`#${name}:`));
  // An older page stored the English label, such as "Noise viewer".
  const storedName = sessionStorage.getItem(STORAGE_KEY)?.toLowerCase().replaceAll(" ", "_");
  const name = linkName ? addresses[linkName] : storedName;
  const open = (tries) => {
    const tab = tabs().find((one) => tabOf(one)?.props.id === name);
    if (!tab && tries) return requestAnimationFrame(() => open(tries - 1));
    if (tab && tab.getAttribute("aria-selected") !== "true") tab.click();
  };
  if (linkName || (name && !location.search && !location.hash)) open(300);
  document.addEventListener("click", () =>
    requestAnimationFrame(() => {
      const frontTab = tabs().find((one) => one.getAttribute("aria-selected") === "true");
      const frontName = frontTab && tabOf(frontTab)?.props.id;
      if (frontName) sessionStorage.setItem(STORAGE_KEY, frontName);
    }),
  );
}

/** On a narrow page the row of tabs scrolls; the open tab is always in sight. */
function keepTabInSight() {
  const look = () => {
    const tab = tabButtons().find((one) => one.getAttribute("aria-selected") === "true");
    const row = tab?.parentElement;
    if (!row || row.scrollWidth <= row.clientWidth) return;
    const MARGIN = 48; // px of the next tab that stay in sight too
    const [left, right] = [tab.offsetLeft - MARGIN, tab.offsetLeft + tab.offsetWidth + MARGIN - row.clientWidth];
    if (row.scrollLeft > left) row.scrollLeft = left;
    else if (row.scrollLeft < right) row.scrollLeft = right;
  };
  const observer = new MutationObserver(look);
  observer.observe(document.body, { subtree: true, attributes: true, attributeFilter: ["aria-selected"] });
  addEventListener("resize", look);
  look();
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
