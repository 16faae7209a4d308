/* The words of a prompt, numbered as the studio counts them (studio/diffusion/tokens.py, words_of). */

import { textAt } from "./words.js";

/** The words of the text that holds at a step, counted from 0: [{number, label}]. */
export function wordsOf(run, step) {
  const words = [];
  let last = null;
  textAt(run.tokens.prompt, step).chunks.forEach((chunk, c) => {
    chunk.words.forEach((word, k) => {
      if (word === null) return;
      const key = `${c} ${word}`;
      if (key === last) words[words.length - 1].label += chunk.text[k];
      else words.push({ number: words.length, label: chunk.text[k] });
      last = key;
    });
  });
  return words;
}

/** Weights as the studio reads them, "3:1.5,5:0"; words of weight 1 are left out. */
export const weightsText = (weights) =>
  [...weights]
    .filter(([, weight]) => weight !== 1)
    .map(([word, weight]) => `${word}:${weight}`)
    .join(",");

/** Weights in words, "fox 1.5, sea 0". */
export function weightsLine(text, words) {
  return text
    .split(",")
    .map((one) => {
      const [word, weight] = one.split(":");
      return `${words[Number(word)]?.label ?? word} ${weight}`;
    })
    .join(", ");
}
