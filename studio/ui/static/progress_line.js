/* The line that says where a run is and how long it still takes, and the bar below it. */

import { h } from "./elements.js";

/** label: the bar's name; spoken: whether a screen reader says the line as it changes. */
export function progressLine({ label, spoken = false }) {
  const status = h("span", { class: "ls-status", ...(spoken ? { role: "status", "aria-live": "polite" } : {}) });
  const pace = h("span", { class: "ls-pace" });
  const filled = h("i");
  const bar = h("div", { class: "ls-bar", role: "progressbar", "aria-valuemin": 0, "aria-label": label }, filled);
  return {
    element: h("div", { class: "ls-line" }, status, pace),
    bar,
    /** `share` of the bar, from 0 to 1, is filled: `done` of `count`. */
    show({ left, right, share, done, count }) {
      status.textContent = left;
      pace.textContent = right;
      filled.style.transform = `scaleX(${share})`;
      bar.setAttribute("aria-valuemax", Math.max(1, count));
      bar.setAttribute("aria-valuenow", done);
    },
  };
}
