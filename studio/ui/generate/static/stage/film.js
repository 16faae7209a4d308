/* The strip of a run's steps under its picture, and scrubbing over it by pointer and keys. */

import { h } from "../../../static/elements.js";

/** The evaluation, from 1, that frame `k` of a strip shows: a strip of fewer frames than evaluations is spread evenly,
    first and last included (`thinned` in studio/ui/render.py). */
export const evaluationOf = (film, k) =>
  film.frames.length === film.evaluations || film.total === film.evaluations
    ? k + 1
    : 1 + Math.round((k * (film.evaluations - 1)) / Math.max(1, film.total - 1));

/** filmNow() gives {frames, total, evaluations}; at() is the frame that is pointed at, or null, and scrubTo(frame or
    null) changes it; working() is true while a run goes on. */
export function buildFilm({ say, filmNow, at, scrubTo, working }) {
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

  function draw(filmed) {
    film.classList.toggle("ls-empty", filmed.total === 0);
    film.tabIndex = filmed.frames.length ? 0 : -1;
    while (cells.children.length > filmed.total) cells.lastChild.remove();
    while (cells.children.length < filmed.total) cells.append(h("span", {}));
    [...cells.children].forEach((cell, k) => {
      const wanted = filmed.frames[k] || "";
      if (cell.dataset.source === wanted) return;
      cell.dataset.source = wanted;
      cell.style.backgroundImage = wanted ? `url("${wanted}")` : "";
    });
    const scrub = at();
    cursor.hidden = scrub === null;
    if (scrub !== null) cursor.style.left = `${((scrub + 0.5) / filmed.total) * 100}%`;
    const now = scrub === null ? filmed.frames.length : scrub + 1;
    film.setAttribute("aria-valuemax", Math.max(1, filmed.total));
    film.setAttribute("aria-valuenow", Math.max(1, now));
    film.setAttribute("aria-valuetext", say("scrub", { index: now, total: filmed.total }));
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
    if (event.key === "Escape" && !working()) scrubTo(null);
    if (to === undefined) return;
    event.preventDefault();
    scrubTo(Math.max(0, Math.min(last, to)));
  });

  return { element: film, draw };
}
