/* The switch "Generate forever": when a run of the tab has ended with its pictures, the next one begins. It switches
   itself off after Stop, and after a failure. */

import { fieldIn, h } from "../../static/elements.js";

const PAUSE = 400; // ms between two runs, in which Stop can be pressed

/** Returns the element. `onNews(text)`: what the person has to know, "" for nothing. */
export function forever({ tab, say, onNews }) {
  const box = h("input", { type: "checkbox", onchange: change });
  const element = h("label", { class: "ls-queue-forever" }, box, h("span", {}, say("forever")));
  const workspace = () => document.getElementById(`${tab}-workspace`);
  let timer = null;

  const press = () => document.getElementById(`${tab}-generate`)?.click();
  function change() {
    clearTimeout(timer);
    const isFixed = box.checked && fieldIn(`${tab}-seed`)?.value.trim();
    onNews(isFixed ? say("forever_fixed") : "");
    if (box.checked && workspace()?.dataset.run !== "running") press();
  }
  function look() {
    if (!box.checked || workspace().dataset.run !== "idle") return;
    clearTimeout(timer);
    const state = workspace().querySelector(".ls-stage")?.dataset.state;
    if (state === "finished") timer = setTimeout(() => box.checked && press(), PAUSE);
    else {
      box.checked = false;
      onNews(say(state === "stopped" ? "forever_stopped" : "forever_failed"));
    }
  }
  new MutationObserver(look).observe(workspace() || element, { attributes: true, attributeFilter: ["data-run"] });
  document.addEventListener("click", (event) => {
    if (event.target.closest?.(`#${tab}-stop`)) box.checked = false;
  });
  return { element };
}
