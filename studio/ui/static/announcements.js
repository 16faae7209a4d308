/* What a screen reader says of a run: that it has started, each quarter of it, and how it ended. Each step would be
   too much. The line itself is in the header, out of sight. */

import { fill, h } from "./elements.js";

const ID = "ls-announcements";
const ACTIVE_STATES = new Set(["sending", "queued", "loading", "running"]);
const REFUSALS = new Set(["failed", "refused", "invalid"]);
const PAUSE = 1500; // ms after a sentence in which the next quarter is left out, since a quick run has no need of it

const words = () => window.studioLanguage.words("announcement");

/** The line that screen readers follow. */
export const announcementLine = () => h("p", { id: ID, class: "ls-unseen", role: "status", "aria-live": "polite" });

export function announce(sentence) {
  const line = document.getElementById(ID);
  if (line && sentence) line.textContent = sentence;
}

/** Returns a function that gets each view of a run: its `state`, its `share` from 0 to 1, and the `message` that the
    page shows in this state. */
export function runAnnouncer() {
  let state = null;
  let quarter = 0;
  let spokenAt = -Infinity;
  const say = (sentence) => {
    spokenAt = performance.now();
    announce(sentence);
  };
  return ({ state: next, share, message }) => {
    const before = state;
    state = next;
    if (next === "running") {
      const now = Math.min(3, Math.floor(4 * share));
      if (before !== "running") say(words().started);
      else if (now > quarter && performance.now() - spokenAt > PAUSE) say(fill(words().share, { percent: 25 * now }));
      quarter = now;
    } else if (before !== next && (ACTIVE_STATES.has(before) || ACTIVE_STATES.has(next) || REFUSALS.has(next)))
      say(message || (ACTIVE_STATES.has(next) ? "" : words().ended));
  };
}
