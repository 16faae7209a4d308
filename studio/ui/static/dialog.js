/* A dialog over the page: modal, closed by its button or by Escape; the focus returns to where it was. */

import { h } from "./elements.js";

/** Opens a dialog with a `title` and a button with the text `close`. Returns the dialog and the element for its
    content. It goes from the page when it is closed. */
export function openDialog(title, close) {
  const opener = document.activeElement;
  const body = h("div", { class: "ls-sharing-body" });
  const closeButton = h("button", { type: "button", class: "ls-sharing-plain", onclick: () => box.close() }, close);
  const heading = h("h2", {}, title);
  const box = h("dialog", { class: "ls-sharing", "aria-label": title }, h("header", {}, heading, closeButton), body);
  box.addEventListener("close", () => {
    box.remove();
    opener?.focus?.({ preventScroll: true });
  });
  // The keys of the page behind act on what is in sight there; the dialog keeps its own.
  box.addEventListener("keydown", (event) => event.stopPropagation());
  document.body.append(box);
  box.showModal();
  return { box, body };
}
