/* The tab Library: a wall of all pictures, newest first. Only the rows in sight are in the document, and what they show
   is fetched page by page, so that a hundred thousand pictures scroll as a hundred do. */

import { inLibrary } from "../../picture_sheet/static/actions.js";
import { fill, h, icon } from "../../static/elements.js";
import { openUpscaling } from "../../static/upscaling.js";
import { beforeAfter } from "./before_after.js";
import { boards } from "./boards.js";
import { filters } from "./filters.js";
import { largeView } from "./large_view.js";
import { saving } from "./saving.js";

const PAGE = 120; // pictures of one request
const GAP = 8; // pixels between two tiles
const NARROW = 600; // pixels, below which a row has three tiles
const TILE = 180; // pixels at least, in a wider window
const ROWS_AROUND = 2; // rows drawn above and below what is in sight
const LOOK = 4000; // ms between two looks for new pictures
const SOON = 700; // ms, while the folders are still being looked through

async function fetchJson(address, order) {
  const post = order && {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: JSON.stringify(order),
  };
  const response = await fetch(address, post);
  if (!response.ok) throw new Error(await response.text());
  return response.json();
}

export function library({ element, props }) {
  const words = props.words;
  const say = (key, values) => fill(words[key], values);
  const chosen = new Map(); // id => picture
  const tiles = new Map(); // place => its element
  let pages = new Map(); // number => its pictures, or the promise of them
  let total = 0;
  let until = 0;
  let newestId = "";
  let isSeen = false;
  let isLarge = false;
  let side = TILE;
  let columns = 1;

  /* ------------------------------------------------------------------------------------------------- frame */

  const count = h("p", { class: "ls-library-count", role: "status" });
  const message = h("p", { class: "ls-library-message", role: "alert" });
  const undo = h("div", { class: "ls-library-undo", role: "status" });
  const selection = h("div", { class: "ls-library-selection", role: "group", "aria-label": say("selection") });
  const wall = h("ul", { class: "ls-library-wall", "aria-label": say("pictures") });
  const none = h("p", { class: "ls-library-none", hidden: true });
  const sieve = filters({ say, count, onChange: () => look(true) });
  const openSaving = h("button", {
    class: "ls-button ls-library-saving",
    type: "button",
    hidden: true,
    onclick: () => saving(words, fetchJson),
  });
  openSaving.textContent = say("saving.open");
  const undoPlace = h("div", {}, undo);
  selection.hidden = true;

  const attempt = async (act) => {
    try {
      const answer = await act();
      message.textContent = "";
      return answer;
    } catch (failure) {
      message.textContent = failure.message || say("lost");
      return null;
    }
  };

  const shelf = boards({
    say,
    attempt,
    fetchJson,
    onChoice: () => (clear(), look(true)),
    onChange: async () => (await lookForChoices(), look(true)),
    offerUndo,
  });
  const top = h(
    "div",
    { class: "ls-library" },
    h("div", { class: "ls-library-top" }, sieve.element, openSaving),
    shelf.element,
    message,
    undoPlace,
    selection,
    none,
    wall,
  );
  element.replaceChildren(top);

  /* ------------------------------------------------------------------------------------------------ fetching */

  const query = (more) => {
    const values = { ...sieve.values(), board: shelf.board(), ...more };
    return new URLSearchParams(Object.entries(values).filter(([, value]) => value !== ""));
  };
  const isFiltered = () => Boolean(shelf.board()) || sieve.isActive();
  let question = 0;
  let timer = null;

  /** Asks for the newest pictures; draws the wall anew where something has changed. */
  async function look(always = false) {
    clearTimeout(timer);
    const mine = ++question;
    const answer = await attempt(() => fetchJson(`/library?${query({ limit: PAGE })}`));
    if (mine !== question) return;
    if (answer) {
      const first = answer.pictures[0]?.id || "";
      if (always || answer.total !== total || first !== newestId) {
        [total, until, newestId] = [answer.total, answer.until, first];
        pages = new Map([[0, answer.pictures]]);
        draw(true);
      }
      const isLooking = !total && !answer.complete;
      none.hidden = total > 0;
      none.textContent = say(isLooking ? "looking" : isFiltered() ? "no_match" : "empty");
      count.textContent = total ? say(total === 1 ? "count_one" : "count", { count: total.toLocaleString() }) : "";
      sieve.element.hidden = !total && !isFiltered();
      openSaving.hidden = !answer.owner;
    }
    if (isSeen) timer = setTimeout(lookAgain, answer && !answer.complete ? SOON : LOOK);
  }
  const lookAgain = () => (isLarge || chosen.size || document.hidden ? (timer = setTimeout(lookAgain, LOOK)) : look());

  async function lookForChoices() {
    const answer = await attempt(() => fetchJson("/library/choices"));
    if (!answer) return;
    sieve.draw(answer);
    if (shelf.draw(answer.boards)) look(true);
    drawSelection();
  }

  /** The picture at a place; null until its page is here. */
  function at(place) {
    const page = pages.get(Math.floor(place / PAGE));
    return Array.isArray(page) ? page[place % PAGE] || null : null;
  }
  async function fetchPage(number) {
    if (pages.has(number)) return pages.get(number);
    const own = pages;
    const values = query({ limit: PAGE, offset: number * PAGE, until });
    const promise = attempt(() => fetchJson(`/library?${values}`)).then((answer) => {
      if (answer) own.set(number, answer.pictures);
      else own.delete(number);
      if (own === pages) draw();
    });
    own.set(number, promise);
    return promise;
  }
  /** The picture at a place, when its page has come. */
  async function fetchAt(place) {
    if (place < 0 || place >= total) return null;
    await fetchPage(Math.floor(place / PAGE));
    return at(place);
  }

  /* ------------------------------------------------------------------------------------------------- drawing */

  let measured = ""; // for which width and number of pictures
  /** The size of a tile, and the height of the wall; says whether they are others than before. */
  function measure() {
    const width = wall.clientWidth;
    if (measured === `${width} ${total}`) return false;
    measured = `${width} ${total}`;
    columns = width < NARROW ? 3 : Math.max(3, Math.floor((width + GAP) / (TILE + GAP)));
    side = (width - GAP * (columns - 1)) / columns;
    wall.style.height = `${Math.max(0, Math.ceil(total / columns) * (side + GAP) - GAP)}px`;
    return true;
  }

  let isWaiting = false;
  function drawSoon() {
    if (isWaiting) return;
    isWaiting = true;
    requestAnimationFrame(() => ((isWaiting = false), draw()));
  }

  function draw(anew = false) {
    if (!isSeen || !wall.clientWidth) return;
    const isResized = measure();
    const top = wall.getBoundingClientRect().top;
    const row = side + GAP;
    const firstRow = Math.max(0, Math.floor(-top / row) - ROWS_AROUND);
    const lastRow = Math.ceil((innerHeight - top) / row) + ROWS_AROUND;
    const [from, to] = [firstRow * columns, Math.min(total, lastRow * columns)];
    for (const [place, tile] of tiles) {
      if (anew || place < from || place >= to || tile.dataset.id !== (at(place)?.id || "")) {
        tile.remove();
        tiles.delete(place);
      }
    }
    let before = null;
    for (let place = to - 1; place >= from; place--) {
      let tile = tiles.get(place);
      if (!tile) {
        tile = tileOf(place);
        tiles.set(place, tile);
        wall.insertBefore(tile, before);
      } else if (!isResized) {
        before = tile;
        continue; // it stands where it stood
      }
      tile.style.width = tile.style.height = `${side}px`;
      tile.style.transform = `translate(${(place % columns) * row}px, ${Math.floor(place / columns) * row}px)`;
      before = tile;
    }
    if (to > from)
      for (let page = Math.floor(from / PAGE); page <= Math.floor((to - 1) / PAGE); page++) fetchPage(page);
  }

  const nameOf = (one) => one.prompt.slice(0, 120) || say("no_prompt");

  function tileOf(place) {
    const one = at(place);
    if (!one) return h("li", { class: "ls-library-tile", "data-id": "" });
    const image = h("img", { src: `/library/thumbnail/${one.id}`, alt: nameOf(one), decoding: "async" });
    const open = h("button", { type: "button", class: "ls-library-open", onclick: () => openLarge(place) }, image);
    const box = h("input", {
      type: "checkbox",
      "aria-label": say("select", { name: nameOf(one) }),
      onchange: () => choose(one, box.checked),
    });
    box.checked = chosen.has(one.id);
    const stars = one.rating
      ? h("span", { class: "ls-library-stars", "aria-hidden": "true" }, "★".repeat(one.rating))
      : null;
    return h("li", { class: "ls-library-tile", "data-id": one.id }, open, h("label", {}, box), stars);
  }

  /* --------------------------------------------------------------------------------------------- selection */

  function choose(one, isOn) {
    if (isOn) chosen.set(one.id, one);
    else chosen.delete(one.id);
    drawSelection();
  }
  function drawSelection() {
    selection.hidden = !chosen.size;
    wall.classList.toggle("ls-library-choosing", chosen.size > 0);
    const button = (key, act, sign) =>
      h("button", { type: "button", class: "ls-button", onclick: act }, sign ? icon(sign) : null, say(key));
    selection.replaceChildren(
      h("span", {}, say("selected", { count: chosen.size })),
      shelf.field((board) => shelf.put([...chosen.keys()], board, true).then((done) => done && clear())),
      shelf.board()
        ? button("take_off", () => shelf.put([...chosen.keys()], shelf.board(), false).then((done) => done && clear()))
        : "",
      chosen.size === 2 ? button("before_after", openPair) : "",
      button("upscale", upscaleChosen, "upscale"),
      button("zip", saveZip, "save"),
      button("delete", () => remove([...chosen.keys()])),
      button("clear", clear),
    );
  }
  function clear() {
    chosen.clear();
    drawSelection();
    draw(true);
  }
  /** One after the other; the results come to the wall, and the selection stays. */
  function upscaleChosen() {
    const pictures = [...chosen.values()].map((one) => inLibrary(one, nameOf(one)));
    openUpscaling({ pictures, onSaved: () => look(true) });
  }
  /** A form, so that the browser saves the answer piece by piece. */
  function saveZip() {
    const field = h("input", { type: "hidden", name: "pictures", value: [...chosen.keys()].join(",") });
    const form = h("form", { method: "post", action: "/library/pictures.zip", hidden: true }, field);
    document.body.append(form);
    form.submit();
    form.remove();
  }

  /** Into the trash, with a line that brings back. Says whether it has happened. */
  async function remove(ids) {
    const answer = await attempt(() => fetchJson("/library/delete", { pictures: ids }));
    if (!answer) return false;
    const { done, days } = answer;
    const key = done.length === 1 ? "deleted_one" : "deleted";
    offerUndo(say(key, { count: done.length, days }), () => restore(done));
    if (done.length < ids.length) message.textContent = say("not_deleted", { count: ids.length - done.length });
    done.forEach((id) => chosen.delete(id));
    drawSelection();
    await look(true);
    return true;
  }
  async function restore(ids) {
    if (!(await attempt(() => fetchJson("/library/restore", { pictures: ids })))) return false;
    await look(true);
    return true;
  }
  /** A line that says what was done, with a button that takes it back. */
  function offerUndo(sentence, back) {
    const act = async () => (await back()) && undo.replaceChildren();
    const button = h("button", { type: "button", class: "ls-button", onclick: act }, icon("undo"), say("undo"));
    undo.replaceChildren(h("span", {}, sentence), button);
  }

  /* ------------------------------------------------------------------------------------------------- large */

  const openPair = () => beforeAfter({ say, pictures: [...chosen.values()], fetchJson, nameOf });

  function openLarge(place) {
    isLarge = true;
    largeView({
      say,
      sheetWords: props.sheet_words,
      place,
      undo,
      nameOf,
      fetchAt,
      fetchJson,
      remove,
      shelf,
      total: () => total,
      onRating: () => draw(true),
      onNewPicture: () => look(true),
      onClose: (last) => {
        isLarge = false;
        undoPlace.append(undo);
        const top = wall.getBoundingClientRect().top + Math.floor(last / columns) * (side + GAP);
        if (top < 0 || top + side > innerHeight) scrollBy(0, top - innerHeight / 3);
        draw(true);
        tiles.get(last)?.querySelector("button")?.focus();
      },
    });
  }

  /* --------------------------------------------------------------------------------------------------- news */

  document.addEventListener("scroll", drawSoon, { capture: true, passive: true });
  new ResizeObserver(drawSoon).observe(wall);
  new IntersectionObserver(([entry]) => {
    const wasSeen = isSeen;
    isSeen = entry.isIntersecting || wall.clientWidth > 0;
    if (isSeen && !wasSeen) {
      look(true);
      lookForChoices();
    } else if (!isSeen) clearTimeout(timer);
  }).observe(element);
}
