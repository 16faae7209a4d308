/* Tab leaves an open list of choices for the next field. A browser stops at a list that scrolls; Gradio closes the list
   then, and the place on the page would be lost. */

/** Takes open lists out of the order of Tab, from now on. */
export function passOpenLists() {
  document.addEventListener(
    "keydown",
    (event) => {
      if (event.key !== "Tab") return;
      for (const list of document.querySelectorAll("[role=listbox]")) list.tabIndex = -1;
    },
    true,
  );
}
