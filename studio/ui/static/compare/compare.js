/* The comparison: a surface of pictures, two sliders and a pad that move over it, and what can be done with two of its
   cells. Finished cells are held by the page, so moving asks the server nothing; nothing in between is made up. */

import { fill, h, icon, shown } from "../elements.js";
import { compareCurve } from "./curve.js";
import { compareLook } from "./look.js";

let hearOn = null; // the stage's ear for what the server answers to a wish

export function compare({ element, props, watch, trigger }) {
  const words = props.words;
  const say = (key, values) => fill(words[key], values);
  const tab = "compare";
  const WORKING = new Set(["sending", "queued", "loading", "running"]);
  const MODES = ["single", "divider", "side", "blink", "difference"];
  const GAINS = [1, 2, 4, 8];
  const NO_ANSWER = 30000; // ms after which a click that nobody answered is called lost
  const DOUBLE_CLICK = 600; // ms during which the button that became Stop takes no click
  const HURRY = 150; // ms on an unfinished cell before it is asked for: sliding past it is no wish

  const look = compareLook({ words });
  let view = { state: "first", cells: [] };
  let at = { x: 0, y: 0 };
  let held = null; // A: a cell's index; B is the one under the sliders
  let before = null; // the finished cell that was looked at before this one
  let mode = "single";
  let earlier = null; // the comparison that was shown when Compare was pressed
  let stopWanted = false;
  let stopSince = 0;
  let hurried = null;
  let hurryTimer = null;
  const pictures = new Map(); // cell -> {id, image, ready}: finished ones, kept
  const previews = new Map(); // cell -> {src, image}
  let records = new Map();

  // ---------------------------------------------------------------------------------------------- elements

  const button = (name, text, onclick, attributes = {}) =>
    h("button", { class: "ls-button", type: "button", "data-act": name, onclick, ...attributes }, text);
  const status = h("span", { class: "ls-status", role: "status", "aria-live": "polite" });
  const right = h("span", { class: "ls-pace" });
  const bar = h("i");
  const progress = h(
    "div",
    { class: "ls-bar", role: "progressbar", "aria-valuemin": 0, "aria-label": words.label },
    bar,
  );
  const message = h("p", { class: "ls-message cmp-message" });
  const table = h("div", { class: "cmp-table" }, look.view, message);

  function axisSlider(name) {
    const range = h("input", { type: "range", min: 0, max: 0, step: 1, value: 0, class: "cmp-range" });
    const title = h("span", { class: "cmp-axis-name" });
    const value = h("output", { class: "cmp-axis-value" });
    const ticks = h("div", { class: "cmp-ticks", "aria-hidden": "true" });
    range.addEventListener("input", () =>
      go(name === "x" ? { x: +range.value, y: at.y } : { x: at.x, y: +range.value }),
    );
    return {
      range,
      title,
      value,
      ticks,
      node: h(
        "div",
        { class: `cmp-slider cmp-slider-${name}` },
        h("label", {}, title, value),
        h("div", { class: "cmp-track" }, range, ticks),
      ),
    };
  }
  const sliders = { x: axisSlider("x"), y: axisSlider("y") };
  const pad = h("div", { class: "cmp-pad", role: "group", tabindex: 0, "aria-label": words.pad });
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

  const link = (name, text, name_of_icon) =>
    h("a", { class: "ls-button", role: "button", "data-act": name }, icon(name_of_icon), text);
  const save = link("save", words.save, "save");
  const sheet = link("sheet", words.sheet, "save");
  const csv = link("csv", words.csv, "save");
  const keep = button("keep", words.keep, () => keepCells([index()]));
  const keepAll = button("keep-all", words.keep_all, () => keepCells([...pictures.keys()]));
  const copy = button("link", words.link, copyLink);
  const said = h("p", { class: "cmp-said", role: "status", "aria-live": "polite" });
  const actions = h("div", { class: "ls-actions" }, save, keep, keepAll, sheet, csv, copy);

  const stage = h(
    "section",
    { class: "cmp", "aria-label": words.label },
    h(
      "div",
      { class: "cmp-main" },
      sliders.y.node,
      table,
      sliders.x.node,
      h("div", { class: "cmp-side" }, pad, h("div", { class: "ls-line" }, status, right), progress),
    ),
    tools,
    h("div", { class: "cmp-told" }, differ, curve),
    chart,
    h("div", { class: "ls-foot" }, h("div", { class: "ls-words" }, caption, said), actions),
  );
  element.replaceChildren(stage);

  // ------------------------------------------------------------------------------------------------ places

  const index = () => at.y * (view.columns || 1) + at.x;
  const cellAt = (k) => view.cells[k] || { state: "waiting" };
  const settings = (k) => {
    if (!view.x) return "";
    const [x, y] = [k % view.columns, Math.floor(k / view.columns)];
    const parts = [`${view.x.name} ${view.x.labels[x]}`];
    if (view.y) parts.push(`${view.y.name} ${view.y.labels[y]}`);
    return parts.join(" · ");
  };

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
      note: image && cell.state !== "stopped" ? "" : note(cell),
    };
  }
  function note(cell) {
    if (cell.state === "impossible") return `${words.impossible}. ${cell.message}`;
    if (cell.state === "failed") return `${words["cell.failed"]}. ${cell.message}`;
    if (cell.state === "stopped") return words["cell.stopped"];
    if (cell.state === "running") return say("step", { index: cell.index || 0, total: cell.total || 0 });
    return cell.state === "waiting" && view.cells.length ? words.waiting : "";
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
    drawSliders();
    drawPad();
    drawLine();
    drawTools();
    drawFoot();
  }

  function drawSliders() {
    for (const name of ["x", "y"]) {
      const { range, title, value, ticks, node } = sliders[name];
      const axis = view[name];
      node.hidden = !axis;
      if (!axis) continue;
      range.max = axis.labels.length - 1;
      range.value = at[name];
      range.disabled = axis.labels.length < 2;
      title.textContent = axis.name;
      value.textContent = axis.labels[at[name]];
      range.setAttribute("aria-label", axis.name);
      range.setAttribute("aria-valuetext", `${axis.name} ${axis.labels[at[name]]}`);
      const marks = axis.labels.length <= 12 && axis.labels.every((label) => label.length <= 10) ? axis.labels : [];
      if (ticks.dataset.marks !== marks.join("\n")) {
        ticks.dataset.marks = marks.join("\n");
        ticks.replaceChildren(...marks.map((mark) => h("span", {}, mark)));
      }
      [...ticks.children].forEach((tick, k) => tick.classList.toggle("cmp-on", k === at[name]));
    }
  }

  function drawPad() {
    const count = view.cells.length;
    pad.hidden = !count;
    pad.style.setProperty("--columns", view.columns || 1);
    pad.style.setProperty("--rows", view.rows || 1);
    while (pad.children.length > count) pad.lastChild.remove();
    while (pad.children.length < count)
      pad.append(h("span", { class: "cmp-cell" }, h("img", { alt: "", hidden: true, draggable: "false" }), h("i")));
    view.cells.forEach((cell, k) => {
      const node = pad.children[k];
      const image = node.firstChild;
      const source = cell.id ? `/thumbnail/${cell.id}` : cell.preview || "";
      if (node.dataset.source !== source) {
        node.dataset.source = source;
        image.hidden = !source;
        if (source) image.src = source;
      }
      node.dataset.state = cell.state;
      node.classList.toggle("cmp-here", k === index());
      node.classList.toggle("cmp-held", k === held);
      node.style.setProperty(
        "--share",
        cell.state === "running" ? (cell.index || 0) / Math.max(1, cell.total || 1) : 0,
      );
      node.title = say("cell", { settings: settings(k), state: words[`state.${cell.state}`] });
    });
    pad.setAttribute(
      "aria-description",
      count ? say("cell", { settings: settings(index()), state: words[`state.${cellAt(index()).state}`] }) : "",
    );
  }

  function drawLine() {
    const done = view.cells.filter((cell) => cell.state === "finished").length;
    const count = view.possible || 0;
    const ended = ["finished", "stopped"].includes(view.state);
    if (stopWanted && WORKING.has(view.state)) status.textContent = words.stopping;
    else if (view.state === "running") status.textContent = say("ready", { done, count });
    else status.textContent = view.cells.length || ended ? view.message || "" : "";
    right.textContent = view.state === "running" ? view.left || "" : "";
    const share =
      view.state === "loading"
        ? view.fraction || 0
        : count
          ? view.cells.reduce(
              (sum, cell) =>
                sum +
                (cell.state === "running"
                  ? (cell.index || 0) / Math.max(1, cell.total || 1)
                  : ["finished", "failed"].includes(cell.state)
                    ? 1
                    : 0),
              0,
            ) / count
          : 0;
    bar.style.transform = `scaleX(${share})`;
    progress.setAttribute("aria-valuemax", Math.max(1, count));
    progress.setAttribute("aria-valuenow", done);
    progress.hidden = !view.cells.length && view.state !== "loading";
  }

  function drawTools() {
    tools.hidden = !view.cells.length;
    for (const choice of modes.children) choice.setAttribute("aria-pressed", String(choice.dataset.mode === mode));
    gains.hidden = mode !== "difference";
    swap.hidden = held === null || mode === "single";
    hold.hidden = mode === "single";
    const pair = held !== null && mode !== "single";
    differ.textContent = pair ? differing() : "";
    curve.hidden = !pair || held === index() || !pictures.has(held) || !pictures.has(index());
    if (chart.dataset.pair !== `${held} ${index()}`) {
      chart.hidden = true;
      curve.setAttribute("aria-expanded", "false");
    }
  }

  /** The settings in which A and B differ, named, and how far their pictures are apart. */
  function differing() {
    const k = index();
    if (k === held) return words.same;
    const parts = [];
    for (const [name, of] of [
      ["x", (c) => c % view.columns],
      ["y", (c) => Math.floor(c / view.columns)],
    ]) {
      const axis = view[name];
      if (axis && of(held) !== of(k))
        parts.push(say("differ", { name: axis.name, a: axis.labels[of(held)], b: axis.labels[of(k)] }));
    }
    const apart = look.apart();
    if (apart) parts.push(say("mean", { mean: apart.mean.toFixed(1), most: apart.most }));
    return parts.join(" · ");
  }

  function drawFoot() {
    const cell = cellAt(index());
    caption.textContent = cell.line || (view.cells.length ? settings(index()) : "");
    const done = pictures.size > 0;
    save.hidden = keep.hidden = cell.state !== "finished";
    if (cell.id) save.href = `/picture/${cell.id}?download=1`;
    keep.disabled = kept.has(cell.id);
    keepAll.hidden = sheet.hidden = csv.hidden = !done;
    if (view.job) {
      sheet.href = `/sheet/${view.job}.png`;
      csv.href = `/sheet/${view.job}.csv`;
    }
    copy.hidden = !view.link;
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

  // --------------------------------------------------------------------------------------------- taking away

  const kept = new Set();
  function keepCells(cells) {
    const ids = cells.map((k) => cellAt(k).id).filter((id) => id && !kept.has(id));
    if (ids.length) trigger("keep", { pictures: ids });
  }
  hearOn = (answer) => {
    for (const id of answer.kept || []) kept.add(id);
    if (answer.message) said.textContent = answer.message;
    draw();
  };
  async function copyLink() {
    const address = `${location.origin}${location.pathname}?${new URLSearchParams(view.link)}`;
    try {
      await navigator.clipboard.writeText(address);
      said.textContent = words.linked;
    } catch {
      said.replaceChildren(h("a", { href: address }, address)); // no clipboard on plain http: the link itself, to be copied by hand
    }
    said.dataset.address = address;
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
      go(event.target === sliders.y.range ? { x: at.x, y: end } : { x: end, y: at.y });
    }
  });
  function padAt(event) {
    const box = pad.getBoundingClientRect();
    go({
      x: Math.floor(((event.clientX - box.left) / box.width) * view.columns),
      y: Math.floor(((event.clientY - box.top) / box.height) * view.rows),
    });
  }
  pad.addEventListener("pointerdown", (event) => {
    pad.setPointerCapture(event.pointerId);
    padAt(event);
  });
  pad.addEventListener("pointermove", (event) => {
    if (event.buttons) padAt(event);
  });

  // ------------------------------------------------------------------------------------------------- starting

  function sending() {
    stopSince = performance.now();
    stopWanted = false;
    clearProblems();
    earlier = view.cells.length ? view : null;
    view = { ...(earlier || { cells: [] }), state: "sending", message: words.sending };
    said.textContent = "";
    const mine = view;
    setTimeout(() => {
      if (view !== mine) return;
      view = insteadOfNothing({ state: "refused", cells: [], message: words.lost });
      draw();
    }, NO_ANSWER);
    draw();
    if (stage.getBoundingClientRect().top < 0) stage.scrollIntoView({ block: "start" });
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
    if (!WORKING.has(view.state) || stopWanted || performance.now() - stopSince < DOUBLE_CLICK) return;
    stopWanted = true;
    if (view.job) trigger("stop", { job: view.job });
    draw();
  }
  const root = () => document.getElementById(`${tab}-desk`) || document.body;
  function clearProblems() {
    for (const old of root().querySelectorAll(".ls-problem")) old.remove();
    for (const block of root().querySelectorAll(".ls-has-problem")) block.classList.remove("ls-has-problem");
  }
  function markProblems(problems, folded = true) {
    clearProblems();
    const blockOf = (problem) => document.getElementById(`${tab}-${problem.field}`);
    const folds = [...root().querySelectorAll(".ls-fold > button.label-wrap:not(.open)")];
    if (folded && folds.length && !problems.every(blockOf)) {
      folds.forEach((fold) => fold.click()); // Gradio draws a fold's fields when it is opened
      setTimeout(() => markProblems(problems, false), 200);
      return;
    }
    const rest = [];
    for (const problem of problems) {
      const block = blockOf(problem);
      if (!block) rest.push(`${problem.field}: ${problem.message}`);
      else {
        block.classList.add("ls-has-problem");
        block.append(h("p", { class: "ls-problem", role: "alert" }, problem.message));
      }
    }
    if (rest.length) (message.hidden ? said : message).append(h("span", { class: "ls-also" }, ` ${rest.join(" ")}`));
  }
  document.addEventListener(
    "click",
    (event) => {
      if (event.target.closest(`#${tab}-generate`)) {
        if (WORKING.has(view.state)) event.stopImmediatePropagation();
        else sending();
      }
      if (event.target.closest(`#${tab}-stop`)) stop();
    },
    true,
  );
  document.addEventListener("keydown", (event) => {
    if (!shown(stage)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const start = document.getElementById(`${tab}-generate`);
      if (start && !WORKING.has(view.state)) {
        event.preventDefault();
        requestAnimationFrame(() => start.click());
      }
    } else if (event.key === "Escape" && WORKING.has(view.state)) {
      event.preventDefault();
      stop();
    }
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
    if (!next?.state) return;
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
