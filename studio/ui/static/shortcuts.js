/* The sheet of the page's keys, opened by "?" or its button, and the way to install the page as an app. */

import { openDialog } from "./dialog.js";
import { h } from "./elements.js";

// Where the keys hold => [keys, what they do]. They are handled by the scripts of these parts.
const SHORTCUTS = {
  everywhere: [
    [["?"], "sheet"],
    [["Ctrl", "Enter"], "start"],
    [["Esc"], "stop"],
  ],
  prompt: [
    [["Ctrl", "↑"], "more"],
    [["Ctrl", "↓"], "less"],
    [["↑", "↓"], "name"],
    [["Enter"], "take"],
  ],
  film: [
    [["←", "→"], "step"],
    [["PageUp", "PageDown"], "five"],
    [["Home", "End"], "ends"],
    [["Esc"], "picture"],
  ],
  mask: [
    [["B"], "brush"],
    [["E"], "eraser"],
    [["[", "]"], "size"],
    [["Ctrl", "Z"], "undo"],
  ],
  viewer: [
    [["←", "→"], "step"],
    [["Home", "End"], "ends"],
    [["Space"], "play"],
    [["L"], "loop"],
  ],
  compare: [
    [["←", "→", "↑", "↓"], "cell"],
    [["Home", "End"], "edges"],
    [["+", "−"], "zoom"],
    [["0"], "fit"],
    [["A"], "reference"],
  ],
  library: [
    [["←", "→"], "neighbour"],
    [["1", "2", "3", "4", "5"], "stars"],
    [["Delete"], "delete"],
    [["1", "2", "3"], "look"],
    [["X"], "swap"],
  ],
};
const STORAGE_KEY = "latent-studio-letter-keys"; // "off" where the person wants no key that is a letter or a sign
/** Whether keys that are a letter or a sign act on the whole page. Speech input types letters that nobody means as keys
    (WCAG 2.1.4); those that act on the focused element alone stay. */
export const hasLetterKeys = () => localStorage.getItem(STORAGE_KEY) !== "off";
const WITH = new Set(["Ctrl"]); // held down together with the next key
const TYPING =
  "textarea, select, [contenteditable], input:not([type=range], [type=checkbox], [type=radio], [type=file])";

/** `words`: the texts of the sheet. Returns the function that opens it. */
export function shortcuts(words) {
  let installation = null; // the browser's offer to install the page
  addEventListener("beforeinstallprompt", (event) => {
    event.preventDefault(); // the offer waits for the button
    installation = event;
  });

  function show() {
    const { body } = openDialog(words.title, words.close);
    const parts = Object.entries(SHORTCUTS).map(([place, rows]) =>
      h("section", {}, h("h3", {}, words[`place.${place}`]), h("dl", { class: "ls-keys" }, ...rows.map(row))),
    );
    body.append(h("div", { class: "ls-key-parts" }, ...parts), h("p", {}, words.arrows), letterKeys(), app());
  }
  function letterKeys() {
    const box = h("input", {
      type: "checkbox",
      checked: hasLetterKeys(),
      onchange: () => localStorage.setItem(STORAGE_KEY, box.checked ? "on" : "off"),
    });
    return h("label", { class: "ls-letter-keys" }, box, words.letters);
  }
  const row = ([keys, name]) => h("div", {}, h("dt", {}, ...keys.flatMap(key)), h("dd", {}, words[`does.${name}`]));
  const key = (name, k, all) => [k ? (WITH.has(all[k - 1]) ? " + " : " ") : null, h("kbd", {}, words[name] || name)];

  function app() {
    const part = h("section", {}, h("h3", {}, words.app));
    if (matchMedia("(display-mode: standalone)").matches) part.append(h("p", {}, words["app.here"]));
    else if (!window.isSecureContext) part.append(h("p", {}, words["app.insecure"]));
    else if (!installation) part.append(h("p", {}, words["app.menu"]));
    else {
      const install = async () => {
        const offer = installation;
        installation = null; // an offer holds once
        button.replaceWith(h("p", { role: "status" }, words["app.asked"]));
        await offer.prompt();
      };
      const button = h("button", { type: "button", class: "ls-sharing-main", onclick: install }, words["app.install"]);
      part.append(button);
    }
    return part;
  }

  document.addEventListener("keydown", (event) => {
    if (event.key !== "?" || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (!hasLetterKeys() || event.target.closest?.(TYPING) || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    show();
  });
  return show;
}
