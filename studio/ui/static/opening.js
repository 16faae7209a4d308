/* Tabs and folds are drawn when they are first opened. Gradio then writes the values that their fields were served with,
   a frame after it has drawn them, over whatever was typed meanwhile. So a click that opens one waits until its fields
   are drawn and written; nobody can type too early. */

import { type } from "./elements.js";

const LONGEST = 10_000; // ms to wait for what is drawn; after that the click goes on

let trigger = null; // of the header: how a block tells Gradio of an event
const prepared = new Map(); // the number of a tab or fold => a promise that its fields are there
const drawn = new Set(); // those whose fields are there
const waiting = new Set(); // folds whose click waits
let newest = null; // the tab whose click waits
let obeyed = null; // the element whose click comes again

const nextFrame = () => new Promise(requestAnimationFrame);
const components = () => window.gradio_config?.components || [];
const component = (id) => components().find((one) => one.id === id);
const isTab = (one) => one?.type === "tabitem";
const isFold = (one) => one?.type === "accordion";

/** The node of Gradio's layout with this number, or null. */
function nodeOf(id, node = window.gradio_config.layout) {
  if (node.id === id) return node;
  for (const child of node.children || []) {
    const found = nodeOf(id, child);
    if (found) return found;
  }
  return null;
}

/** The numbers of a node's parts that are drawn with it, or those of its folds. */
function partsOf(node, wanted) {
  return (node.children || []).flatMap((child) => {
    const one = component(child.id);
    if (one?.props.visible === false) return [];
    const below = wanted === "drawn" && isFold(one) ? [] : partsOf(child, wanted);
    return wanted === "drawn" || isFold(one) ? [child.id, ...below] : below;
  });
}

/** Have Gradio draw the children of a tab or a fold; resolved once they are there and written. */
function prepare(id) {
  if (!prepared.has(id))
    prepared.set(
      id,
      draw(id).then(() => drawn.add(id)),
    );
  return prepared.get(id);
}
async function draw(id) {
  const names = partsOf(nodeOf(id), "drawn")
    .map((part) => component(part)?.props.elem_id)
    .filter(Boolean);
  const typed = new Map(); // by a script, that does not need to see a field
  const note = ({ target }) => names.some((name) => target.closest(`#${name}`)) && typed.set(target, target.value);
  document.addEventListener("input", note, true);
  trigger("gradio_tab_select", { component_id: id });
  const end = performance.now() + LONGEST;
  // Gradio writes one frame after the event; what is drawn later is written as soon as it is.
  await nextFrame();
  do await nextFrame();
  while (performance.now() < end && !names.every((name) => document.getElementById(name)));
  await nextFrame();
  await new Promise((done) => setTimeout(done));
  document.removeEventListener("input", note, true);
  for (const [field, text] of typed) if (field.value !== text) type(field, text);
}

const tabNamed = (name) => components().find((one) => isTab(one) && one.props.id === name);

/** Have the fields of a tab drawn, by the tab's name. */
export const prepareTab = (name) => {
  const tab = tabNamed(name);
  return tab ? prepare(tab.id) : Promise.resolve();
};
const foldsOf = (name) => {
  const tab = tabNamed(name);
  return tab ? partsOf(nodeOf(tab.id), "folds") : [];
};
/** Have the fields of all folds of a tab drawn. */
export const prepareFolds = (name) => Promise.all(foldsOf(name).map(prepare));

/** On a phone the tabs that have no room are in a menu of Gradio's, as buttons. */
export const tabButtons = () => [
  ...document.querySelectorAll("#tabs [role=tab][data-tab-id], #tabs .overflow-dropdown button"),
];
const labelOf = (button) => button.textContent.trim();
/** The tab, as Gradio's component, that a button opens. */
export const tabOf = (button) => components().find((one) => isTab(one) && one.props.label === labelOf(button));

/** Opens a tab by its name. */
export function openTab(name) {
  const label = tabNamed(name)?.props.label;
  const button = tabButtons().find((one) => labelOf(one) === label);
  if (button?.getAttribute("aria-selected") !== "true") button?.click();
}

/** A tab was clicked: it opens when its fields are there, unless another was clicked meanwhile. */
async function showTab(button, tab) {
  newest = tab;
  await prepare(tab.id);
  if (newest !== tab) return;
  // Gradio may have drawn the row of tabs anew.
  again(button.isConnected ? button : tabButtons().find((one) => labelOf(one) === tab.props.label));
}
async function unfold(button, name) {
  if (waiting.has(button)) return;
  waiting.add(button);
  await prepareFolds(name);
  waiting.delete(button);
  again(button);
}
function again(button) {
  obeyed = button;
  button?.click();
  obeyed = null;
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
      if (!button || button === obeyed) return;
      if (tabButtons().includes(button)) {
        const tab = tabOf(button);
        newest = null;
        if (!tab || drawn.has(tab.id) || button.getAttribute("aria-selected") === "true") return;
        hold(event);
        showTab(button, tab);
      } else if (button.matches(".ls-fold > .label-wrap:not(.open)")) {
        const name = button.closest("[id$='-desk']")?.id.replace(/-desk$/, "");
        if (foldsOf(name).every((id) => drawn.has(id))) return;
        hold(event);
        unfold(button, name);
      }
    },
    true,
  );
}
