/* The comparison of a first visit: finished pictures of the built-in model, from a file of the page. */

import { fill } from "../../static/elements.js";

/** The view of the sample at `address`, for the stage; null where it cannot be read. */
export async function sampleComparison(address, words) {
  const answer = await fetch(address).catch(() => null);
  if (!answer?.ok) return null;
  const sample = await answer.json();
  const axis = ({ field, labels }) => ({ field, labels, name: words[`axis.${field}`] });
  return {
    state: "sample",
    job: null,
    message: fill(words.sample, { prompt: sample.prompt }),
    prompt: sample.prompt,
    x: axis(sample.x),
    y: axis(sample.y),
    columns: sample.x.labels.length,
    rows: sample.y.labels.length,
    possible: sample.pictures.length,
    focus: sample.focus,
    cells: sample.pictures.map((src) => ({ state: "finished", src })),
  };
}
