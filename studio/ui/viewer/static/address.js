/* The viewer's place in the page's address, and the settings that this browser stores: a reload or a link leads
   back. */

import { quantities } from "./quantities.js";

const MARK = "#viewer:"; // the page's address begins with this, after its path, while the viewer is open
const STORAGE_KEY = "latent-studio-viewer"; // where this browser stores the mode, and whether the drawing shows

const VERSION = 1; // of the stored settings; those of 0.1.0 have none and the same form

const isNewer = (settings) => settings?.version > VERSION;

/** What this browser stores. Settings of a newer version of the studio are left alone. */
export function storedSettings() {
  try {
    const settings = JSON.parse(localStorage.getItem(STORAGE_KEY)) || {};
    if (isNewer(settings)) return {};
    return Object.fromEntries(Object.entries(settings).filter(([name]) => ["mode", "machine"].includes(name)));
  } catch {
    return {}; // a browser that stores nothing, or another program's value under our name
  }
}
/** The viewer's state that the address holds, without what this page does not know. `hows`: ways to draw a picture. */
export function stateFromAddress({ hows, panels }) {
  if (!location.hash.startsWith(MARK)) return {};
  const parameters = new URLSearchParams(location.hash.slice(MARK.length));
  const out = {};
  if (["beginner", "expert"].includes(parameters.get("mode"))) out.mode = parameters.get("mode");
  if (hows.includes(parameters.get("how"))) out.how = parameters.get("how");
  const panes = (parameters.get("panes") || "")
    .split(",")
    .filter((name) => name in quantities || name === "picture" || name.startsWith("of_two."));
  if (panes.length >= 2 && panes.length <= 4) out.panes = panes;
  if (panels.includes(parameters.get("open"))) out.open = parameters.get("open");
  if (Number.isFinite(parseFloat(parameters.get("guidance")))) out.guidance = parseFloat(parameters.get("guidance"));
  if (/^\d+$/.test(parameters.get("at"))) out.start = Number(parameters.get("at")) - 1;
  return out;
}
let timer = null;
/** Writes the viewer's place into the address a moment after the last move, if isSeen() is true then. */
export function remember(context, isSeen) {
  const { state } = context;
  clearTimeout(timer);
  timer = setTimeout(() => {
    if (!isSeen()) return;
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
      const settings = JSON.stringify({ version: VERSION, mode: state.mode, machine: state.machine });
      if (!isNewer(JSON.parse(localStorage.getItem(STORAGE_KEY)))) localStorage.setItem(STORAGE_KEY, settings);
    } catch {
      // This browser stores nothing; the address still holds the place.
    }
  }, 300);
}

/** The viewer is out of sight: the address loses its place. */
export function forget() {
  if (location.hash.startsWith(MARK)) history.replaceState(history.state, "", location.pathname + location.search);
}
