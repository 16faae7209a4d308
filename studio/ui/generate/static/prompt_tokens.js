/* The tokens of a tab's prompts: asked for after a pause in typing, since only the chosen checkpoint's tokenizer knows
   them. The line below the prompt says their number and what is read otherwise than it may be meant; the prompt fields
   (prompt_box.js) draw counters and marks. */

import { h } from "../../static/elements.js";

const PAUSE = 400; // ms without a change
const AGAIN_AFTER = 4000; // ms, while the checkpoint is being loaded
const TRIES = 15;

const counts = new Map(); // by the id of the prompt's block: {text, count, sizes, most, places}
const COUNTED = "ls-tokens-counted";

/** What is known of the tokens of a prompt field; null where nobody has counted them. */
export const countOf = (id) => counts.get(id) || null;

/** Calls `act` whenever prompts have been counted. */
export const whenCounted = (act) => window.addEventListener(COUNTED, act);

/** The line of one tab. */
export function tokens({ element, props, watch, trigger }) {
  const line = h("p", { class: "ls-tokens", role: "status" });
  let timer = 0;
  let tries = 0;
  const ask = (pause) => {
    clearTimeout(timer);
    timer = setTimeout(() => trigger("count"), pause);
  };
  window.addEventListener("ls-prompt-changed", ({ detail }) => {
    if (detail !== props.tab) return;
    tries = 0;
    ask(PAUSE);
  });
  function draw() {
    const value = props.value || {};
    const remarks = value.remarks || [];
    line.replaceChildren(h("span", {}, `${value.counts || ""}\n`), remarks.join("\n")); // the counters show the counts
    for (const name of ["prompt", "negative_prompt"]) counts.set(`${props.tab}-${name}`, value[name]);
    window.dispatchEvent(new Event(COUNTED));
    if (value.waits && tries++ < TRIES) ask(AGAIN_AFTER);
  }
  element.replaceChildren(line);
  watch("value", draw);
  draw();
}

/** Where tokens and ends of chunks are in a text that may have been typed on since they were counted: {tokens: [[start,
    end]…], ends: [place…]}. What stands where it was changed is left out. Pure. */
export function placesIn(text, count) {
  if (!count) return { tokens: [], ends: [] };
  const { text: before, places, sizes } = count;
  const shorter = Math.min(before.length, text.length);
  let head = 0;
  while (head < shorter && before[head] === text[head]) head++;
  let tail = 0;
  while (tail < shorter - head && before[before.length - 1 - tail] === text[text.length - 1 - tail]) tail++;
  const move = (place) => {
    if (place <= head) return place;
    return place >= before.length - tail ? place + text.length - before.length : null;
  };
  const tokens = [];
  for (let k = 0; k < places.length; k += 2) {
    const [start, end] = [move(places[k]), move(places[k + 1])];
    const isNew = !tokens.length || tokens[tokens.length - 1][1] <= start; // one character may be several tokens
    if (start !== null && end !== null && isNew) tokens.push([start, end]);
  }
  const ends = [];
  let number = 0;
  for (const size of sizes.slice(0, -1)) {
    number += size;
    const end = number && places.length ? move(places[2 * number - 1]) : null;
    if (end !== null) ends.push(end);
  }
  return { tokens, ends };
}

/** The layer over a text: nodes that hold the text itself, with its marks, tokens and ends of chunks. `marks`: [{start,
    end, kind}…] in order, the others as `placesIn` gives them. */
export function layerOf(text, marks, tokens, ends) {
  const cuts = [...marks.flatMap(({ start, end }) => [start, end]), ...tokens.flat(), ...ends, text.length];
  const places = [...new Set(cuts)].sort((one, other) => one - other);
  const isEnd = new Set(ends);
  const nodes = [];
  let [at, mark, token] = [0, 0, 0];
  for (const place of places) {
    if (place > at) {
      while (mark < marks.length && marks[mark].end <= at) mark++;
      while (token < tokens.length && tokens[token][1] <= at) token++;
      let node = text.slice(at, place);
      if (token < tokens.length && tokens[token][0] <= at)
        node = h("span", { class: "ls-piece", "data-tone": String(token % 2) }, node);
      if (mark < marks.length && marks[mark].start <= at) node = h("mark", { "data-kind": marks[mark].kind }, node);
      nodes.push(node);
      at = place;
    }
    if (isEnd.has(place)) nodes.push(h("i", { class: "ls-chunk-end" }));
  }
  return nodes;
}
