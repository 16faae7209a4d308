/* The way to the sheet for the page's other parts, which it imports itself. */

let opener = () => {};

/** Says what opens the sheet. */
export const setOpener = (open) => (opener = open);

/** Opens the sheet of a picture's `file`. */
export const openSheet = (what) => opener(what);
