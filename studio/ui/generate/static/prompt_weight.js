/* Ctrl+Up and Ctrl+Down in a prompt: the weight of the selection, of the word or the brackets around the caret, or of a
   LoRA's tag. As AUTOMATIC1111's page does it. */

const WORD_STEP = 0.1;
const TAG_STEP = 0.05;
const [LEAST, MOST] = [0, 10]; // of a word
const [LEAST_TAG, MOST_TAG] = [-10, 10];
const WEIGHTED = /^\(([\s\S]*):\s*([-+]?(?:\d+\.?\d*|\.\d+))\s*\)$/;
const BOUNDARY = /[\s,.!?;:()[\]{}<>|"“”]/;

const rounded = (value, least, most) => Math.round(100 * Math.max(least, Math.min(most, value))) / 100;
const isEscaped = (text, at) => /(?:^|[^\\])(?:\\\\)*\\$/.test(text.slice(0, at));

/** The tag <kind:name:weight…> around a place, as [start, end]; null where there is none. */
function tagAround(text, start, end) {
  for (const match of text.matchAll(/<(?:lora|lyco|lycoris):[^<>]*>/gi))
    if (match.index < end + 1 && start < match.index + match[0].length && match.index <= start)
      return [match.index, match.index + match[0].length];
  return null;
}

/** The innermost brackets with a weight around a place, as [start, end]; null where there are none. */
function bracketsAround(text, start, end) {
  const open = [];
  const pairs = [];
  for (let at = 0; at < text.length; at++) {
    if (isEscaped(text, at)) continue;
    if (text[at] === "(") open.push(at);
    else if (text[at] === ")" && open.length) pairs.push([open.pop(), at + 1]);
  }
  return pairs.find(([from, to]) => from <= start && end <= to && WEIGHTED.test(text.slice(from, to))) || null;
}

function wordAround(text, at) {
  let [start, end] = [at, at];
  while (start > 0 && !BOUNDARY.test(text[start - 1])) start--;
  while (end < text.length && !BOUNDARY.test(text[end])) end++;
  return start < end ? [start, end] : null;
}

/** A prompt after one press. `up`: 1 for more, -1 for less. Returns the part that changes: {start, end, put, select},
    `put` being the text that takes its place and `select` what of it is selected then; or null where there is nothing to
    weigh. A pure function. */
export function weigh(text, start, end, up) {
  const tag = tagAround(text, start, end);
  if (tag) {
    const [kind, name, weight = "1", ...rest] = text.slice(tag[0] + 1, tag[1] - 1).split(":");
    if (!Number.isFinite(+weight)) return null;
    const next = rounded(+weight + up * TAG_STEP, LEAST_TAG, MOST_TAG);
    const put = `<${[kind, name, next, ...rest].join(":")}>`;
    return { start: tag[0], end: tag[1], put, select: [0, put.length] };
  }
  const around = bracketsAround(text, start, end);
  if (around) {
    const [, words, weight] = WEIGHTED.exec(text.slice(...around));
    const next = rounded(+weight + up * WORD_STEP, LEAST, MOST);
    const put = next === 1 ? words : `(${words}:${next})`;
    const from = next === 1 ? 0 : 1;
    return { start: around[0], end: around[1], put, select: [from, from + words.length] };
  }
  let place = start === end ? wordAround(text, start) : [start, end];
  if (!place) return null;
  const chosen = text.slice(...place);
  place = [place[0] + chosen.length - chosen.trimStart().length, place[1] - (chosen.length - chosen.trimEnd().length)];
  if (place[0] >= place[1]) return null;
  const words = text.slice(...place);
  return {
    start: place[0],
    end: place[1],
    put: `(${words}:${rounded(1 + up * WORD_STEP, LEAST, MOST)})`,
    select: [1, 1 + words.length],
  };
}
