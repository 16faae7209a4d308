/* The line that says where a run is and how long it still takes, and the bar below it. */

import { h } from "./elements.js";

/** `label`: the bar's name. What screen readers say of a run is in announcements.js. */
export function progressLine({ label }) {
  const status = h("span", { class: "ls-status" });
  const pace = h("span", { class: "ls-pace" });
  const fillElement = h("i");
  const bar = h("div", { class: "ls-bar", role: "progressbar", "aria-valuemin": 0, "aria-label": label }, fillElement);
  return {
    element: h("div", { class: "ls-line" }, status, pace),
    bar,
    /** Fills a `share` of the bar, from 0 to 1: `done` of `count`. */
    show({ left, right, share, done, count }) {
      status.textContent = left;
      pace.textContent = right;
      fillElement.style.transform = `scaleX(${share})`;
      bar.setAttribute("aria-valuemax", Math.max(1, count));
      bar.setAttribute("aria-valuenow", done);
    },
  };
}
