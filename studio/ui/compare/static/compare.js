/* The comparison: its pictures, two sliders and a pad that move over it, and what can be done with two of its
   cells. Finished cells are held by the page, so moving asks the server nothing; nothing in between is made up. */

import { storedPicture } from "../../generate/static/kept_picture.js";
import { fill, h } from "../../static/elements.js";
import { fieldProblems } from "../../static/problems.js";
import { runButtons, unanswered } from "../../static/run_buttons.js";
import { compareAxes } from "./axes.js";
import { compareCurve } from "./curve.js";
import { compareLook } from "./look.js";
import { compareProgress } from "./progress.js";
import { compareResults } from "./results.js";
import { greyUnusable } from "./unusable.js";
import { cellNote, cellSettings, differing } from "./words.js";

let hearOn = null; // the stage's ear for what the server answers to a wish

export function compare({ element, props, watch, trigger }) {
  const words = props.words;
  const say = (key, values) => fill(words[key], values);
  const tab = "compare";
  const WORKING = new Set(["sending", "queued", "loading", "running"]);
  const MODES = ["single", "divider", "side", "blink", "difference"];
  const GAINS = [1, 2, 4, 8];
  const HURRY = 150; // ms on an unfinished cell before it is asked for: sliding past it is no wish

  const look = compareLook({ words });
  let view = { state: "first", cells: [] };
  let at = { x: 0, y: 0 };
  let held = null; // A: a cell's index; B is the one under the sliders
  let before = null; // the finished cell that was looked at before this one
  let mode = "single";
  let earlier = null; // the comparison that was shown when Compare was pressed
  let asking = false; // one was asked for on this page: what the load of the page still answers is out of date
  let stopWanted = false;
  let hurried = null;
  let hurryTimer = null;
  const pictures = new Map(); // cell -> {id, image, ready}: finished ones, kept
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
    held: () => held,
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
  const hold = button("hold", words.pin, () => holdAt(index()));
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
  const tools = h("div", { class: "cmp-tools" }, modes, gains, hold, swap, zooms);

  const said = h("p", { class: "cmp-said", role: "status", "aria-live": "polite" });
  const results = compareResults({ words, button, view: () => view, cellAt, index, pictures, said, trigger });
  hearOn = (answer) => {
    results.hear(answer);
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
      h("div", { class: "cmp-side" }, axes.pad, line.element, line.progress),
    ),
    tools,
    h("div", { class: "cmp-told" }, differ, curve),
    chart,
    h("div", { class: "ls-foot" }, h("div", { class: "ls-words" }, caption, said), results.element),
  );
  element.replaceChildren(stage);

  // ------------------------------------------------------------------------------------------------ places

  function go(to) {
    const x = Math.max(0, Math.min((view.columns || 1) - 1, to.x));
    const y = Math.max(0, Math.min((view.rows || 1) - 1, to.y));
    if (x === at.x && y === at.y) return;
    if (pictures.has(index())) before = index();
    at = { x, y };
    stage.dataset.focus = index();
    draw();
    wish();
  }

  /** An unfinished cell that is looked at for a moment jumps the queue. */
  function wish() {
    clearTimeout(hurryTimer);
    if (!view.job || !WORKING.has(view.state)) return;
    const k = index();
    if (k === hurried || !["waiting", "running"].includes(cellAt(k).state)) return;
    hurryTimer = setTimeout(() => {
      hurried = k;
      trigger("hurry", { job: view.job, cell: k });
    }, HURRY);
  }

  // ----------------------------------------------------------------------------------------------- drawing

  /** What the look is given of a cell: its picture once that has come, else its newest preview. */
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
    stage.dataset.state = view.state;
    const desk = document.getElementById(`${tab}-desk`);
    if (desk) desk.dataset.run = WORKING.has(view.state) ? (stopWanted ? "stopping" : "running") : "idle";
    const there = view.cells.length > 0;
    stage.classList.toggle("cmp-empty", !there);
    const text = !there
      ? view.state === "first"
        ? words.first
        : view.state === "sending"
          ? words.sending
          : view.message
      : "";
    message.textContent = text;
    message.hidden = !text;
    look.view.hidden = !there;
    look.set(held !== null && there ? lookOf(held, "a") : null, there ? lookOf(index(), "b") : null);
    axes.draw();
    line.draw(view, stopWanted && WORKING.has(view.state));
    drawTools();
    caption.textContent = cellAt(index()).line || (view.cells.length ? settings(index()) : "");
    results.draw();
  }

  function drawTools() {
    tools.hidden = !view.cells.length;
    for (const choice of modes.children) choice.setAttribute("aria-pressed", String(choice.dataset.mode === mode));
    gains.hidden = mode !== "difference";
    swap.hidden = held === null || mode === "single";
    hold.hidden = mode === "single";
    const pair = held !== null && mode !== "single";
    differ.textContent = pair ? differing(view, held, index(), words, look.apart) : "";
    curve.hidden = !pair || held === index() || !pictures.has(held) || !pictures.has(index());
    if (chart.dataset.pair !== `${held} ${index()}`) {
      chart.hidden = true;
      curve.setAttribute("aria-expanded", "false");
    }
  }

  // ------------------------------------------------------------------------------------------------- A and B

  function setMode(next) {
    mode = next;
    if (mode !== "single" && held === null) holdAt(before !== null && before !== index() ? before : firstOther());
    look.mode(mode);
    draw();
  }
  /** Somewhere to begin: the finished cell furthest from this one. */
  function firstOther() {
    const far = (k) => Math.abs((k % view.columns) - at.x) + Math.abs(Math.floor(k / view.columns) - at.y);
    return [...pictures.keys()].reduce((best, k) => (far(k) > far(best) ? k : best), index());
  }
  function setGain(gain) {
    for (const choice of gains.children) choice.setAttribute("aria-pressed", String(+choice.dataset.gain === gain));
    look.gain(gain);
  }
  function holdAt(k) {
    held = k;
    draw();
  }
  function swapAB() {
    const k = held;
    held = index();
    at = { x: k % view.columns, y: Math.floor(k / view.columns) };
    stage.dataset.focus = k;
    draw();
  }
  function showCurve() {
    chart.hidden = !chart.hidden;
    curve.setAttribute("aria-expanded", String(!chart.hidden));
    if (chart.hidden) return;
    chart.dataset.pair = `${held} ${index()}`;
    compareCurve(chart, { job: view.job, cells: [held, index()], keep: records, words });
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
      a: () => held !== null && holdAt(index()),
    }[event.key];
    if (act && event.target.tagName !== "INPUT") act();
    if (event.key === "Home" || event.key === "End") {
      event.preventDefault();
      const end = event.key === "End" ? Infinity : 0;
      go(axes.isVertical(event.target) ? { x: at.x, y: end } : { x: end, y: at.y });
    }
  });
  // ------------------------------------------------------------------------------------------------- starting

  function sending() {
    stopWanted = false;
    clearProblems();
    asking = true;
    earlier = view.cells.length ? view : null;
    view = { ...(earlier || { cells: [] }), state: "sending", message: words.sending };
    said.textContent = "";
    draw();
  }
  /** The click is on its way to the studio. */
  function sent() {
    const mine = view;
    const lost = () => {
      view = insteadOfNothing({ state: "refused", cells: [], message: words.lost });
      draw();
    };
    unanswered(() => view === mine, lost);
  }
  /** What is not begun takes nothing off the stage: the comparison before stays, and what is wrong is said beside it. */
  function insteadOfNothing(next) {
    if (!earlier || next.job || next.cells.length) return next;
    said.textContent = [next.message, words.over].filter(Boolean).join(" ");
    return earlier;
  }
  function forget() {
    pictures.clear();
    previews.clear();
    records = new Map();
    held = before = hurried = null;
    chart.hidden = true;
    said.textContent = "";
    if (mode !== "single") setMode("single");
    look.fit();
  }
  function stop() {
    if (stopWanted) return;
    stopWanted = true;
    if (view.job) trigger("stop", { job: view.job });
    draw();
  }
  const root = () => document.getElementById(`${tab}-desk`) || document.body;
  const { markProblems, clearProblems } = fieldProblems({
    tab,
    root,
    elsewhere: () => (message.hidden ? said : message),
  });
  runButtons({
    tab,
    element: stage,
    working: () => WORKING.has(view.state),
    start: sending,
    sent,
    undo: () => ((view = earlier || { state: "first", cells: [] }), draw()),
    stop,
  });
  for (const field of root().querySelectorAll("textarea")) field.dir = "auto";

  // ------------------------------------------------------------------------------------------------ a new view

  function load(store, k, source, id) {
    const image = new Image();
    const entry = { id, src: source, image, ready: false };
    image.src = source;
    image.decode().then(
      () => {
        entry.ready = true;
        store.set(k, entry); // the one before stays until this one can be seen
        if (k === index() || k === held) draw();
      },
      () => store === pictures && pictures.delete(k),
    );
    if (!store.has(k)) store.set(k, entry);
  }

  function receive() {
    const next = props.value;
    if (!next?.state || (next.attached && asking)) return;
    if (next.job && next.job !== view.job) {
      forget();
      at = { x: Math.min(at.x, (next.columns || 1) - 1), y: Math.min(at.y, (next.rows || 1) - 1) };
      stage.dataset.focus = at.y * (next.columns || 1) + at.x;
    }
    const previous = view;
    view = insteadOfNothing(next);
    view.cells.forEach((cell, k) => {
      if (cell.id && (!pictures.has(k) || pictures.get(k).id !== cell.id))
        load(pictures, k, `/picture/${cell.id}`, cell.id);
      else if (cell.preview && (!previews.has(k) || previews.get(k).src !== cell.preview))
        load(previews, k, cell.preview);
    });
    if (!WORKING.has(view.state)) stopWanted = false;
    else if (stopWanted && !previous.job && view.job) trigger("stop", { job: view.job });
    draw();
    if (next.state === "invalid" && next.problems) markProblems(next.problems);
  }

  greyUnusable([`${tab}-x`, `${tab}-y`]);
  // The field of the picture that a comparison starts from is drawn when its fold is opened: so it is where there is one.
  storedPicture(`${tab}-image`).then(
    (kept) => kept && root().querySelector(".cmp-picture > .label-wrap:not(.open)")?.click(),
  );
  setGain(1);
  watch("value", receive);
  receive();
  draw();
}

/** What the server answers to a wish (kept, opened): said on the stage. Draws nothing itself. */
export function compareSaid({ props, watch }) {
  const hear = () => props.value && hearOn?.(props.value);
  watch("value", hear);
}
