/* Names to complete in a prompt: what is being typed at the caret, and which names go on from there. Pure functions. */

import { nameKey, tagOf } from "./prompt_tags.js";

const MOST = 8; // names that are offered at once
const MOST_STYLES = 3; // of them
const TAG = /<(?:(?:lora|lyco|lycoris)?:?)?([^<>:]*)$/i;
const WILDCARD = /(?:^|[^\w])__([\w/-]*)$/;
const PHRASE = /(?:^|[,(|[\]{}<>\n])[^\S\n]*([^\s,()|[\]{}<>][^,()|[\]{}<>\n]+)$/;
const WORD = /(?:^|[\s,(|[])([\p{L}\p{N}_-]{2,})$/u;

/** What is being completed before the caret: {kind, start, query}, `start` being where the text begins that a name takes
    the place of; null where nothing is. */
function beingTyped(text) {
  const wildcard = WILDCARD.exec(text);
  if (wildcard) return { kind: "wildcard", start: text.length - wildcard[1].length - 2, query: wildcard[1] };
  const tag = /<[^<>]*$/.exec(text) && TAG.exec(text);
  if (tag) return { kind: "lora", start: tag.index, query: tag[1] };
  const word = WORD.exec(text);
  return word ? { kind: "embedding", start: text.length - word[1].length, query: word[1] } : null;
}

/** What of the words before the caret goes on from a part of a phrase, or from the last word: trigger words of LoRAs,
    styles and tags, as offers with a start of their own. */
function wordOffers(before, names, { styles = [], tags = () => [] }) {
  const offers = [];
  const parts = [PHRASE.exec(before)?.[1], WORD.exec(before)?.[1]];
  for (const part of new Set(parts)) {
    if (!part || part.length < 2) continue;
    const start = before.length - part.length;
    const query = part.toLowerCase();
    const goesOn = (text) => text.toLowerCase().startsWith(query) && text.toLowerCase() !== query;
    for (const { name, words = [] } of names.loras)
      for (const text of words.filter(goesOn))
        offers.push({ kind: "trigger", name: text, note: name, put: text, start });
    for (const { name } of styles.filter((one) => one.name.toLowerCase().startsWith(query)).slice(0, MOST_STYLES))
      offers.push({ kind: "style", name, note: "", put: "", start });
    for (const { name, put, note } of tags(part, MOST))
      if (put.toLowerCase() !== query) offers.push({ kind: "tag", name, note, put, start });
  }
  const isFirst = (one, k) => offers.findIndex((other) => other.kind === one.kind && other.name === one.name) === k;
  return offers.filter(isFirst);
}

/** The offers at a caret. `names`: {loras: [{name, words, weight}], embeddings: [{name}], wildcards: [{name}]}; `more`:
    {styles: [{name}], tags: (text, most) => [{name, put, note}]}. Returns {kind, end, offers}: each offer has `put`, which
    takes the place of the text from its `start` to `end`, and `name`, `kind` and `note` for the list; null where there is
    nothing to offer. */
export function offersAt(text, caret, names, more = {}) {
  const before = text.slice(0, caret);
  const typed = beingTyped(before);
  const others = !typed || typed.kind === "embedding" ? wordOffers(before, names, more) : [];
  const found = typed && namesAt(text, caret, names, typed);
  const offers = [...(found?.offers || []), ...others].slice(0, MOST);
  return offers.length ? { kind: typed?.kind || "embedding", end: found?.end || caret, offers } : null;
}

/** The names of one kind that go on from what is typed. */
function namesAt(text, caret, names, typed) {
  const rows = { lora: names.loras, embedding: names.embeddings, wildcard: names.wildcards }[typed.kind];
  const query = typed.query.toLowerCase();
  const rank = ({ name }) => (name.toLowerCase().startsWith(query) ? 0 : 1);
  const matches = rows
    .filter(({ name }) => name.toLowerCase().includes(query))
    .sort((one, other) => rank(one) - rank(other));
  // A whole name has nothing to complete.
  if (!matches.length || (typed.kind === "embedding" && matches.some(({ name }) => name.toLowerCase() === query)))
    return null;
  const after = text.slice(caret);
  const rest = { lora: /^[^<>\n]*>/, wildcard: /^[\w/-]*__/ }[typed.kind]?.exec(after)?.[0].length || 0;
  const put = {
    lora: (row) => tagOf(row),
    wildcard: ({ name }) => `__${name}__`,
    embedding: ({ name }) => name,
  }[typed.kind];
  const { kind, start } = typed;
  const offers = matches.map((row) => ({ kind, name: row.name, note: row.words?.[0] || "", put: put(row), start }));
  return { end: caret + rest, offers };
}

/** Where the brackets of a prompt do not match: places of single characters. Escaped ones are text. */
export function unbalanced(text) {
  const partner = { ")": "(", "]": "[", "}": "{", ">": "<" };
  const open = [];
  const lone = [];
  for (let at = 0; at < text.length; at++) {
    if (text[at] === "\\") at++;
    else if ("([{".includes(text[at]) || /^<[a-z]+:/i.test(text.slice(at, at + 12))) open.push(at);
    else if (text[at] in partner) {
      if (open.length && text[open[open.length - 1]] === partner[text[at]]) open.pop();
      else if (text[at] !== ">") lone.push(at);
    }
  }
  return [...lone, ...open].sort((one, other) => one - other);
}

/** What of a prompt is underlined: {start, end, kind} in order, `kind` being "bracket" or "name". `names` as above. */
export function marksOf(text, names) {
  const known = names.loras.flatMap(({ name, alias }) => [name, alias || name]).map(nameKey);
  const isKnown = (name) => known.some((one) => one === name || one.endsWith(`/${name}`));
  const lines = new Set(names.wildcards.map(({ name }) => name));
  const marks = unbalanced(text).map((at) => ({ start: at, end: at + 1, kind: "bracket" }));
  for (const match of text.matchAll(/<([a-z]+):([^<>:]*)[^<>]*>/gi)) {
    const isLora = ["lora", "lyco", "lycoris"].includes(match[1].toLowerCase());
    if (!isLora || (names.isComplete && !isKnown(nameKey(match[2]))))
      marks.push({ start: match.index, end: match.index + match[0].length, kind: "name" });
  }
  for (const match of text.matchAll(/__([\w-]+(?:\/[\w-]+)*?)__/g))
    if (names.isComplete && !lines.has(match[1]))
      marks.push({ start: match.index, end: match.index + match[0].length, kind: "name" });
  return marks.sort((one, other) => one.start - other.start);
}
