/* LoRA tags and embeddings in a prompt's text: which stand in it, and the text with one more, one less, or another
   weight. Pure functions. */

const TAG = /<(?:lora|lyco|lycoris):([^<>]*)>/gi;
const NUMBER = /^\s*[-+]?(?:\d+\.?\d*|\.\d+)\s*$/;
const BESIDE = "[\\p{L}\\p{N}\\p{M}_-]"; // a name beside one of these is a part of a longer word

/** What two spellings of a name have in common, as the studio compares them (studio/asked/names.py). */
export const nameKey = (name) =>
  name
    .trim()
    .normalize("NFD")
    .toLowerCase()
    .replaceAll("\\", "/")
    .replace(/^\//, "")
    .replace(/\.(safetensors|sft|ckpt|pt|pth|bin)$/, "");

const number = (weight) => String(Math.round(100 * weight) / 100);

/** The tag of a LoRA's row, with the words that call it. */
export const tagOf = ({ name, words = [], weight }) =>
  `<lora:${name}:${number(weight ?? 1)}>${words.length ? ` ${words[0]}` : ""}`;

/** Whether a typed name means this row. */
const means = (typed, { name, alias }) =>
  [name, alias].some((one) => one && (nameKey(one) === nameKey(typed) || nameKey(one).endsWith(`/${nameKey(typed)}`)));

/** The LoRA tags of a text: [{start, end, row, weight, rest}…]; `row` is one of `rows`, `rest` what follows the weight. */
export function lorasIn(text, rows) {
  const tags = [];
  for (const match of text.matchAll(TAG)) {
    const parts = match[1].split(":");
    const row = rows.find((one) => means(parts[0], one));
    if (!row || tags.some((one) => one.row === row)) continue;
    const isPlain = parts.length > 1 && NUMBER.test(parts[1]);
    const rest = parts.slice(isPlain ? 2 : 1);
    const weight = isPlain ? Number(parts[1]) : 1;
    tags.push({ start: match.index, end: match.index + match[0].length, row, weight, rest });
  }
  return tags;
}

/** The embeddings that stand in a text as words of their own: as `lorasIn`, the place with the brackets of its weight. */
export function embeddingsIn(text, rows) {
  return rows.flatMap((row) => {
    const name = row.name.replace(/[.*+?^${}()|[\]\\/]/g, "\\$&");
    const word = `(?<!${BESIDE})(?:embedding:)?${name}(?!${BESIDE})`;
    const match = new RegExp(`\\(\\s*${word}\\s*:\\s*([-+]?(?:\\d+\\.?\\d*|\\.\\d+))\\s*\\)|${word}`, "iu").exec(text);
    if (!match) return [];
    return [{ start: match.index, end: match.index + match[0].length, row, weight: match[1] ? Number(match[1]) : 1 }];
  });
}

/** The text with a tag or an embedding of `lorasIn` or `embeddingsIn` at another weight. */
export function weighed(text, one, isLora, weight) {
  const { start, end, row, rest } = one;
  const name = isLora ? text.slice(start, end).slice(1, -1).split(":")[1] : row.name;
  const lora = `<${text.slice(start + 1, end).split(":")[0]}:${[name, number(weight), ...(rest || [])].join(":")}>`;
  const embedding = weight === 1 ? name : `(${name}:${number(weight)})`;
  return text.slice(0, start) + (isLora ? lora : embedding) + text.slice(end);
}

/** The text with words at its end, but in front of a comment of its last line: behind it they would be its part. */
export function added(text, words, comma) {
  const line = text.lastIndexOf("\n") + 1;
  const comment = text.indexOf("#", line);
  const [body, tail] = comment < 0 ? [text, ""] : [text.slice(0, comment), ` ${text.slice(comment)}`];
  const head = body.trimEnd();
  const gap = !head || /\n$/.test(body) ? "" : comma && !head.endsWith(",") ? ", " : " ";
  return (/\n$/.test(body) ? body : head) + gap + words + tail;
}

/** The text without a part and the blank or comma before it. `words`: taken out too where they follow it at once. */
export function without(text, { start, end, row }, isLora) {
  const word = isLora && row.words?.[0];
  const after = word && text.slice(end).startsWith(` ${word}`) ? end + 1 + word.length : end;
  const head = text.slice(0, start).replace(isLora ? / +$/ : /[ ,]+$/, "");
  const tail = head ? text.slice(after) : text.slice(after).replace(/^[ ,]+/, "");
  return head + tail;
}

/** Whether words stand in a text. */
export const hasWords = (text, words) => text.toLowerCase().includes(words.toLowerCase());
