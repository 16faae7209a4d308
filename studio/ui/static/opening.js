/* Gradio draws tabs and folds when they are first opened. A frame later it writes the initial values of their fields
   over anything that was typed meanwhile. So a click that opens one waits until its fields are drawn and written;
   nobody can type too early. */

import { fill, type } from "./elements.js";

const LONGEST = 10_000; // ms to wait for the fields; after that the click goes on

let trigger = null; // the header's way to tell Gradio of an event
const preparations = new Map(); // number of a tab or fold => a promise that its fields are there
const readyIds = new Set(); // numbers of those whose fields are there
const waitingFolds = new Set(); // buttons of folds whose click waits
let newest = null; // the tab whose click waits
let repeatButton = null; // the element that is clicked again after the wait

const nextFrame = () => new Promise(requestAnimationFrame);
const components = () => window.gradio_config?.components || [];
const component = (id) => components().find((one) => one.id === id);
const isTab = (one) => one?.type === "tabitem";
const isFold = (one) => one?.type === "accordion";

/** The node with this number in Gradio's layout, or null. */
function nodeOf(id, node = window.gradio_config.layout) {
  if (node.id === id) return node;
  for (const child of node.children || []) {
    const match = nodeOf(id, child);
    if (match) return match;
  }
  return null;
}

/** The numbers of the parts that are drawn with a node ("drawn"), or those of its folds ("folds"). */
function childIds(node, kind) {
  return (node.children || []).flatMap((child) => {
    const one = component(child.id);
    if (one?.props.visible === false) return [];
    const below = kind === "drawn" && isFold(one) ? [] : childIds(child, kind);
    return kind === "drawn" || isFold(one) ? [child.id, ...below] : below;
  });
}

/** Makes Gradio draw the children of a tab or a fold; resolves when they are there and written. */
function prepare(id) {
  if (!preparations.has(id))
    preparations.set(
      id,
      draw(id).then(() => readyIds.add(id)),
    );
  return preparations.get(id);
}
async function draw(id) {
  const names = childIds(nodeOf(id), "drawn")
    .map((part) => component(part)?.props.elem_id)
    .filter(Boolean);
  const typedTexts = new Map(); // typed by a script, which needs no visible field
  const note = ({ target }) => names.some((name) => target.closest(`#${name}`)) && typedTexts.set(target, target.value);
  document.addEventListener("input", note, true);
  trigger("gradio_tab_select", { component_id: id });
  const end = performance.now() + LONGEST;
  // Gradio writes one frame after the event. What it draws later it writes at once.
  await nextFrame();
  do await nextFrame();
  while (performance.now() < end && !names.every((name) => document.getElementById(name)));
  await nextFrame();
  await new Promise((done) => setTimeout(done));
  document.removeEventListener("input", note, true);
  nameSliders();
  for (const [field, text] of typedTexts) if (field.value !== text) type(field, text);
}

/** Gradio calls the two parts of a slider by English words, whatever the page's language. */
export function nameSliders() {
  const words = window.studioLanguage.words("slider");
  for (const [kind, beginning] of Object.entries({ number: "number input for ", range: "range slider for " }))
    for (const part of document.querySelectorAll(`input[aria-label^="${beginning}"]`)) {
      const label = part.getAttribute("aria-label").slice(beginning.length);
      part.setAttribute("aria-label", fill(words[kind], { label }));
    }
}

const tabByName = (name) => components().find((one) => isTab(one) && one.props.id === name);

/** Draws the fields of a tab, by the tab's name. */
export const prepareTab = (name) => {
  const tab = tabByName(name);
  return tab ? prepare(tab.id) : Promise.resolve();
};
const foldsOf = (name) => {
  const tab = tabByName(name);
  return tab ? childIds(nodeOf(tab.id), "folds") : [];
};
/** Draws the fields of all folds of a tab. */
export const prepareFolds = (name) => Promise.all(foldsOf(name).map(prepare));

/** The buttons of all tabs. */
export const tabButtons = () => [...document.querySelectorAll("#tabs [role=tab][data-tab-id]")];
const labelOf = (button) => button.textContent.trim();
/** The tab, as Gradio's component, that a button opens. */
export const tabOf = (button) => components().find((one) => isTab(one) && one.props.label === labelOf(button));

/** Opens a tab by its name; returns its button. */
export function openTab(name) {
  const label = tabByName(name)?.props.label;
  const button = tabButtons().find((one) => labelOf(one) === label);
  if (button?.getAttribute("aria-selected") !== "true") button?.click();
  return button;
}

/** Opens a clicked tab when its fields are there, unless another was clicked meanwhile. */
async function showTab(button, tab) {
  newest = tab;
  await prepare(tab.id);
  if (newest !== tab) return;
  // Gradio may have drawn the row of tabs again.
  again(button.isConnected ? button : tabButtons().find((one) => labelOf(one) === tab.props.label));
}
async function unfold(button, name) {
  if (waitingFolds.has(button)) return;
  waitingFolds.add(button);
  await prepareFolds(name);
  waitingFolds.delete(button);
  again(button);
}
function again(button) {
  repeatButton = button;
  button?.click();
  repeatButton = null;
}

export function openings(header) {
  trigger = header.trigger;
  const hold = (event) => {
    event.preventDefault();
    event.stopImmediatePropagation();
  };
  document.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest?.("button");
      if (!button || button === repeatButton) return;
      if (tabButtons().includes(button)) {
        const tab = tabOf(button);
        newest = null;
        if (!tab || readyIds.has(tab.id) || button.getAttribute("aria-selected") === "true") return;
        hold(event);
        showTab(button, tab);
      } else if (button.matches(".ls-fold > .label-wrap:not(.open)")) {
        const name = button.closest("[id$='-workspace']")?.id.replace(/-workspace$/, "");
        if (foldsOf(name).every((id) => readyIds.has(id))) return;
        hold(event);
        unfold(button, name);
      }
    },
    true,
  );
}
