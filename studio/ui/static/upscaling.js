/* The dialog that enlarges pictures: with what, how large, and the result, which is one more picture of the visitor. */

import { openDialog } from "./dialog.js";
import { fill, h, sentencesText } from "./elements.js";

const STORED = "latent-studio.upscaler"; // the upscaler that was chosen last
const OWN_FACTOR = 2; // that Lanczos begins with
const MOST_TRIES = 10; // of a picture whose turn has not come yet
const LONGEST_LIST = 20; // pictures that were not enlarged, in the list of them

/** As the studio rounds: a half goes to the even number. */
const round = (number) => (Math.abs(number % 1) === 0.5 ? 2 * Math.round(number / 2) : Math.round(number));
const sizeText = ([width, height]) => `${width} × ${height}`;

function lastUpscaler() {
  try {
    return localStorage.getItem(STORED);
  } catch {
    return null;
  }
}
function remember(name) {
  try {
    localStorage.setItem(STORED, name);
  } catch {
    // The browser stores nothing: the dialog begins with the first upscaler next time.
  }
}

/** Opens the dialog for `pictures`: `width`, `height` and `name` of each, and its `file`, or the id that it has as a
    `picture` of this visitor or in the `library`. `onSaved(view)` gets each result, a picture's view of render.py. With
    `closes` the dialog goes when the one result is there, since it is shown behind it. */
export async function openUpscaling({ pictures, onSaved = () => {}, closes = false }) {
  const words = window.studioLanguage.words("upscaling");
  const say = (key, values) => fill(words[key], values);
  const isOne = pictures.length === 1;
  const title = isOne ? say("title") : say("title_many", { count: pictures.length });
  const { box, body } = openDialog(title, say("close"));
  box.classList.add("ls-upscaling");
  const leaving = new AbortController();
  let stopping = null; // while pictures are enlarged
  box.addEventListener("close", () => {
    leaving.abort();
    stopping?.abort();
  });

  const problem = h("p", { role: "alert" });
  body.append(problem);
  const offer = await fetchOffer();
  if (!offer) return;

  /* ------------------------------------------------------------------------------------------------ the fields */

  const [lowest, highest] = offer.factors;
  const scales = new Map([...offer.upscalers.map((one) => [one.name, one.scale]), [offer.lanczos, null]]);
  const upscaler = h(
    "select",
    { id: "ls-upscaling-upscaler", onchange: () => (suitFactor(), draw()) },
    ...offer.upscalers.map(({ name, label, scale }) =>
      h("option", { value: name }, scale ? say("scale", { name: label, scale }) : label),
    ),
    h("option", { value: offer.lanczos }, say("lanczos")),
  );
  if (scales.has(lastUpscaler())) upscaler.value = lastUpscaler();
  const how = h(
    "select",
    { id: "ls-upscaling-how", onchange: () => draw() },
    h("option", { value: "factor" }, say("by_factor")),
    h("option", { value: "size" }, say("to_size")),
  );
  const number = (id, more) =>
    h("input", { id: `ls-upscaling-${id}`, type: "number", required: true, oninput: () => draw(), ...more });
  const sides = { min: 1, max: offer.most_side, step: 1 };
  const factor = number("factor", { min: lowest, max: highest, step: "any" });
  const width = number("width", sides);
  const height = number("height", sides);
  const crop = h("input", { type: "checkbox", checked: true, onchange: () => draw() });
  const row = (field, key) => h("div", { class: "ls-upscaling-row" }, h("label", { for: field.id }, say(key)), field);
  const factorRow = row(factor, "factor");
  const cropRow = h("label", { class: "ls-upscaling-check" }, crop, say("crop"));
  const sizeRow = h("div", { class: "ls-upscaling-size" }, row(width, "width"), row(height, "height"));
  const becomes = h("p", { class: "ls-upscaling-becomes", role: "status" });
  const start = h("button", { class: "ls-sharing-main" }, say("start"));
  const form = h(
    "form",
    { class: "ls-upscaling-form", novalidate: true, onsubmit: (event) => (event.preventDefault(), run()) },
    row(upscaler, "upscaler"),
    ...(offer.upscalers.length ? [] : [h("small", {}, say("none"))]),
    row(how, "how"),
    factorRow,
    sizeRow,
    cropRow,
    becomes,
    h("div", { class: "ls-sharing-row" }, start, h("small", {}, say("original"))),
  );
  const status = h("p", { role: "status" });
  const bar = h("progress", { "aria-label": title, max: pictures.length });
  const stop = h("button", { type: "button", onclick: () => stopping?.abort() }, say("stop"));
  const busy = h("div", { class: "ls-upscaling-busy", hidden: true }, bar, stop);
  const results = h("div", { class: "ls-upscaling-results" });
  body.replaceChildren(form, status, busy, problem, results);
  const largest = pictures.reduce((one, other) => (other.width * other.height > one.width * one.height ? other : one));
  width.value = round(largest.width * OWN_FACTOR);
  height.value = round(largest.height * OWN_FACTOR);
  suitFactor();
  draw();
  upscaler.focus();

  /** An upscaler enlarges best by its own scale. */
  function suitFactor() {
    factor.value = Math.max(lowest, Math.min(highest, scales.get(upscaler.value) || OWN_FACTOR));
  }

  /** What is asked for, as values of the address; null where a number is missing or none. */
  function asked() {
    const values = { upscaler: upscaler.value };
    if (how.value === "factor")
      return factor.valueAsNumber >= lowest && factor.valueAsNumber <= highest
        ? { ...values, factor: factor.valueAsNumber }
        : null;
    const isWhole = [width, height].every((side) => Number.isInteger(side.valueAsNumber) && side.valueAsNumber > 0);
    return isWhole
      ? { ...values, width: width.valueAsNumber, height: height.valueAsNumber, crop: Number(crop.checked) }
      : null;
  }

  /** The sizes that studio.asked.upscale.Upscale gives a picture: the whole, and what is shown of it. */
  function sizesOf(picture, values) {
    const toSize = values.factor === undefined;
    const times = toSize ? Math.max(values.width / picture.width, values.height / picture.height) : values.factor;
    const whole = [picture.width, picture.height].map((side) => Math.max(1, round(side * times)));
    return { times, whole, shown: toSize && values.crop ? [values.width, values.height] : whole };
  }

  function draw() {
    factorRow.hidden = how.value !== "factor";
    sizeRow.hidden = cropRow.hidden = how.value === "factor";
    const values = asked();
    const wrong = values ? wrongSize(values) : say("not_allowed", { low: lowest, high: highest });
    start.disabled = Boolean(wrong) || stopping !== null;
    becomes.dataset.bad = String(Boolean(wrong));
    if (wrong) return (becomes.textContent = wrong);
    const after = sizeText(sizesOf(largest, values).shown);
    becomes.textContent = isOne
      ? say("result", { before: sizeText([largest.width, largest.height]), after })
      : say("results", { after });
  }

  /** Why none of the pictures can have this size; "" where one can. Of several each is looked at in its turn. */
  function wrongSize(values) {
    const reasons = pictures.map((picture) => {
      const { times, whole } = sizesOf(picture, values);
      const isLarge = Math.max(...whole) > offer.most_side || whole[0] * whole[1] > offer.most_pixels;
      const most = Math.floor(offer.most_pixels / 1e6);
      if (isLarge) return say("too_large", { after: sizeText(whole), side: offer.most_side, most });
      return times < lowest ? say("too_small", { before: sizeText([picture.width, picture.height]) }) : "";
    });
    return reasons.every(Boolean) ? reasons[0] : "";
  }

  /* --------------------------------------------------------------------------------------------------- doing it */

  async function run() {
    const values = asked();
    if (!values || stopping) return;
    remember(values.upscaler);
    stopping = new AbortController();
    const { signal } = stopping;
    const failures = [];
    let done = 0;
    showBusy(true);
    problem.textContent = "";
    results.replaceChildren();
    for (const [place, picture] of pictures.entries()) {
      status.textContent = isOne ? say("busy") : say("busy_many", { number: place + 1, count: pictures.length });
      if (!isOne) bar.value = place;
      try {
        const view = await enlarge(picture, values, signal);
        done += 1;
        onSaved(view);
        if (isOne && closes && box.open) return box.close();
        if (isOne) showResult(view);
      } catch (failure) {
        if (signal.aborted) break;
        failures.push([picture, failure.message || say("lost")]);
      }
    }
    const wasStopped = signal.aborted;
    stopping = null;
    showBusy(false);
    if (isOne && failures.length) problem.textContent = failures[0][1];
    const saved = say("saved_many", { done, count: pictures.length });
    if (!isOne) status.textContent = sentencesText([wasStopped ? say("stopped") : "", saved]);
    else if (!done) status.textContent = wasStopped ? say("stopped") : "";
    if (!isOne && failures.length) showFailures(failures);
  }

  async function enlarge(picture, values, signal) {
    const query = new URLSearchParams(values);
    const { file } = picture;
    for (const place of ["picture", "library"]) if (picture[place]) query.set(place, picture[place]);
    const type = file && (file.type.startsWith("image/") ? file.type : "image/unknown");
    const more = file ? { body: file, headers: { "content-type": type } } : {};
    const ask = () =>
      fetch(`/ask/upscale?${query}`, { method: "POST", signal, ...more }).catch((failure) => {
        throw signal.aborted ? failure : new Error(say("lost"));
      });
    let answer = await ask();
    for (let tries = 0; answer.status === 429 && tries < MOST_TRIES && !signal.aborted; tries++) {
      await pause(1000 * Number(answer.headers.get("retry-after") || 1), signal);
      answer = await ask();
    }
    if (!answer.ok) throw new Error(await sentenceOf(answer));
    return answer.json();
  }

  function showBusy(isBusy) {
    for (const field of form.elements) field.disabled = isBusy;
    busy.hidden = !isBusy;
    if (isBusy) {
      bar.removeAttribute("value");
      stop.focus();
      return;
    }
    draw();
    if (document.activeElement === document.body || document.activeElement === stop) start.focus();
  }

  function showResult(view) {
    status.textContent = say("saved", { after: sizeText([view.width, view.height]) });
    results.replaceChildren(h("img", { src: `/picture/${view.id}`, alt: pictures[0].name || "" }));
  }

  function showFailures(failures) {
    const line = ([picture, sentence]) => h("li", {}, `${picture.name || ""} ${sentence}`.trim());
    results.replaceChildren(
      h("h3", {}, say("failed")),
      h("ul", {}, ...failures.slice(0, LONGEST_LIST).map(line), failures.length > LONGEST_LIST ? h("li", {}, "…") : ""),
    );
  }

  async function fetchOffer() {
    try {
      const answer = await fetch("/ask/upscalers", { signal: leaving.signal });
      if (!answer.ok) throw new Error(await sentenceOf(answer));
      return await answer.json();
    } catch (failure) {
      problem.textContent = failure.message || say("lost");
      return null;
    }
  }
}

/** Resolves after so many milliseconds, or when the signal comes. */
const pause = (time, signal) =>
  new Promise((resolve) => {
    setTimeout(resolve, time);
    signal.addEventListener("abort", resolve, { once: true });
  });

/** What an answer says of why there is no result: a sentence, or the `detail` of a refusal. */
async function sentenceOf(answer) {
  const text = await answer.text();
  try {
    return JSON.parse(text).detail || text;
  } catch {
    return text;
  }
}
