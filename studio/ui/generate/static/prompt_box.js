/* What every prompt field of the page can do: Ctrl+Up and Ctrl+Down change a weight, names are completed while they are
   typed, brackets without a partner and unknown names are underlined, and tokens are counted, shown on wish, with a line
   where a chunk of them ends. The field stays a plain one: all of this lies over it or below it. */

import { fill, h } from "../../static/elements.js";
import { freshNames, names } from "./prompt_listing.js";
import { marksOf, offersAt } from "./prompt_names.js";
import { countOf, layerOf, placesIn, whenCounted } from "./prompt_tokens.js";
import { weigh } from "./prompt_weight.js";
import { loadStyles, putStyle, stylesOf } from "./styles.js";
import { loadTags, matchingTags, tagIndex, written } from "./tag_file.js";

const FIELDS = '[id$="-prompt"] textarea, [id$="-negative_prompt"] textarea';

const attached = new WeakSet();
const SHOWN = "ls-tokens-shown";
const TOKENS_SHOWN = "latent-studio-tokens"; // in localStorage: "on" where the person wants to see the tokens

/** Tags of the person's own file that go on from a text, for `offersAt`. */
const tags = (text, most) =>
  matchingTags(tagIndex(), text, most).map((tag) => ({
    name: tag.name,
    put: written(tag),
    note: tag.count ? tag.count.toLocaleString(document.documentElement.lang || "en") : "",
  }));

/** Replaces a part of a field as typing does, so that Ctrl+Z takes it back and Gradio notices. */
function put(field, start, end, text) {
  field.setSelectionRange(start, end);
  // The only way into the browser's undo history; it tells the field's listeners itself.
  if (!document.execCommand("insertText", false, text)) {
    field.setRangeText(text, start, end, "end");
    field.dispatchEvent(new InputEvent("input", { bubbles: true }));
  }
}

function changeWeight(field, up) {
  const change = weigh(field.value, field.selectionStart, field.selectionEnd, up);
  if (!change) return;
  put(field, change.start, change.end, change.put);
  field.setSelectionRange(change.start + change.select[0], change.start + change.select[1]);
}

/** Everything of one field. */
function attach(field) {
  const words = window.studioLanguage.words("prompt_box");
  const list = h("ul", { class: "ls-offers", role: "listbox", id: `${field.closest("[id]").id}-offers`, hidden: true });
  list.setAttribute("aria-label", words.offers);
  const news = h("p", { class: "ls-offers-news", role: "status" });
  const marks = h("div", { class: "ls-marks", "aria-hidden": "true" });
  const counter = h("button", { type: "button", class: "ls-count", hidden: true });
  const id = field.closest("[id]").id;
  const place = field.parentElement;
  place.classList.add("ls-marked");
  place.append(marks, list, news);
  place.closest(".block").append(counter); // not within the label: its text would be a part of the field's name
  field.setAttribute("aria-autocomplete", "list");
  field.setAttribute("aria-controls", list.id);
  let found = null;
  let active = -1; // the number of the offer that Enter takes

  // ------------------------------------------------------------------------------------------------- completing

  function drawOffers() {
    list.hidden = !found;
    field.removeAttribute("aria-activedescendant");
    news.textContent = found ? fill(words.news, { count: found.offers.length }) : "";
    if (!found) return list.replaceChildren();
    list.replaceChildren(
      ...found.offers.map((offer, k) => {
        const row = h(
          "li",
          { role: "option", id: `${list.id}-${k}`, "aria-selected": String(k === active) },
          h("span", { dir: "auto" }, offer.name),
          h("small", {}, offer.note || words[`kind.${offer.kind}`]),
        );
        row.addEventListener("pointerdown", (event) => {
          event.preventDefault(); // the caret stays where it is
          take(k);
        });
        return row;
      }),
    );
    if (active < 0) return;
    field.setAttribute("aria-activedescendant", `${list.id}-${active}`);
    list.children[active].scrollIntoView({ block: "nearest" });
  }
  function close() {
    if (!found) return;
    found = null;
    drawOffers();
  }
  function offer() {
    found =
      field.selectionStart === field.selectionEnd && document.activeElement === field
        ? offersAt(field.value, field.selectionStart, names(), { styles: stylesOf(id), tags })
        : null;
    // In the middle of words Enter is a line break until a name is chosen; behind "<" and "__" it takes the first.
    active = found && found.kind !== "embedding" ? 0 : -1;
    drawOffers();
  }
  function take(k) {
    const { end, offers } = found;
    close();
    put(field, offers[k].start, end, offers[k].put);
    if (offers[k].kind === "style") putStyle(id, offers[k].name);
    close(); // what was put in is complete
  }

  // --------------------------------------------------------------------------------------- underlines and tokens

  function drawLayer() {
    const text = field.value;
    const found = text ? marksOf(text, names()) : [];
    const { tokens, ends } = text ? placesIn(text, countOf(id)) : { tokens: [], ends: [] };
    const shown = localStorage.getItem(TOKENS_SHOWN) === "on" ? tokens : [];
    drawCounter(text);
    marks.hidden = !found.length && !shown.length && !ends.length;
    if (marks.hidden) return marks.replaceChildren();
    marks.replaceChildren(...layerOf(text, found, shown, ends), "\n");
    const style = getComputedStyle(field);
    for (const name of ["font", "letterSpacing", "padding", "lineHeight", "textAlign", "direction", "tabSize"])
      marks.style[name] = style[name];
    follow();
  }
  function drawCounter(text) {
    const count = countOf(id);
    counter.hidden = !text.trim() || !count;
    if (counter.hidden) return;
    const values = { count: count.count, room: count.most * count.sizes.length, most: count.most };
    const label = fill(words.count, values);
    if (counter.textContent !== label) counter.textContent = label;
    counter.title = fill(words["count.title"], values);
    counter.toggleAttribute("data-old", count.text !== text);
    counter.setAttribute("aria-pressed", String(localStorage.getItem(TOKENS_SHOWN) === "on"));
    counter.setAttribute("aria-label", `${label}. ${counter.title}`);
  }
  /** The layer lies over the field, however it is scrolled or drawn larger. */
  function follow() {
    Object.assign(marks.style, {
      left: `${field.offsetLeft + field.clientLeft}px`,
      top: `${field.offsetTop + field.clientTop}px`,
      width: `${field.clientWidth}px`,
      height: `${field.clientHeight}px`,
    });
    marks.scrollTop = field.scrollTop;
  }

  // ---------------------------------------------------------------------------------------------------- events

  const ask = () => {
    loadTags();
    loadStyles(id);
    return askNames();
  };
  const askNames = () => freshNames().then((isNew) => isNew && drawLayer());
  field.addEventListener("focus", ask);
  if (document.activeElement === field) ask(); // the page begins with its first prompt in focus
  field.addEventListener("blur", close);
  field.addEventListener("scroll", follow, { passive: true });
  field.addEventListener("input", () => {
    loadStyles(id); // the page begins with its first prompt in focus, before the styles' block is there
    offer();
    drawLayer();
    freshNames().then((isNew) => isNew && (offer(), drawLayer()));
  });
  field.addEventListener("change", drawLayer);
  field.addEventListener("keyup", (event) => {
    if (["ArrowLeft", "ArrowRight", "Home", "End"].includes(event.key)) offer();
  });
  field.addEventListener("keydown", (event) => {
    const isUp = event.key === "ArrowUp";
    const isArrow = isUp || event.key === "ArrowDown";
    if (isArrow && (event.ctrlKey || event.metaKey) && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      changeWeight(field, isUp ? 1 : -1);
    } else if (found && isArrow && !event.ctrlKey && !event.altKey && !event.shiftKey) {
      event.preventDefault();
      active = (active + (isUp ? (active < 0 ? 0 : -1) : 1) + found.offers.length) % found.offers.length;
      drawOffers();
    } else if (found && ["Enter", "Tab"].includes(event.key) && active >= 0 && !event.ctrlKey && !event.shiftKey) {
      event.preventDefault();
      event.stopPropagation();
      take(active);
    } else if (found && event.key === "Escape") {
      event.preventDefault();
      event.stopPropagation(); // Escape stops a run only where no list is open
      close();
    }
  });
  counter.addEventListener("click", () => {
    const isOn = localStorage.getItem(TOKENS_SHOWN) === "on";
    localStorage.setItem(TOKENS_SHOWN, isOn ? "off" : "on");
    window.dispatchEvent(new Event(SHOWN));
  });
  window.addEventListener(SHOWN, drawLayer);
  whenCounted(drawLayer);
  new ResizeObserver(follow).observe(field);
  drawLayer();
}

/** From now on every prompt field of the page has all of this: Gradio draws some later, and may draw one anew. */
export function promptBoxes() {
  const attachAll = () => {
    for (const field of document.querySelectorAll(FIELDS)) {
      if (attached.has(field)) continue;
      attached.add(field);
      attach(field);
    }
  };
  document.addEventListener("focusin", attachAll);
  new MutationObserver(attachAll).observe(document.documentElement, { childList: true, subtree: true });
  attachAll();
}
