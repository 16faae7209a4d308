/* The noise viewer: one recorded run, moved through evaluation by evaluation. Live is replay of a growing record.

   A panel is one file in viewer/: its `panel` is {name, place, build(context)}, viewer/panels.js lists it, and build answers
   {element, draw(at, total), available(record)}. `place` says where it stands: "way", "stage", "aside", "under", or
   "deeper" (a tab of expert mode, drawn only while it is open; one that stands `alone` needs no run). Panels
   change `context.state` through `context.set`,
   which draws everything again; nothing but a new run asks the server. */

import { broken, fill, h, icon, shown } from "./elements.js";
import { journey } from "./journey.js";
import { Record } from "./record.js";
import { number } from "./viewer/chart.js";
import { Decodings } from "./viewer/decoded.js";
import { Painter } from "./viewer/painter.js";
import { PANELS } from "./viewer/panels.js";
import { quantities } from "./viewer/quantities.js";

export function viewer({ element, props, watch, trigger }) {
  const say = (key, values) => fill(props.words[key], values);
  const POLL = 200; // ms between looks at a growing record
  const RESTED = 400; // ms without a move before an evaluation that came in eight bits is fetched in full
  const SENT = 5000; // ms in which a run that was sent here is not replaced by the newest
  const FRAME = 160; // ms per evaluation while playing at speed 1
  const SPEEDS = [0.25, 0.5, 1, 2, 4];
  const MARK = "#viewer:"; // what the page's address begins with after its path while the viewer is open
  const KEPT = "latent-studio-viewer"; // mode and language of this browser

  const HOWS = props.panels.includes("branches")
    ? ["fast", "tiny", "vae", "channels", "cells"]
    : ["fast", "channels", "cells"]; // a replay has the fast decoder alone

  const first = {
    mode: "beginner",
    language: navigator.language.toLowerCase().startsWith("zh") ? "zh" : "en",
    how: "fast",
    panes: ["x_t", "denoised", "noise_pred"],
    open: "guidance",
    speed: 1,
    loop: false,
    follow: true,
    guidance: null, // what-if guidance scale; null is the run's own
  };
  const state = { ...first, ...kept(), ...addressed() };
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
  };
  context.show = show;
  context.online = props.panels.includes("branches"); // a replay has no studio that could be asked
  context.decodings = new Decodings(context);
  context.checkpoint = () => context.record?.run?.checkpoint || value_().checkpoint || "";

  const panels = props.panels.map((name) => {
    const { build, place, alone = false } = PANELS.find((panel) => panel.name === name);
    return { name, place, alone, available: () => true, ...attempt(name, null, () => build(context), unbuilt) };
  });
  /** What an act of a panel answers; one that fails says so in the panel's place, and the others go on. */
  function attempt(name, place, act, otherwise = () => undefined) {
    try {
      return act();
    } catch (error) {
      console.error(`viewer, ${name}:`, error);
      const there = otherwise();
      broken(place || there.element, say("panel.failed"));
      return there;
    }
  }
  function unbuilt() {
    return { element: h("section", { class: "ls-panel" }), draw: () => {} };
  }
  const at = (place) => panels.filter((panel) => panel.place === place).map((panel) => panel.element);
  const deeper = panels.filter((panel) => panel.place === "deeper");

  /* -------------------------------------------------------------------------------------------- the frame */

  const buttons = {
    first: step("first", "first", () => walk(0)),
    previous: step("previous", "previous", () => walk(context.index - 1)),
    play: step("play", "play", play),
    next: step("next", "next", () => walk(context.index + 1)),
    last: step("last", "last_evaluation", () => walk(Infinity)),
  };
  const where = h("p", { class: "ls-where", role: "status" });
  const level = h("p", { class: "ls-level" });
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
  const languages = picks("language", Object.keys(props.captions), "language", (language) => set({ language }));
  const empty = h("p", { class: "ls-empty-note", role: "status" });
  const title = h("p", { class: "ls-run", dir: "auto" });
  const facts = h("p", { class: "ls-run-facts" });
  const head = h(
    "div",
    { class: "ls-viewer-head" },
    h("div", { class: "ls-run-line" }, title, facts),
    languages.element,
    modes.element,
  );
  const whole = h("p", { class: "ls-note ls-kept-note", role: "status", hidden: true }); // of a run too large to be kept whole
  const transport = h(
    "div",
    { class: "ls-transport" },
    h("div", { class: "ls-steps" }, ...Object.values(buttons)),
    where,
    level,
    h("div", { class: "ls-transport-more" }, speed, loop, live),
  );
  const sticky = h("div", { class: "ls-sticky" }, transport, ...at("way"));
  const aside = h("div", { class: "ls-aside" }, ...at("aside"));
  const main = h(
    "div",
    { class: "ls-main" },
    h(
      "div",
      { class: "ls-stage-side" },
      ...at("stage"),
      h("div", { class: "ls-tools" }, hows.element, ...panels.map((panel) => panel.tools)),
    ),
    aside,
  );
  const tabs = h("div", { class: "ls-tabs", role: "tablist", "aria-label": say("deeper") });
  const rooms = h("div", { class: "ls-rooms" });
  for (const panel of deeper) {
    panel.tab = h(
      "button",
      {
        type: "button",
        role: "tab",
        id: `ls-tab-${panel.name}`,
        "aria-controls": `ls-room-${panel.name}`,
        onclick: () => set({ open: panel.name }),
      },
      say(`tab.${panel.name}`),
    );
    panel.room = h(
      "div",
      { class: "ls-room", role: "tabpanel", id: `ls-room-${panel.name}`, "aria-labelledby": `ls-tab-${panel.name}` },
      panel.element,
    );
    tabs.append(panel.tab);
    rooms.append(panel.room);
  }
  tabs.addEventListener("keydown", (event) => {
    const open = deeper.filter((panel) => !panel.tab.hidden);
    const now = open.indexOf(front());
    const to = { ArrowLeft: now - 1, ArrowRight: now + 1 }[event.key];
    if (to === undefined || !open[to]) return;
    event.preventDefault();
    event.stopPropagation();
    set({ open: open[to].name });
    open[to].tab.focus();
  });
  const more = h(
    "div",
    { class: "ls-more-to-see" },
    caption("more"),
    h("button", { class: "ls-button", type: "button", onclick: () => set({ mode: "expert" }) }, say("more")),
  );
  const below = h("section", { class: "ls-deeper", "aria-label": say("deeper") }, tabs, rooms);
  const body = h("div", { class: "ls-viewer-body" }, head, whole, empty, sticky, main, ...at("under"), more, below);
  const viewer = h("section", { class: "ls-viewer", "aria-label": say("timeline") }, body);
  element.replaceChildren(viewer);

  let playing = null;
  let asked = 0; // so that an older poll of another run stops

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
    const made = names.map((name) =>
      h(
        "button",
        { class: "ls-pick", type: "button", [`data-${key}`]: name, onclick: () => choose(name) },
        say(`${word}.${name}`),
      ),
    );
    return {
      element: h(
        "div",
        { class: `ls-picks ls-picks-${word}`, role: "group", "aria-label": say(word) },
        h("span", {}, say(word)),
        ...made,
      ),
      buttons: made,
      key,
    };
  }
  function drawPicks({ buttons: made, key }) {
    for (const button of made)
      button.setAttribute("aria-pressed", String(button.getAttribute(`data-${key}`) === state[key]));
  }

  /** One sentence for newcomers, in the language they chose. */
  function caption(key) {
    return h("p", { class: "ls-gloss", "data-caption": key });
  }
  function drawCaptions() {
    for (const line of viewer.querySelectorAll("[data-caption]")) {
      line.lang = state.language === "zh" ? "zh-Hans" : state.language;
      line.textContent = props.captions[state.language][line.dataset.caption];
    }
  }

  /* -------------------------------------------------------------------------------------- where it stands */

  function kept() {
    try {
      return JSON.parse(localStorage.getItem(KEPT)) || {};
    } catch {
      return {}; // a browser that keeps nothing, or something else under our name
    }
  }
  function addressed() {
    if (!location.hash.startsWith(MARK)) return {};
    const given = new URLSearchParams(location.hash.slice(MARK.length));
    const out = {};
    if (["beginner", "expert"].includes(given.get("mode"))) out.mode = given.get("mode");
    if (HOWS.includes(given.get("how"))) out.how = given.get("how");
    const panes = (given.get("panes") || "")
      .split(",")
      .filter((name) => name in quantities || name.startsWith("of_two."));
    if (panes.length >= 2 && panes.length <= 4) out.panes = panes;
    if (props.panels.includes(given.get("open"))) out.open = given.get("open");
    if (Number.isFinite(parseFloat(given.get("guidance")))) out.guidance = parseFloat(given.get("guidance"));
    if (/^\d+$/.test(given.get("at"))) out.start = Number(given.get("at")) - 1;
    return out;
  }
  let remembering = null;
  function remember() {
    clearTimeout(remembering);
    remembering = setTimeout(() => {
      if (!shown(viewer)) return;
      const now = new URLSearchParams({
        mode: state.mode,
        at: context.index + 1,
        how: state.how,
        panes: state.panes.join(","),
        open: state.open,
      });
      if (state.guidance !== null) now.set("guidance", state.guidance);
      history.replaceState(history.state, "", MARK + now.toString().replaceAll("%2C", ","));
      try {
        localStorage.setItem(KEPT, JSON.stringify({ mode: state.mode, language: state.language }));
      } catch {
        // A browser that keeps nothing: the address still does.
      }
    }, 300);
  }

  function set(changes) {
    Object.assign(state, changes);
    draw();
  }
  /** The latent cell under the pointer on any pane, or null: all panes show it. */
  function point(cell) {
    const same = context.cell?.x === cell?.x && context.cell?.y === cell?.y;
    context.cell = cell;
    if (!same) for (const panel of visible()) panel.pointed?.(cell);
  }
  /** Open a panel, wherever it stands. */
  function show(name) {
    const panel = panels.find((one) => one.name === name);
    if (panel.place === "deeper") set({ mode: "expert", open: name });
    panel.element.scrollIntoView({ block: "nearest", behavior: "smooth" });
  }

  function go(index) {
    const record = context.record;
    if (!record?.evaluations.length) return;
    context.index = Math.max(0, Math.min(record.evaluations.length - 1, index));
    draw();
  }
  /** Go there because a person asked: a run that is followed is no longer, unless they went to its newest. */
  function walk(index) {
    if (!context.record) return;
    state.follow = index >= context.record.evaluations.length - 1;
    go(index);
  }
  context.walk = walk;

  function play() {
    if (playing) return pause();
    if (!state.loop && context.index >= context.record.evaluations.length - 1) go(0);
    const tick = () => {
      const last = context.record.evaluations.length - 1;
      if (context.index < last) go(context.index + 1);
      else if (state.loop) go(0);
      else return pause();
      playing = setTimeout(tick, FRAME / state.speed);
    };
    playing = setTimeout(tick, FRAME / state.speed);
    drawPlay();
  }
  function pause() {
    clearTimeout(playing);
    playing = null;
    drawPlay();
  }
  function drawPlay() {
    const word = say(playing ? "pause" : "play");
    buttons.play.replaceChildren(icon(playing ? "pause" : "play"));
    buttons.play.setAttribute("aria-label", word);
    buttons.play.title = word;
  }

  /* -------------------------------------------------------------------------------------------- drawing */

  const run = () => (context.record?.evaluations.length ? context.record : null);
  const usable = (panel) => (run() ? panel.available(context.record) : panel.alone);
  /** The deeper panel that shows: the one that was chosen, or the first while that one has nothing to show yet. The
      choice itself stays, so that a run that is only coming in (a reload, a branch) does not lose it. */
  const front = () => deeper.find((panel) => panel.name === state.open && usable(panel)) || deeper.find(usable);
  const visible = () =>
    panels.filter((panel) => (panel.place === "deeper" ? state.mode === "expert" && panel === front() : run()));

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
    for (const panel of visible()) attempt(panel.name, panel.element, () => panel.draw(now, total));
    drawCaptions();
    if (record) {
      remember();
      sharpenAtRest(record, context.index);
    }
  }

  function drawHead(record, now, total) {
    if (!record.decoder && state.how === "fast") state.how = "channels";
    if (!record.run.model?.tiny_decoder && state.how === "tiny") state.how = record.decoder ? "fast" : "channels";
    drawPicks(hows);
    for (const button of hows.buttons)
      if (button.dataset.how === "tiny") button.hidden = !record.run.model?.tiny_decoder;
    hows.buttons[0].disabled = !record.decoder;
    whole.textContent = keptOf(record);
    whole.hidden = !whole.textContent;
    title.textContent = record.run.prompt || say("no_prompt");
    facts.textContent = factsOf(record.run);
    where.textContent = say("evaluation", { index: context.index + 1, total });
    level.textContent = levelOf(now);
    speed.value = String(state.speed);
    loop.setAttribute("aria-pressed", String(state.loop));
    live.setAttribute("aria-pressed", String(state.follow));
    live.hidden = record.ended;
  }

  function drawTabs() {
    const inFront = front();
    for (const panel of deeper) {
      const chosen = panel === inFront;
      panel.tab.hidden = !usable(panel);
      panel.tab.setAttribute("aria-selected", String(chosen));
      panel.tab.tabIndex = chosen ? 0 : -1;
      panel.room.hidden = !chosen;
    }
  }

  /** An evaluation that came in eight bits is fetched in full once one rests at it. */
  let sharpening = null;
  function sharpenAtRest(record, index) {
    clearTimeout(sharpening);
    if (!record.evaluations[index].rough || !context.online) return;
    sharpening = setTimeout(async () => {
      if (playing || context.record !== record || context.index !== index || !shown(viewer)) return;
      if ((await record.sharpen(index)) && context.record === record) draw();
    }, RESTED);
  }

  /** What is missing of a run that was too large to be kept whole, or is made twice; nothing of any other. */
  function keptOf(record) {
    const { full, attention_every: every } = record.run.kept || {};
    const rough =
      record.run.bits === 8 ? say(record.evaluations[context.index].rough ? "kept.rough" : "kept.sharp") : "";
    const second = record.run.second_pass;
    return [
      rough,
      second ? say("kept.second", second) : "",
      full ? say("kept.full", { kept: record.evaluations.length, total: record.run.total }) : "",
      every > 1 ? say("kept.attention", { every }) : "",
    ]
      .filter(Boolean)
      .join(" ");
  }
  function factsOf(run) {
    const facts = [];
    if (run.checkpoint) facts.push(run.checkpoint);
    if (run.seed !== undefined) facts.push(say("fact.seed", { seed: run.seed }));
    // One scheduler, or which others took over and where.
    const [by, ...others] = run.schedulers || [{ scheduler_label: run.scheduler_label || run.scheduler }];
    if (by.scheduler_label)
      facts.push(
        [
          by.scheduler_label,
          ...others.map((one) =>
            say("fact.then", {
              index: one.evaluation + 1,
              name: one.scheduler_label,
              levels: one.noise_schedule ? ` ${props.noise_schedules[one.noise_schedule]}` : "",
            }),
          ),
        ].join(", "),
      );
    if (run.guidance_scale !== undefined) facts.push(say("fact.guidance", { guidance: run.guidance_scale }));
    return facts.join(" · ");
  }
  function levelOf(now) {
    const finite = Number.isFinite(now.log_snr);
    return [
      say("level.timestep", { value: number(now.timestep) }),
      say("level.sigma", { value: Number.isFinite(now.sigma) ? number(now.sigma, now.sigma < 1 ? 3 : 2) : "∞" }),
      finite ? say("level.snr", { value: number((now.log_snr * 10) / Math.LN10, 1) }) : say("level.no_snr"),
    ].join("   ");
  }

  /* ---------------------------------------------------------------------------------------------- the keys */

  viewer.addEventListener("keydown", keys);
  document.addEventListener("keydown", (event) => {
    if (
      !viewer.contains(event.target) &&
      shown(viewer) &&
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
      play();
    } else if (event.key === "l") set({ loop: !state.loop });
  }

  /* ----------------------------------------------------------------------------------------- the growing run */

  let opened = null; // a run that was chosen on the page itself; it holds until the page is given another

  /** Look at another run of this visitor: a branch, or one to go back to. */
  function open(job, image) {
    opened = {
      job,
      image,
      ended: false,
      message: "",
      picture: null,
      checkpoint: context.checkpoint(),
      given: props.value?.job,
    };
    state.start = undefined;
    follow();
  }
  context.open = open;
  /** What is looked at: what the page was given, or what was chosen on it since. */
  function value_() {
    const given = props.value || {};
    if (opened && (opened.given !== given.job || opened.job === given.job)) opened = null;
    return opened || given;
  }
  context.value = value_;

  async function follow() {
    const value = value_();
    const mine = ++asked;
    empty.replaceChildren(
      value.message || (value.job ? say("waiting") : h("span", {}, h("strong", {}, say("intro")), say("empty"))),
    );
    if (!value.job || !shown(viewer)) return draw();
    let record = context.record;
    if (!record || record.job !== value.job || record.image !== (value.image || 0)) {
      record = context.record = viewer.record = new Record(value.job, value.image || 0);
      context.index = 0;
      state.follow = state.start === undefined;
      pause();
    }
    while (mine === asked && shown(viewer)) {
      let news;
      try {
        news = await record.grow();
      } catch (_error) {
        news = "none";
      }
      if (mine !== asked) return;
      if (news === "none" && value_().ended) {
        if (!record.evaluations.length) empty.textContent = value.message || say("gone");
        return draw();
      }
      const newest = record.evaluations.length - 1;
      if (state.start !== undefined && newest >= 0) {
        context.index = Math.min(state.start, newest);
        if (newest >= state.start) delete state.start;
      } else if (news === "new" && state.follow && !playing) context.index = newest;
      draw();
      if (record.ended) {
        // Its finished picture has a name that only the studio knows.
        if (opened && !opened.picture) trigger("look", { job: record.job, image: record.image });
        return;
      }
      await new Promise((done) => setTimeout(done, POLL));
    }
  }

  watch("value", follow);
  follow();
  // In another tab nothing is fetched; the look begins, or goes on, when the viewer is seen. Then it asks for the newest
  // run, unless it was sent here to look at a certain one.
  new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) {
      if (!shown(viewer) && location.hash.startsWith(MARK))
        history.replaceState(history.state, "", location.pathname + location.search);
      return;
    }
    if (performance.now() - journey.sentToViewer > SENT) trigger("seen");
    follow();
  }).observe(viewer);
}
