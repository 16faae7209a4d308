/* The noise viewer: one recorded run, moved through evaluation by evaluation. Live is replay of a growing record.

   A panel is one file in viewer/: it adds {name, build(context)} to LatentStudio.panels, and build answers
   {element, draw(at)}. The context has the texts, the current record and `go(index)`. */
"use strict";

window.LatentStudio.panels = [];

window.LatentStudio.viewer = ({ element, props, watch, trigger }) => {
  const { h, fill, icon, shown, Record } = window.LatentStudio;
  const say = (key, values) => fill(props.words[key], values);
  const POLL = 200; // ms between looks at a growing record
  const SENT = 5000; // ms in which a run that was sent here is not replaced by the newest
  const FRAME = 120; // ms per evaluation while playing

  const context = { say, h, record: null, how: "fast", index: 0, go };
  const panels = props.panels.map((name) => window.LatentStudio.panels.find((panel) => panel.name === name).build(context));
  const area = (name) => panels[props.panels.indexOf(name)].element;

  const buttons = {
    first: step("first", "first", () => go(0)),
    previous: step("previous", "previous", () => go(context.index - 1)),
    play: step("play", "play", play),
    next: step("next", "next", () => go(context.index + 1)),
    last: step("last", "last_evaluation", () => go(Infinity)),
  };
  const where = h("p", { class: "ls-where", role: "status" });
  const hows = ["fast", "channels"].map((how) => {
    const choose = () => {
      context.how = how;
      draw();
    };
    return h("button", { class: "ls-pick", type: "button", "data-how": how, onclick: choose }, say(`decoder.${how}`));
  });
  const decoder = h("div", { class: "ls-picks", role: "group", "aria-label": say("decoder") }, h("span", {}, say("decoder")), ...hows);
  const empty = h("p", { class: "ls-empty-note", role: "status" });
  const transport = h("div", { class: "ls-transport" }, h("div", { class: "ls-steps" }, ...Object.values(buttons)), where, decoder);
  const title = h("p", { class: "ls-run", dir: "auto" });
  const body = h("div", { class: "ls-viewer-body" }, title, transport, area("timeline"), area("panes"), h("div", { class: "ls-below" }, area("numbers"), area("schedule")));
  const viewer = h("section", { class: "ls-viewer", "aria-label": say("timeline") }, empty, body);
  element.replaceChildren(viewer);

  let playing = null;
  let asked = 0; // so that an older poll of another run stops

  function step(name, word, onclick) {
    return h("button", { class: "ls-round", type: "button", onclick, "aria-label": say(word), title: say(word) }, icon(name));
  }

  function go(index) {
    const record = context.record;
    if (!record || !record.evaluations.length) return;
    context.index = Math.max(0, Math.min(record.evaluations.length - 1, index));
    draw();
  }

  function play() {
    if (playing) return pause();
    if (context.index >= context.record.evaluations.length - 1) go(0);
    playing = setInterval(() => {
      const last = context.record.evaluations.length - 1;
      if (context.index >= last) pause();
      else go(context.index + 1);
    }, FRAME);
    drawPlay();
  }
  function pause() {
    clearInterval(playing);
    playing = null;
    drawPlay();
  }
  function drawPlay() {
    const word = say(playing ? "pause" : "play");
    buttons.play.replaceChildren(icon(playing ? "pause" : "play"));
    buttons.play.setAttribute("aria-label", word);
    buttons.play.title = word;
  }

  function draw() {
    const record = context.record;
    const there = !!record && record.evaluations.length > 0;
    body.hidden = !there;
    empty.hidden = there;
    if (!there) return;
    const at = record.evaluations[context.index];
    const total = Math.max(record.run.total || 0, record.evaluations.length);
    if (!record.decoder) context.how = "channels";
    title.textContent = record.run.prompt || "";
    where.textContent = say("evaluation", { index: context.index + 1, total });
    for (const button of hows) {
      button.setAttribute("aria-pressed", String(button.dataset.how === context.how));
      button.disabled = button.dataset.how === "fast" && !record.decoder;
    }
    for (const panel of panels) panel.draw(at, total);
  }

  viewer.addEventListener("keydown", keys);
  document.addEventListener("keydown", (event) => {
    if (!viewer.contains(event.target) && shown(viewer) && !event.target.closest("input, textarea, select, [role=tab], [role=listbox]")) keys(event);
  });
  function keys(event) {
    if (!context.record || event.ctrlKey || event.metaKey || event.altKey) return;
    const to = { ArrowLeft: context.index - 1, ArrowRight: context.index + 1, Home: 0, End: Infinity }[event.key];
    if (to !== undefined) {
      event.preventDefault();
      go(to);
    } else if (event.key === " " && !event.target.closest("button, a, input, textarea")) {
      event.preventDefault();
      play();
    }
  }

  async function follow() {
    const value = props.value || {};
    const mine = ++asked;
    empty.replaceChildren(value.message || (value.job ? say("waiting") : h("span", {}, h("strong", {}, say("intro")), say("empty"))));
    if (!value.job || !shown(viewer)) return draw();
    let record = context.record;
    if (!record || record.job !== value.job || record.image !== (value.image || 0)) {
      record = context.record = new Record(value.job, value.image || 0);
      context.index = 0;
      pause();
    }
    while (mine === asked && shown(viewer)) {
      let news;
      try {
        news = await record.grow();
      } catch (error) {
        news = "none";
      }
      if (mine !== asked) return;
      if (news === "none" && (props.value || {}).ended) {
        if (!record.evaluations.length) empty.textContent = value.message || say("gone");
        return draw();
      }
      if (news === "new") {
        const newest = record.evaluations.length - 1;
        const following = context.index >= newest - 1 || !record.seen || record.seen - 1 === context.index;
        record.seen = newest + 1;
        if (following && !playing) context.index = newest;
      }
      draw();
      if (record.ended) return;
      await new Promise((done) => setTimeout(done, POLL));
    }
  }

  watch("value", follow);
  follow();
  // In another tab nothing is fetched; the look begins, or goes on, when the viewer is seen. Then it asks for the newest
  // run, unless it was sent here to look at a certain one.
  new IntersectionObserver(([entry]) => {
    if (!entry.isIntersecting) return;
    if (performance.now() - (window.LatentStudio.sentToViewer ?? -Infinity) > SENT) trigger("seen");
    follow();
  }).observe(viewer);
};
