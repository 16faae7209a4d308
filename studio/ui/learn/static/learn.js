/* The tab Learn: the machine of latent diffusion, and chapters that light its parts. A chapter's figures are panels of the
   noise viewer on one recorded run: the sample's, or the visitor's own once they press Run. */

import { fill, h, isStill, isVisible } from "../../static/elements.js";
import { journey } from "../../static/journey.js";
import { machine } from "../../static/machine.js";
import { openTab } from "../../static/opening.js";
import { architectureOf } from "../../viewer/static/ask.js";
import { Decodings } from "../../viewer/static/decoded.js";
import { Painter } from "../../viewer/static/painter.js";
import { PANELS } from "../../viewer/static/panels.js";
import { Record } from "../../viewer/static/record.js";
import { sampleRecord } from "../../viewer/static/sample.js";
import { ALONE, CHAPTER_OF, CHAPTERS, NUMBERED, START } from "./chapters.js";
import { CONDITIONS } from "./conditions.js";
import { FIGURES } from "./figures.js";
import { plane } from "./plane.js";
import { TRAINING } from "./training.js";
import { whole } from "./whole.js";

const OWN = [...FIGURES, ...TRAINING, ...CONDITIONS, plane, whole]; // the figures that no panel of the viewer has
const POLL = 200; // ms between looks at a growing record
const PATIENCE = 30; // looks at a record that is not there, after its run has ended

export function learn({ element, props, watch, trigger }) {
  const say = (key, values) => fill(props.learn[key], values);
  // What all chapters share
  const shared = { record: null, file: null, own: false };
  const painter = new Painter();
  const drawing = machine({ words: props.machine, pick: (part) => choose(CHAPTER_OF[part]) });
  const shown = h("p", { class: "ls-learn-shown", role: "status" });
  const numbers = CHAPTERS.map(({ name }, k) =>
    h(
      "button",
      { class: "ls-learn-number", type: "button", "data-chapter": name, onclick: () => choose(name) },
      k < NUMBERED ? h("b", {}, String(k + 1)) : null,
      h("span", {}, say(`chapter.${name}`)),
    ),
  );
  const place = h("div", { class: "ls-learn-place" });
  const built = new Map(); // name => chapter, from its first opening on
  let current = null;
  let hasBegun = false;

  element.replaceChildren(
    h(
      "section",
      { class: "ls-learn", "aria-label": say("title") },
      h("h2", {}, say("title")),
      h("p", { class: "ls-learn-intro" }, say("intro")),
      shown,
      drawing.element,
      h("nav", { class: "ls-learn-numbers", "aria-label": say("chapters") }, ...numbers),
      place,
    ),
  );

  /* ------------------------------------------------------------------------------------------ chapters */

  function open(name) {
    const k = CHAPTERS.findIndex((one) => one.name === name);
    const chapter = CHAPTERS[k];
    if (!built.has(name)) {
      built.set(name, buildChapter(chapter, k));
      built.get(name).context.index = Math.floor((chapter.start ?? START) * (shared.record?.evaluations.length ?? 0));
    }
    current = built.get(name);
    place.replaceChildren(current.element);
    drawing.light(chapter.lights);
    drawing.element.style.display = name === "whole" ? "none" : ""; // that chapter draws it itself
    for (const button of numbers) {
      if (button.dataset.chapter === name) button.setAttribute("aria-current", "step");
      else button.removeAttribute("aria-current");
    }
    current.draw();
  }

  /** Opens the chapter that a visitor has chosen, and brings its beginning into sight. */
  function choose(name) {
    open(name);
    const { top } = current.element.getBoundingClientRect();
    if (top < 0 || top > innerHeight * 0.75)
      current.element.scrollIntoView({ block: "start", behavior: isStill() ? "auto" : "smooth" });
  }

  function buildChapter({ name, panels, before = [], figures = [], mode = "expert", more }, k) {
    const context = contextOf(mode);
    context.measuresLoss = name === "training";
    const build = (figure) => OWN.find((one) => one.name === figure).build(context);
    const above = before.map(build);
    const below = figures.map(build);
    const own = [...above, ...below];
    const parts = panels.map((panel) => ({
      name: panel,
      ...PANELS.find((one) => one.name === panel).build(context),
    }));
    const none = h("p", { class: "ls-note", hidden: true }, say("none"));
    const figure = h(
      "div",
      { class: "ls-viewer", "data-mode": mode, "data-run": "there", role: "group", "aria-label": say("figure") },
      none,
      ...above.map((one) => one.element),
      ...parts.map((part) => part.element),
      ...below.map((one) => one.element),
    );
    figure.addEventListener("keydown", (event) => keys(event, context));
    const turn = (to, word) =>
      CHAPTERS[to] &&
      h("button", { class: "ls-button", type: "button", onclick: () => choose(CHAPTERS[to].name) }, say(word));
    const leave = (word, act) => h("button", { class: "ls-button", type: "button", onclick: act }, say(word));
    context.draw = () => {
      const { record } = shared;
      const there = !!record?.evaluations.length;
      if (there) context.index = Math.min(context.index, record.evaluations.length - 1);
      const total = there ? Math.max(record.run.total || 0, record.evaluations.length) : 0;
      none.hidden = there || !parts.some((part) => !ALONE.includes(part.name));
      for (const part of parts) {
        const usable = ALONE.includes(part.name) || (there && (part.available?.(record) ?? true));
        part.element.hidden = !usable;
        if (usable) part.draw(there ? record.evaluations[context.index] : null, total);
      }
      for (const one of own) one.draw();
      const captions = props.captions[context.state.language];
      for (const line of figure.querySelectorAll("[data-caption]")) line.textContent = captions[line.dataset.caption];
    };
    context.point = (cell) => {
      context.cell = cell;
      for (const part of parts) if (!part.element.hidden) part.onPoint?.(cell);
    };
    const line = (word, key) => h("p", {}, h("strong", {}, say(word)), " ", say(`chapter.${name}.${key}`));
    const chapter = h(
      "article",
      { class: "ls-learn-chapter", "data-chapter": name },
      h("h3", {}, k < NUMBERED ? `${k + 1}. ${say(`chapter.${name}`)}` : say(`chapter.${name}`)),
      h("p", { class: "ls-learn-text" }, say(`chapter.${name}.text`)),
      parts.length || own.length ? figure : null,
      h("div", { class: "ls-learn-tasks" }, line("try", "try"), line("question", "question")),
      h(
        "div",
        { class: "ls-learn-ways" },
        turn(k - 1, "previous"),
        turn(k + 1, "next"),
        name === "others" ? leave("image", () => openTab("image_to_image")) : null,
        name === "others" ? leave("mask", () => openTab("inpaint")) : null,
        more ? leave("more", () => toViewer(more, context)) : null,
      ),
    );
    return { element: chapter, context, draw: context.draw };
  }

  /** What a panel knows of its place: the fields that viewer.js gives. */
  function contextOf(mode) {
    const context = {
      say: (key, values) => fill(props.words[key], values),
      tell: say,
      h,
      props,
      state: {
        mode,
        language: window.studioLanguage.language,
        how: "fast",
        panes: ["x_t", "denoised"],
        guidance: null,
        calm: true,
      },
      index: 0,
      cell: null,
      painter,
      caption: (key) => h("p", { class: "ls-gloss", "data-caption": key }),
      set(changes) {
        Object.assign(context.state, changes);
        context.draw();
      },
      go(index) {
        context.index = Math.max(0, Math.min(shared.record.evaluations.length - 1, index));
        context.draw();
      },
      walk: (index) => context.go(index),
      show: (panel) => toViewer(panel, context),
      chapterOf: (part) => CHAPTER_OF[part],
      choose,
      join,
      value: () => ({ picture: shared.record?.pictureId, checkpoint: context.checkpoint() }),
      checkpoint: () => shared.record?.run?.checkpoint || "",
      // A run that a panel asks for is the visitor's own, and is seen as it goes.
      trigger(event, details) {
        trigger(event, details);
        shown.textContent = say("waiting");
        choose("reverse");
      },
    };
    for (const name of ["record", "file"])
      Object.defineProperty(context, name, {
        get: () => shared[name],
        set: (next) => {
          shared[name] = next;
        },
      });
    // The studio knows nothing of the sample's run and is asked only about runs of its own.
    Object.defineProperty(context, "online", { get: () => false });
    context.decodings = new Decodings(context);
    return context;
  }

  /** Opens a panel of the noise viewer on the run and the evaluation that a chapter shows. */
  function toViewer(panel, { index }) {
    journey.request = { panel, index, record: shared.record };
    openTab("noise_viewer");
  }

  function keys(event, context) {
    if (event.ctrlKey || event.metaKey || event.altKey || event.defaultPrevented || !shared.record) return;
    if (event.target.closest("input, textarea, select")) return;
    const to = { ArrowLeft: context.index - 1, ArrowRight: context.index + 1, Home: 0, End: Infinity }[event.key];
    if (to === undefined) return;
    event.preventDefault();
    context.go(to);
  }

  /* ------------------------------------------------------------------------------------------- the run */

  /** Whose run is shown. The prompt stands apart in the sentence: it may be in a script of the other direction. */
  function tellOf(prompt) {
    const [before, after] = say("shown", { prompt: "\n" }).split("\n");
    shown.replaceChildren(before, h("q", { dir: "auto" }, prompt), after);
  }
  /** The sample's run, its picture, and the checkpoint's blocks. */
  async function begin() {
    open("why");
    try {
      const record = await sampleRecord(props.sample);
      if (shared.own) return;
      shared.record = record;
      shared.file = record.file;
      tellOf(record.run.prompt);
      illustrate(props.sample.picture);
      current.context.index = record.evaluations.length - 1;
    } catch {
      shown.textContent = say("absent");
    }
    current.draw();
  }

  const drawings = [drawing]; // of the machine
  let illustration = null; // what they show: {steps, pictures, answer}
  function show(one) {
    if (!illustration) return;
    one.count(illustration.steps);
    one.show(illustration.pictures);
    if (illustration.answer) one.fit(illustration.answer);
  }
  /** A chapter's own drawing of the machine shows what the first one does. */
  function join(one) {
    drawings.push(one);
    show(one);
  }
  /** The run's own pictures and the blocks of its checkpoint in the drawings. */
  async function illustrate(output) {
    const { record } = shared;
    const tiles = (latents) => {
      const canvas = document.createElement("canvas");
      painter.tiles(canvas, latents, record.shape, 3);
      return canvas.toDataURL();
    };
    const clean = record.clean && tiles(record.clean);
    illustration = {
      steps: record.evaluations.length,
      pictures: { noise: tiles(record.evaluations[0].x_t), clean, output, picture: output },
      answer: null,
    };
    drawings.forEach(show);
    // Without an answer the drawing keeps the usual blocks, without shapes.
    const answer = await architectureOf(record.run.checkpoint, () => shared.record === record).catch(() => null);
    if (!answer || shared.record !== record) return;
    illustration.answer = answer;
    for (const one of drawings) one.fit(answer);
  }

  let round = 0;
  /** Follows the visitor's own run as it grows. */
  async function follow() {
    const run = props.value || {};
    if (run.message) shown.textContent = run.message;
    if (run.picture && shared.own && shared.record?.job === run.job) finish(run);
    if (!run.job || (shared.own && shared.job === run.job)) return;
    shared.own = true;
    shared.job = run.job;
    const own = ++round;
    const record = new Record(run.job, 0);
    record.isFromPicture = run.is_from_picture;
    shown.textContent = say("waiting");
    for (let misses = 0; own === round; ) {
      const news = await record.grow().catch(() => "none");
      if (own !== round) return;
      if (record.evaluations.length) {
        if (shared.record !== record) {
          shared.record = record;
          shared.file = null;
        }
        if (news === "new") {
          const { total } = record.run;
          shown.textContent = say("running", { index: record.evaluations.length, total });
          current.context.index = record.evaluations.length - 1;
          if (isVisible(element)) current.draw();
        }
      }
      if (record.ended) break;
      const { value } = props;
      if (news === "none" && value.job === run.job && value.ended && ++misses > PATIENCE) {
        shown.textContent = value.message || say("lost");
        return;
      }
      await new Promise((done) => setTimeout(done, POLL));
    }
    tellOf(record.run.prompt);
    if (props.value.job === run.job && props.value.picture) finish(props.value);
  }
  /** The finished picture of the visitor's run is there. */
  function finish(run) {
    if (shared.record.pictureId === run.picture) return;
    shared.record.pictureId = run.picture;
    shared.file = null;
    illustrate(`/picture/${run.picture}`);
    current.draw();
  }

  watch("value", follow);
  // Nothing is built or fetched before the tab is in sight.
  new IntersectionObserver((entries) => {
    if (!entries.at(-1).isIntersecting) return;
    if (!hasBegun) begin();
    hasBegun = true;
  }).observe(element);
}
