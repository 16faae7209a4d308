/* Where the viewer stands, in the page's address, and what this browser keeps of it: a reload or a link leads back. */

import { quantities } from "./quantities.js";

const MARK = "#viewer:"; // what the page's address begins with after its path while the viewer is open
const KEPT = "latent-studio-viewer"; // mode and language of this browser

const VERSION = 1; // of what is kept; without one it is of 0.1.0, which had the same form

const newer = (stored) => stored?.version > VERSION;

/** Mode and language that this browser keeps. What a newer version of the studio has kept is left alone. */
export function storedSettings() {
  try {
    const stored = JSON.parse(localStorage.getItem(KEPT)) || {};
    if (newer(stored)) return {};
    return Object.fromEntries(Object.entries(stored).filter(([name]) => ["mode", "language"].includes(name)));
  } catch {
    return {}; // a browser that keeps nothing, or something else under our name
  }
}
/** What the address says of the viewer's state, as far as this page knows it. `hows`: ways to draw a picture. */
export function addressed({ hows, panels }) {
  if (!location.hash.startsWith(MARK)) return {};
  const parameters = new URLSearchParams(location.hash.slice(MARK.length));
  const out = {};
  if (["beginner", "expert"].includes(parameters.get("mode"))) out.mode = parameters.get("mode");
  if (hows.includes(parameters.get("how"))) out.how = parameters.get("how");
  const panes = (parameters.get("panes") || "")
    .split(",")
    .filter((name) => name in quantities || name.startsWith("of_two."));
  if (panes.length >= 2 && panes.length <= 4) out.panes = panes;
  if (panels.includes(parameters.get("open"))) out.open = parameters.get("open");
  if (Number.isFinite(parseFloat(parameters.get("guidance")))) out.guidance = parseFloat(parameters.get("guidance"));
  if (/^\d+$/.test(parameters.get("at"))) out.start = Number(parameters.get("at")) - 1;
  return out;
}
let remembering = null;
/** Writes where the viewer stands, a moment after the last move, if it is `seen` then. */
export function remember(context, seen) {
  const { state } = context;
  clearTimeout(remembering);
  remembering = setTimeout(() => {
    if (!seen()) return;
    const now = new URLSearchParams({
      mode: state.mode,
      at: context.index + 1,
      how: state.how,
      panes: state.panes.join(","),
      open: state.open,
    });
    if (state.guidance !== null) now.set("guidance", state.guidance);
    history.replaceState(history.state, "", MARK + now.toString().replaceAll("%2C", ","));
    try {
      const stored = JSON.stringify({ version: VERSION, mode: state.mode, language: state.language });
      if (!newer(JSON.parse(localStorage.getItem(KEPT)))) localStorage.setItem(KEPT, stored);
    } catch {
      // A browser that keeps nothing: the address still does.
    }
  }, 300);
}

/** The viewer is no longer looked at: the address loses what belongs to it. */
export function forget() {
  if (location.hash.startsWith(MARK)) history.replaceState(history.state, "", location.pathname + location.search);
}
