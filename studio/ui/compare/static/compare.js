/* The comparison: its pictures, the two sliders and the pad that move over it, and the tools for two of its cells.
   The page holds the finished cells, so moving sends no request. Every picture is a computed one; nothing is
   interpolated. */

import { storedPicture } from "../../generate/static/stored_picture.js";
import { fill, h, sentencesText } from "../../static/elements.js";
import { fieldProblems } from "../../static/problems.js";
import { afterNoAnswer, runButtons, showKeys } from "../../static/run_buttons.js";
import { compareAxes } from "./axes.js";
import { compareCurve } from "./curve.js";
import { compareLook } from "./look.js";
import { compareProgress } from "./progress.js";
import { compareResults } from "./results.js";
import { sampleComparison } from "./sample.js";
import { greyUnusable } from "./unusable.js";
import { cellNote, cellSettings, differenceText } from "./words.js";

let answerListener = null; // takes the server's answers for the stage

export function compare({ element, props, watch, trigger }) {
  const words = props.words;
  const say = (key, values) => fill(words[key], values);
  const tab = "compare";
  const ACTIVE_STATES = new Set(["sending", "queued", "loading", "running"]);
  const MODES = ["single", "divider", "side", "blink", "difference"];
  const GAINS = [1, 2, 4, 8];
  // Ms on an unfinished cell before the page asks for it first; sliding past does not count
  const PRIORITIZE_AFTER = 150;

  const look = compareLook({ words });
  let view = { state: "first", cells: [] };
  let at = { x: 0, y: 0 };
  let reference = null; // A: a cell's index; B is the one under the sliders
  let before = null; // the finished cell under the sliders before this one
  let mode = "single";
  let earlier = null; // the comparison on the stage when Compare was pressed
  let hasRequest = false; // this page has asked for a comparison; what the page's load still answers is out of date
  let stopRequested = false;
  let urgentCell = null;
  let priorityTimer = null;
  let axesOfRun = ""; // what stood in the form for the axes at the last request
  let firstCell = null; // the cell that the next comparison shall begin with, when something names one
  const pictures = new Map(); // cell -> {id, image, ready}, finished pictures
  const previews = new Map(); // cell -> {src, image}
  let records = new Map();

  // ---------------------------------------------------------------------------------------------- elements

  const button = (name, text, onclick, attributes = {}) =>
    h("button", { class: "ls-button", type: "button", "data-act": name, onclick, ...attributes }, text);
  const line = compareProgress({ words, say });
  const message = h("p", { class: "ls-message cmp-message" });
  const table = h("div", { class: "cmp-table" }, look.view, message);

  const index = () => at.y * (view.columns || 1) + at.x;
  const cellAt = (k) => view.cells[k] || { state: "waiting" };
  const settings = (k) => cellSettings(view, k);

  const axes = compareAxes({
    words,
    say,
    view: () => view,
    at: () => at,
    index,
    reference: () => reference,
    cellAt,
    settings,
    go,
  });
  const caption = h("p", { class: "ls-caption", dir: "auto" });

  const modes = h(
    "div",
    { class: "cmp-modes", role: "group", "aria-label": words["mode.label"] },
    ...MODES.map((name) =>
      h("button", { type: "button", "data-mode": name, onclick: () => setMode(name) }, words[`mode.${name}`]),
    ),
  );
  const gains = h(
    "div",
    { class: "cmp-modes cmp-gains", role: "group", "aria-label": words["mode.difference"] },
    ...GAINS.map((gain) =>
      h(
        "button",
        { type: "button", "data-gain": gain, "aria-label": say("gain", { gain }), onclick: () => setGain(gain) },
        `×${gain}`,
      ),
    ),
  );
  const referenceButton = button("reference", words.pin, () => setReference(index()));
  const swap = button("swap", words.swap, swapAB);
  const zooms = h(
    "div",
    { class: "cmp-zooms" },
    button("out", "−", () => look.zoomBy(0.5), { "aria-label": words["zoom.out"] }),
    button("fit", words["zoom.fit"], () => look.fit()),
    button("in", "+", () => look.zoomBy(2), { "aria-label": words["zoom.in"] }),
  );
  const differ = h("p", { class: "cmp-differ", role: "status" });
  const chart = h("div", { class: "cmp-curve", hidden: true });
  const curve = button("curve", words.curve, showCurve);
  const tools = h("div", { class: "cmp-tools" }, modes, gains, referenceButton, swap, zooms);

  const status = h("p", { class: "cmp-status", role: "status", "aria-live": "polite" });
  const results = compareResults({
    words,
    button,
    view: () => view,
    cellAt,
    index,
    pictures,
    status,
    trigger,
    runAgain,
  });
  answerListener = (answer) => {
    if (Number.isInteger(answer.focus)) firstCell = answer.focus;
    results.showAnswer(answer);
    if (answer.problems) markProblems(answer.problems);
    draw();
  };

  const stage = h(
    "section",
    { class: "cmp", "aria-label": words.label },
    h(
      "div",
      { class: "cmp-main" },
      axes.vertical,
      table,
      axes.horizontal,
      h("div", { class: "cmp-side" }, axes.map, line.element, line.progress),
    ),
    tools,
    h("div", { class: "cmp-differences" }, differ, curve),
    chart,
    h("div", { class: "ls-foot" }, h("div", { class: "ls-words" }, caption, status), results.element),
  );
  element.replaceChildren(stage);

  // ------------------------------------------------------------------------------------------------ places

  function go(to) {
    const x = Math.max(0, Math.min((view.columns || 1) - 1, to.x));
    const y = Math.max(0, Math.min((view.rows || 1) - 1, to.y));
    if (x === at.x && y === at.y) return;
    if (pictures.has(index())) before = index();
    at = { x, y };
    draw();
    prioritize();
  }

  /** The page asks for an unfinished cell first when it stays under the sliders for a moment. */
  function prioritize() {
    clearTimeout(priorityTimer);
    if (!view.job || !ACTIVE_STATES.has(view.state)) return;
    const k = index();
    if (k === urgentCell || !["waiting", "running"].includes(cellAt(k).state)) return;
    priorityTimer = setTimeout(() => {
      urgentCell = k;
      trigger("prioritize", { job: view.job, cell: k });
    }, PRIORITIZE_AFTER);
  }

  // ----------------------------------------------------------------------------------------------- drawing

  /** What the view gets of a cell: its picture when that is there, else its newest preview. */
  function lookOf(k, letter) {
    const cell = cellAt(k);
    const done = pictures.get(k);
    const tag = mode === "single" ? "" : `${words[letter]} · ${settings(k)}`;
    if (done?.ready)
      return { id: done.id, image: done.image, width: done.image.naturalWidth, height: done.image.naturalHeight, tag };
    const preview = previews.get(k);
    const image = preview?.ready ? preview.image : null;
    const size = image ? { width: image.naturalWidth, height: image.naturalHeight } : {};
    return {
      image,
      ...size,
      tag,
      live: cell.state === "running",
      note: image && cell.state !== "stopped" ? "" : cellNote(cell, words, view.cells.length > 0),
    };
  }
  function draw() {
    showKeys(tab, words);
    stage.dataset.state = view.state;
    workspace().dataset.run = ACTIVE_STATES.has(view.state) ? (stopRequested ? "stopping" : "running") : "idle";
    const hasCells = view.cells.length > 0;
    stage.classList.toggle("cmp-empty", !hasCells);
    const text = !hasCells
      ? view.state === "first"
        ? words.first
        : view.state === "sending"
          ? words.sending
          : view.message
      : "";
    message.textContent = text;
    message.hidden = !text;
    look.view.hidden = !hasCells;
    look.set(reference !== null && hasCells ? lookOf(reference, "a") : null, hasCells ? lookOf(index(), "b") : null);
    axes.draw();
    line.draw(view, stopRequested && ACTIVE_STATES.has(view.state));
    drawTools();
    caption.textContent = cellAt(index()).line || (view.cells.length ? settings(index()) : "");
    results.draw();
  }

  function drawTools() {
    tools.hidden = !view.cells.length;
    for (const choice of modes.children) choice.setAttribute("aria-pressed", String(choice.dataset.mode === mode));
    gains.hidden = mode !== "difference";
    swap.hidden = reference === null || mode === "single";
    referenceButton.hidden = mode === "single";
    const pair = reference !== null && mode !== "single";
    differ.textContent = pair ? differenceText(view, reference, index(), words, look.apart) : "";
    curve.hidden = !view.job || !pair || reference === index() || !pictures.has(reference) || !pictures.has(index());
    if (chart.dataset.pair !== `${reference} ${index()}`) {
      chart.hidden = true;
      curve.setAttribute("aria-expanded", "false");
    }
  }

  // ------------------------------------------------------------------------------------------------- A and B

  function setMode(next) {
    mode = next;
    if (mode !== "single" && reference === null)
      setReference(before !== null && before !== index() ? before : firstOther());
    look.mode(mode);
    draw();
  }
  /** A first choice for A: the finished cell that is furthest from this one. */
  function firstOther() {
    const far = (k) => Math.abs((k % view.columns) - at.x) + Math.abs(Math.floor(k / view.columns) - at.y);
    return [...pictures.keys()].reduce((best, k) => (far(k) > far(best) ? k : best), index());
  }
  function setGain(gain) {
    for (const choice of gains.children) choice.setAttribute("aria-pressed", String(+choice.dataset.gain === gain));
    look.gain(gain);
  }
  function setReference(k) {
    reference = k;
    draw();
  }
  function swapAB() {
    const k = reference;
    reference = index();
    at = { x: k % view.columns, y: Math.floor(k / view.columns) };
    draw();
  }
  function showCurve() {
    chart.hidden = !chart.hidden;
    curve.setAttribute("aria-expanded", String(!chart.hidden));
    if (chart.hidden) return;
    chart.dataset.pair = `${reference} ${index()}`;
    compareCurve(chart, { job: view.job, cells: [reference, index()], keep: records, words });
  }

  // ------------------------------------------------------------------------------------------------- moving

  const STEPS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };
  stage.addEventListener("keydown", (event) => {
    if (event.altKey || event.ctrlKey || event.metaKey || event.target.closest(".cmp-divider")) return;
    const step = STEPS[event.key];
    if (step && view.cells.length) {
      event.preventDefault();
      return go({ x: at.x + step[0], y: at.y + step[1] });
    }
    const act = {
      "+": () => look.zoomBy(2),
      "=": () => look.zoomBy(2),
      "-": () => look.zoomBy(0.5),
      0: () => look.fit(),
      a: () => reference !== null && setReference(index()),
    }[event.key];
    if (act && event.target.tagName !== "INPUT") act();
    if (event.key === "Home" || event.key === "End") {
      event.preventDefault();
      const end = event.key === "End" ? Infinity : 0;
      go(axes.isVertical(event.target) ? { x: at.x, y: end } : { x: end, y: at.y });
    }
  });
  // ------------------------------------------------------------------------------------------------- starting

  function showSending() {
    stopRequested = false;
    clearProblems();
    hasRequest = true;
    earlier = view.cells.length ? view : null;
    // The same axes again begin where they were left; others begin where the studio says.
    const axesNow = ["x", "x_values", "y", "y_values"].map(fieldValue).join("\n");
    const first = firstCell ?? (view.job && axesNow === axesOfRun ? index() : null);
    stage.dataset.focus = first ?? "";
    axesOfRun = axesNow;
    firstCell = null;
    view = { ...(earlier || { cells: [] }), state: "sending", message: words.sending, interrupted: false };
    status.textContent = "";
    draw();
  }
  /** The click goes to the studio. */
  function watchAnswer() {
    const requestView = view;
    const showLost = () => {
      view = orEarlier({ state: "refused", cells: [], message: words.lost });
      draw();
    };
    afterNoAnswer(() => view === requestView, showLost);
  }
  function runAgain() {
    const job = view.job;
    showSending();
    watchAnswer();
    trigger("again", { job });
  }
  /** A comparison that cannot begin replaces nothing: the earlier one stays, and the reason is written beside it. */
  function orEarlier(next) {
    if (!earlier || next.job || next.cells.length) return next;
    status.textContent = sentencesText([next.message, words.over]);
    return earlier;
  }
  function forget() {
    pictures.clear();
    previews.clear();
    records = new Map();
    reference = before = urgentCell = null;
    chart.hidden = true;
    status.textContent = "";
    if (mode !== "single") setMode("single");
    look.fit();
  }
  function stop() {
    if (stopRequested) return;
    stopRequested = true;
    if (view.job) trigger("stop", { job: view.job });
    draw();
  }
  const fieldValue = (name) => document.querySelector(`#${tab}-${name} :is(input, textarea)`)?.value;
  const workspace = () => document.getElementById(`${tab}-workspace`) || document.body;
  const { markProblems, clearProblems } = fieldProblems({
    tab,
    workspace,
    otherPlace: () => (message.hidden ? status : message),
  });
  runButtons({
    tab,
    element: stage,
    isActive: () => ACTIVE_STATES.has(view.state),
    start: showSending,
    onSend: watchAnswer,
    undo: () => ((view = earlier || { state: "first", cells: [] }), draw()),
    stop,
  });
  for (const field of workspace().querySelectorAll("textarea")) field.dir = "auto";

  // ------------------------------------------------------------------------------------------------ a new view

  function load(store, k, source, id) {
    const image = new Image();
    const entry = { id, src: source, image, ready: false };
    image.src = source;
    image.decode().then(
      () => {
        entry.ready = true;
        store.set(k, entry); // the earlier image stays until this one can be shown
        if (k === index() || k === reference) draw();
      },
      () => store === pictures && pictures.delete(k),
    );
    if (!store.has(k)) store.set(k, entry);
  }

  function receive() {
    const next = props.value;
    if (!next?.state || (next.attached && hasRequest)) return;
    if (next.state === "first" && view.state === "sample") return;
    if (next.job && next.job !== view.job) {
      forget();
      const columns = next.columns || 1;
      at = Number.isInteger(next.focus)
        ? { x: next.focus % columns, y: Math.floor(next.focus / columns) }
        : { x: Math.min(at.x, columns - 1), y: Math.min(at.y, (next.rows || 1) - 1) };
    }
    const previous = view;
    view = orEarlier(next);
    view.cells.forEach((cell, k) => {
      if (cell.id && (!pictures.has(k) || pictures.get(k).id !== cell.id))
        load(pictures, k, `/picture/${cell.id}`, cell.id);
      else if (cell.preview && (!previews.has(k) || previews.get(k).src !== cell.preview))
        load(previews, k, cell.preview);
    });
    if (!ACTIVE_STATES.has(view.state)) stopRequested = false;
    else if (stopRequested && !previous.job && view.job) trigger("stop", { job: view.job });
    draw();
    if (next.state === "invalid" && next.problems) markProblems(next.problems);
  }

  greyUnusable([`${tab}-x`, `${tab}-y`]);
  // Gradio draws the field of the starting picture when its fold opens. So the fold opens when a stored picture has to
  // go there.
  storedPicture(`${tab}-image`).then(
    (picture) => picture && workspace().querySelector(".cmp-picture > .label-wrap:not(.open)")?.click(),
  );
  // The sample of a first visit is fetched when the tab comes in sight and has nothing else to show; it does not stand
  // beside the settings of a link.
  const isFirstVisit = () =>
    view.state === "first" && !fieldValue("prompt") && !new URLSearchParams(location.search).has("x_values");
  async function showSample() {
    const sample = isFirstVisit() && props.sample ? await sampleComparison(props.sample, words) : null;
    if (!sample || !isFirstVisit()) return;
    view = sample;
    at = { x: sample.focus % sample.columns, y: Math.floor(sample.focus / sample.columns) };
    sample.cells.forEach((cell, k) => load(pictures, k, cell.src, cell.src));
    draw();
  }
  new IntersectionObserver((entries, observer) => {
    if (!entries.some((entry) => entry.isIntersecting)) return;
    observer.disconnect();
    showSample();
  }).observe(stage);
  setGain(1);
  watch("value", receive);
  receive();
  draw();
}

/** Shows the server's answers to Keep and to links on the stage. Draws nothing itself. */
export function compareStatus({ props, watch }) {
  const showAnswer = () => props.value && answerListener?.(props.value);
  watch("value", showAnswer);
  showAnswer(); // what a link was refused for may be there before this script
}
