/* The noise viewer: one recorded run, evaluation by evaluation. A live run is the replay of a growing record.

   A panel is one file in viewer/. Its `panel` is {name, place, build(context)}, and viewer/panels.js lists it. build
   returns {element, draw(at, total), available(record)}. `place` is "head", "way", "stage", "aside", "under" or "deeper"; a
   deeper panel is a tab of expert mode and is drawn only while it is open. A panel that stands `alone` needs no run.
   Panels change `context.state` through `context.set`, which draws everything again. Only a new run sends a request. */

import { fill, h, icon, isStill, isVisible, showFailure } from "../../static/elements.js";
import { journey } from "../../static/journey.js";
import { hasLetterKeys } from "../../static/shortcuts.js";
import { forget, remember, stateFromAddress, storedSettings } from "./address.js";
import { Decodings } from "./decoded.js";
import { factsOf, levelOf, recordingNote } from "./facts.js";
import { Painter } from "./painter.js";
import { PANELS } from "./panels.js";
import { buildPlayer } from "./player.js";
import { runFollower } from "./run_follower.js";
import { panelTabs } from "./tabs.js";

export function viewer({ element, props, watch, trigger }) {
  const say = (key, values) => fill(props.words[key], values);
  const REST = 400; // ms without a move before an evaluation that came in eight bits is fetched in full precision
  const FINER = 150; // ms without a move before large pictures are drawn with all their pixels where no GPU is
  const STAY = 5000; // ms during which the newest run does not replace one that a stage has sent here
  const SPEEDS = [0.25, 0.5, 1, 2, 4];

  const HOWS = props.panels.includes("branches")
    ? ["fast", "tiny", "vae", "channels", "cells"]
    : ["fast", "channels", "cells"]; // a replay has only the fast decoder

  const first = {
    mode: "beginner",
    calm: true, // whether noise is drawn with less contrast (calm.js)
    machine: true, // whether the drawing at the head is unfolded
    language: props.language ?? window.studioLanguage.language,
    how: "fast",
    panes: ["x_t", "denoised", "noise_pred"],
    open: "guidance",
    speed: 1,
    loop: false,
    follow: true,
    guidance: null, // what-if guidance scale; null is the run's own
  };
  const state = { ...first, ...storedSettings(), ...stateFromAddress({ hows: HOWS, panels: props.panels }) };
  const context = {
    say,
    h,
    props,
    state,
    record: null,
    index: 0,
    cell: null,
    painter: new Painter(),
    go,
    set,
    draw,
    point,
    caption,
    trigger,
    measuresLoss: true,
  };
  context.show = show;
  // Whether the studio can be asked about this run: a replay has no studio, and the sample's run is in no studio.
  Object.defineProperty(context, "online", {
    get: () => props.panels.includes("branches") && !context.record?.isSample,
  });
  // A replay page has the answers that its file holds, and makes no runs.
  context.isReplay = !props.panels.includes("branches");
  /** Whether a question about this run is answered here. */
  context.answers = (name) => context.online || (context.isReplay && !!props.answers?.includes(name));
  context.decodings = new Decodings(context);
  context.isLocked = (field) => (context.value().locked || []).includes(field); // by the owner, for a guest
  context.checkpoint = () => context.record?.run?.checkpoint || context.value().checkpoint || "";

  const panels = props.panels.map((name) => {
    const { build, place, alone = false } = PANELS.find((panel) => panel.name === name);
    return { name, place, alone, available: () => true, ...attempt(name, null, () => build(context), unbuilt) };
  });
  /** The result of an act of a panel. If it fails, the panel's place says so, and the others go on. */
  function attempt(name, place, act, otherwise = () => undefined) {
    try {
      return act();
    } catch (error) {
      console.error(`viewer, ${name}:`, error);
      const result = otherwise();
      showFailure(place || result.element, say("panel.failed"));
      return result;
    }
  }
  function unbuilt() {
    return { element: h("section", { class: "ls-panel" }), draw: () => {} };
  }
  const elementsOf = (place) => panels.filter((panel) => panel.place === place).map((panel) => panel.element);
  const deeper = panels.filter((panel) => panel.place === "deeper");
  const run = () => (context.record?.evaluations.length ? context.record : null);
  const usable = (panel) => (run() ? panel.available(context.record) : panel.alone);
  /** The deeper panel in front: the chosen one, or the first while the chosen one has nothing to show yet. The
      choice itself stays, so that a run that is still loading (after a reload, a branch) does not lose it. */
  const front = () => deeper.find((panel) => panel.name === state.open && usable(panel)) || deeper.find(usable);

  /* -------------------------------------------------------------------------------------------- the frame */

  const buttons = {
    first: step("first", "first", () => walk(0)),
    previous: step("previous", "previous", () => walk(context.index - 1)),
    play: step("play", "play", () => player.play()),
    next: step("next", "next", () => walk(context.index + 1)),
    last: step("last", "last_evaluation", () => walk(Infinity)),
  };
  const where = h("p", { class: "ls-where", role: "status", title: say("evaluation.what") });
  const level = h("p", { class: "ls-level", title: say("level.what") });
  const speed = h("select", {
    class: "ls-choice",
    "aria-label": say("speed"),
    title: say("speed"),
    onchange: () => set({ speed: Number(speed.value) }),
  });
  speed.append(...SPEEDS.map((value) => h("option", { value }, say("speed.times", { value }))));
  const loop = toggle("loop", () => set({ loop: !state.loop }));
  const live = toggle("follow", () => {
    set({ follow: !state.follow });
    if (state.follow) go(Infinity);
  });
  const hows = picks("decoder", HOWS, "how", (how) => set({ how }));
  const modes = picks("mode", ["beginner", "expert"], "mode", (mode) => set({ mode }));
  // The page has a switch of its own; a replay has only this one.
  const languages = picks("language", props.languages ?? [], "language", (name) => {
    location.search = `?language=${name}`;
  });
  const empty = h("p", { class: "ls-empty-note", role: "status" });
  const title = h("p", { class: "ls-run", dir: "auto" });
  const facts = h("p", { class: "ls-run-facts" });
  const head = h(
    "div",
    { class: "ls-viewer-head" },
    h("div", { class: "ls-run-line" }, title, facts),
    props.languages ? languages.element : null,
    modes.element,
  );
  // About the recording of a large run
  const recordingLine = h("p", { class: "ls-note ls-recording-note", role: "status", hidden: true });
  const transport = h(
    "div",
    { class: "ls-transport" },
    h("div", { class: "ls-steps" }, ...Object.values(buttons)),
    where,
    level,
    h("div", { class: "ls-transport-more" }, speed, loop, live),
  );
  const sticky = h("div", { class: "ls-sticky" }, transport, ...elementsOf("way"));
  const aside = h("div", { class: "ls-aside" }, ...elementsOf("aside"));
  const main = h(
    "div",
    { class: "ls-main" },
    h(
      "div",
      { class: "ls-stage-side" },
      ...elementsOf("stage"),
      h("div", { class: "ls-tools" }, hows.element, ...panels.map((panel) => panel.tools)),
    ),
    aside,
  );
  const { tabs, tabPanels, drawTabs } = panelTabs({ deeper, say, front, usable, open: (name) => set({ open: name }) });
  const more = h(
    "div",
    { class: "ls-more-to-see" },
    caption("more"),
    h("button", { class: "ls-button", type: "button", onclick: () => set({ mode: "expert" }) }, say("more")),
  );
  const below = h("section", { class: "ls-deeper", "aria-label": say("deeper") }, tabs, tabPanels);
  const body = h(
    "div",
    { class: "ls-viewer-body" },
    ...elementsOf("head"),
    head,
    recordingLine,
    empty,
    sticky,
    main,
    ...elementsOf("under"),
    more,
    below,
  );
  const viewer = h("section", { class: "ls-viewer", "aria-label": say("timeline") }, body);
  viewer.painter = context.painter;
  element.replaceChildren(viewer);

  const player = buildPlayer({ context, button: buttons.play });

  function step(name, word, onclick) {
    return h(
      "button",
      { class: "ls-round", type: "button", onclick, "aria-label": say(word), title: say(word) },
      icon(name),
    );
  }
  function toggle(name, onclick) {
    return h("button", { class: "ls-pick", type: "button", onclick, title: say(`${name}.help`) }, say(name));
  }
  function picks(word, names, key, choose) {
    const buttons = names.map((name) =>
      h(
        "button",
        {
          class: "ls-pick",
          type: "button",
          [`data-${key}`]: name,
          title: props.words[`how.what.${name}`] ?? null,
          onclick: () => choose(name),
        },
        say(`${word}.${name}`),
      ),
    );
    return {
      element: h(
        "div",
        { class: `ls-picks ls-picks-${word}`, role: "group", "aria-label": say(word) },
        h("span", {}, say(word)),
        ...buttons,
      ),
      buttons,
      key,
    };
  }
  function drawPicks({ buttons, key }) {
    for (const button of buttons)
      button.setAttribute("aria-pressed", String(button.getAttribute(`data-${key}`) === state[key]));
  }

  /** One sentence for newcomers. */
  function caption(key) {
    return h("p", { class: "ls-gloss", "data-caption": key });
  }
  function drawCaptions() {
    for (const line of viewer.querySelectorAll("[data-caption]")) {
      line.textContent = props.captions[state.language][line.dataset.caption];
    }
  }

  /* -------------------------------------------------------------------------------------- where it stands */

  function set(changes) {
    Object.assign(state, changes);
    draw();
  }
  /** Shows the latent cell under the pointer on all panes; null hides it. */
  function point(cell) {
    const same = context.cell?.x === cell?.x && context.cell?.y === cell?.y;
    context.cell = cell;
    if (!same) for (const panel of visible()) panel.onPoint?.(cell);
  }
  /** Opens a panel, wherever it is. */
  function show(name) {
    const panel = panels.find((one) => one.name === name);
    if (!panel) return; // a replay page lacks some
    if (panel.place === "deeper") set({ mode: "expert", open: name });
    panel.element.scrollIntoView({ block: "nearest", behavior: isStill() ? "auto" : "smooth" });
  }

  function go(index) {
    const record = context.record;
    if (!record?.evaluations.length) return;
    context.index = Math.max(0, Math.min(record.evaluations.length - 1, index));
    draw();
  }
  /** Moves because a person asked. The viewer no longer follows the run then, unless they went to its newest
      evaluation. */
  function walk(index) {
    if (!context.record) return;
    state.follow = index >= context.record.evaluations.length - 1;
    go(index);
  }
  context.walk = walk;

  /* -------------------------------------------------------------------------------------------- drawing */

  const visible = () =>
    panels.filter((panel) => (panel.place === "deeper" ? state.mode === "expert" && panel === front() : run()));

  let [recordHere, indexHere, finerTimer] = [null, -1, null]; // what was drawn last
  function draw() {
    const record = run();
    viewer.dataset.mode = state.mode;
    viewer.dataset.run = record ? "there" : "none";
    empty.hidden = !!record;
    for (const group of [modes, languages]) drawPicks(group);
    const total = record
      ? record.run.kept?.full
        ? record.evaluations.length
        : Math.max(record.run.total || 0, record.evaluations.length)
      : 0;
    const now = record ? record.evaluations[context.index] : null;
    if (record) drawHead(record, now, total);
    drawTabs();
    const isMoving = record === recordHere && context.index !== indexHere;
    [recordHere, indexHere] = [record, context.index];
    const drawPanels = () => {
      for (const panel of visible()) attempt(panel.name, panel.element, () => panel.draw(now, total));
    };
    context.painter.together(drawPanels, { isMoving });
    clearTimeout(finerTimer);
    if (context.painter.wasCoarse) finerTimer = setTimeout(() => isVisible(viewer) && draw(), FINER);
    drawCaptions();
    if (record) {
      remember(context, () => isVisible(viewer));
      sharpenAtRest(record, context.index);
    }
  }

  function drawHead(record, now, total) {
    if (!record.decoder && state.how === "fast") state.how = "channels";
    const isMissing = (how) =>
      (how === "tiny" && !record.run.model?.tiny_decoder) || (["tiny", "vae"].includes(how) && !context.online);
    if (isMissing(state.how)) state.how = record.decoder ? "fast" : "channels";
    drawPicks(hows);
    for (const button of hows.buttons) button.hidden = isMissing(button.dataset.how);
    hows.buttons[0].disabled = !record.decoder;
    recordingLine.textContent = recordingNote(record, context.index, say);
    recordingLine.hidden = !recordingLine.textContent;
    title.textContent = record.run.prompt || say("no_prompt");
    facts.textContent = factsOf(record, say, props.noise_schedules);
    // Said when a person moves; not evaluation after evaluation while a run grows or plays
    where.setAttribute("aria-live", player.playing() || (state.follow && !record.ended) ? "off" : "polite");
    where.textContent = say("evaluation", { index: context.index + 1, total });
    level.textContent = levelOf(now, say);
    speed.value = String(state.speed);
    loop.setAttribute("aria-pressed", String(state.loop));
    live.setAttribute("aria-pressed", String(state.follow));
    live.hidden = record.ended;
  }

  /** Fetches an evaluation that came in eight bits in full precision, once the viewer stands still there. */
  let restTimer = null;
  function sharpenAtRest(record, index) {
    clearTimeout(restTimer);
    if (!record.evaluations[index].rough || !context.online) return;
    restTimer = setTimeout(async () => {
      if (player.playing() || context.record !== record || context.index !== index || !isVisible(viewer)) return;
      if ((await record.sharpen(index)) && context.record === record) draw();
    }, REST);
  }

  /* ---------------------------------------------------------------------------------------------- the keys */

  viewer.addEventListener("keydown", keys);
  document.addEventListener("keydown", (event) => {
    if (
      !viewer.contains(event.target) &&
      isVisible(viewer) &&
      !event.target.closest("input, textarea, select, [role=tab], [role=listbox]")
    )
      keys(event);
  });
  function keys(event) {
    if (!context.record || event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented) return;
    if (event.target.closest("input, textarea, select")) return;
    const to = { ArrowLeft: context.index - 1, ArrowRight: context.index + 1, Home: 0, End: Infinity }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      walk(to);
    } else if (event.key === " " && !event.target.closest("button, a, input, textarea")) {
      event.preventDefault();
      player.play();
    } else if (event.key === "l" && (hasLetterKeys() || viewer.contains(event.target))) set({ loop: !state.loop });
  }

  const { follow, open, openRecord, value, requestCount } = runFollower({ context, viewer, player, empty });
  Object.assign(context, { open, value });

  watch("value", follow);
  follow();
  // In another tab nothing is fetched; fetching begins when the viewer comes into sight. It then asks for the newest
  // run, unless a stage has sent a certain one here.
  new IntersectionObserver((entries) => {
    if (!entries.at(-1).isIntersecting) {
      if (!isVisible(viewer)) forget();
      return;
    }
    const { request } = journey;
    journey.request = null;
    if (request) {
      if (request.record) openRecord(request.record, request.index);
      else follow();
      return show(request.panel);
    }
    if (performance.now() - journey.toViewerAt > STAY) trigger("seen", { request_count: requestCount() });
    follow();
  }).observe(viewer);
}
