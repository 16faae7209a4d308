/* The strip of a run's steps under its picture, and scrubbing by pointer and keys. */

import { h } from "../../../static/elements.js";

/** The evaluation, from 1, that frame `k` of a strip shows. A strip with fewer frames than evaluations is spread
    evenly, with the first and the last (`thinned` in studio/ui/render.py). */
export const evaluationOf = (film, k) =>
  film.frames.length === film.evaluations || film.total === film.evaluations
    ? k + 1
    : 1 + Math.round((k * (film.evaluations - 1)) / Math.max(1, film.total - 1));

/** filmNow() gives {frames, total, evaluations}. at() is the frame under the pointer, or null; scrubTo(frame or
    null) changes it. isActive() is true during a run. */
export function buildFilm({ say, filmNow, at, scrubTo, isActive }) {
  const cursor = h("b", { class: "ls-cursor", hidden: true });
  const cells = h("div", { class: "ls-cells" });
  const film = h("div", {
    class: "ls-film",
    role: "slider",
    tabindex: 0,
    "aria-label": say("film"),
    "aria-valuemin": 1,
  });
  film.append(cells, cursor);

  function draw(strip) {
    film.classList.toggle("ls-empty", strip.total === 0);
    film.tabIndex = strip.frames.length ? 0 : -1;
    while (cells.children.length > strip.total) cells.lastChild.remove();
    while (cells.children.length < strip.total) cells.append(h("span", {}));
    [...cells.children].forEach((cell, k) => {
      const source = strip.frames[k] || "";
      if (cell.dataset.source === source) return;
      cell.dataset.source = source;
      cell.style.backgroundImage = source ? `url("${source}")` : "";
    });
    const scrub = at();
    cursor.hidden = scrub === null;
    if (scrub !== null) cursor.style.left = `${((scrub + 0.5) / strip.total) * 100}%`;
    const now = scrub === null ? strip.frames.length : scrub + 1;
    film.setAttribute("aria-valuemax", Math.max(1, strip.total));
    film.setAttribute("aria-valuenow", Math.max(1, now));
    film.setAttribute("aria-valuetext", say("scrub", { index: now, total: strip.total }));
  }

  function pointAt(event) {
    const box = film.getBoundingClientRect();
    const { frames, total } = filmNow();
    if (!frames.length) return;
    const k = Math.floor(((event.clientX - box.left) / box.width) * total);
    scrubTo(Math.max(0, Math.min(frames.length - 1, k)));
  }
  film.addEventListener("pointermove", (event) => {
    if (event.pointerType === "mouse" || event.buttons) pointAt(event);
  });
  film.addEventListener("pointerdown", (event) => {
    film.setPointerCapture(event.pointerId);
    pointAt(event);
  });
  film.addEventListener("pointerleave", (event) => {
    if (!event.buttons && document.activeElement !== film) scrubTo(null);
  });
  film.addEventListener("blur", () => scrubTo(null));
  film.addEventListener("keydown", (event) => {
    const { frames } = filmNow();
    if (!frames.length) return;
    const last = frames.length - 1;
    const from = at() ?? last;
    const to = {
      ArrowLeft: from - 1,
      ArrowDown: from - 1,
      ArrowRight: from + 1,
      ArrowUp: from + 1,
      Home: 0,
      End: last,
      PageUp: from + 5,
      PageDown: from - 5,
    }[event.key];
    if (event.key === "Escape" && !isActive()) scrubTo(null);
    if (to === undefined) return;
    event.preventDefault();
    scrubTo(Math.max(0, Math.min(last, to)));
  });

  return { element: film, draw };
}
