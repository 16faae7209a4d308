/* The stage: the picture, the strip of its steps, and what can be done with it. Draws one view (see render.py) after
   the other; scrubbing asks the server nothing. */

import { fill, h, icon, show } from "../../static/elements.js";
import { journey } from "../../static/journey.js";
import { prepareTab } from "../../static/opening.js";
import { fieldProblems } from "../../static/problems.js";
import { runButtons, unanswered } from "../../static/run_buttons.js";
import { earlierPictures } from "./stage/earlier.js";
import { buildFilm, evaluationOf } from "./stage/film.js";
import { stageProgress } from "./stage/progress.js";
import { buildTiles } from "./stage/tiles.js";

export function stage({ element, props, watch, trigger }) {
  const say = (key, values) => fill(props.words[key], values);
  const tab = props.tab;
  const WORKING = new Set(["sending", "queued", "loading", "running"]);

  const picture = h("img", { class: "ls-picture", hidden: true, alt: "" });
  const message = h("p", { class: "ls-message", role: "status", "aria-live": "polite" });
  const badge = h("span", { class: "ls-badge", hidden: true });
  const frame = h("div", { class: "ls-frame" }, h("div", { class: "ls-light" }), picture, message, badge);
  const tiles = buildTiles({
    say,
    choose: (k) => {
      selected = k;
      scrub = null;
      draw();
    },
  });
  const line = stageProgress({ say });
  const film = buildFilm({ say, filmNow, at: () => scrub, scrubTo, working: () => WORKING.has(view.state) });
  const caption = h("p", { class: "ls-caption", dir: "auto" });
  const asked = h("span", { class: "ls-asked-words", dir: "auto" });
  const copy = h(
    "button",
    { class: "ls-pick ls-copy", type: "button", onclick: copyPrompt, title: say("copy.help") },
    say("copy"),
  );
  const prompt = h("p", { class: "ls-asked", hidden: true }, asked, copy);
  const notes = h("p", { class: "ls-notes", hidden: true });
  const buttons = {
    save: h("a", { class: "ls-button", role: "button" }, icon("save"), say("save")),
    edit: h("button", { class: "ls-button", type: "button", onclick: () => act("edit") }, icon("edit"), say("edit")),
    inpaint: h(
      "button",
      { class: "ls-button", type: "button", onclick: () => act("inpaint") },
      icon("inpaint"),
      say("inpaint"),
    ),
    noise: h(
      "button",
      { class: "ls-button", type: "button", onclick: () => act("noise") },
      icon("noise"),
      say("noise"),
    ),
    reuse: h(
      "button",
      { class: "ls-button", type: "button", onclick: () => act("reuse") },
      icon("reuse"),
      say("reuse"),
    ),
  };
  const actions = h("div", { class: "ls-actions" }, ...Object.values(buttons));
  const earlier = earlierPictures({ say, open });
  const stage = h(
    "section",
    { class: "ls-stage", "aria-label": say("label") },
    h("div", { class: "ls-table" }, frame, tiles.element),
    line.element,
    line.progress,
    film.element,
    h("div", { class: "ls-foot" }, h("div", { class: "ls-words" }, prompt, caption, notes), actions),
    earlier.element,
  );
  element.replaceChildren(stage);

  let view = { state: "first" };
  let sample = null; // the picture of a first visit, fetched when there is nothing else to show
  let opened = null; // an earlier picture, shown instead of the run
  let selected = 0; // which image of the run
  let scrub = null; // which step the pointer or the keys point at
  let films = []; // of the running job: per image, evaluation -> source
  const left = new Set(); // jobs that others have taken the place of
  let stopWanted = false;
  let before = view; // what was shown when a run was last asked for
  let asking = false; // a run was asked for on this page: what the load of the page still answers is out of date

  // ------------------------------------------------------------------------------------------- what is shown

  const sampleOrNewest = () => {
    if (!["first", "invalid", "refused"].includes(view.state) || tab !== "text_to_image") return null;
    return view.earlier?.[0] || sample;
  };
  /** The finished picture that is shown; null while there is none (then it is the preview of that image). */
  const current = () => opened || (view.pictures?.length ? view.pictures[selected] || null : sampleOrNewest());
  const working = () => WORKING.has(view.state) && !opened;
  const source = (p) => p.src || `/picture/${p.id}`;

  /** The strip of what is shown: sources by evaluation, and how many evaluations there are. */
  function filmNow() {
    const done = current();
    if (done) {
      const kept = done.film?.length ? done.film : remembered.get(done.id)?.film || [];
      const all = (done.film?.length ? done.evaluations : remembered.get(done.id)?.evaluations) || kept.length;
      return { frames: kept, total: kept.length, evaluations: all };
    }
    const frames = films[selected] || [];
    return { frames, total: WORKING.has(view.state) ? view.total || 0 : frames.length, evaluations: view.total || 0 };
  }
  const remembered = new Map(); // picture id -> its strip, while this page is open

  // ----------------------------------------------------------------------------------------------- drawing

  function draw() {
    const done = current();
    const filmed = filmNow();
    stage.dataset.state = opened ? "finished" : view.state;
    for (const name of ["generate", "stop"]) {
      const button = document.getElementById(`${tab}-${name}`);
      if (button) button.dataset.keys = props.words[`keys.${name}`];
    }
    root().dataset.job = view.job || "";
    root().dataset.run = WORKING.has(view.state) ? (stopWanted ? "stopping" : "running") : "idle";
    drawPicture(done, filmed);
    drawMessage(done);
    tiles.draw(view, selected, opened !== null);
    line.draw({
      view,
      done,
      filmed,
      opened,
      stopWanted,
      working: working(),
      sampled: !!done && done === sample,
      scrubbed: scrub !== null && filmed.frames[scrub] ? evaluationOf(filmed, scrub) : null,
    });
    film.draw(filmed);
    drawFoot(done);
    earlier.draw(view.earlier || [], current());
  }

  function drawPicture(done, filmed) {
    const width = done?.width || view.width || 1;
    const height = done?.height || view.height || 1;
    picture.style.aspectRatio = `${width} / ${height}`;
    frame.style.setProperty("--ratio", width / height);
    badge.hidden = !(view.state === "stopped" && !opened);
    if (!badge.hidden) badge.textContent = say("stopped");
    const frameAt = scrub !== null ? filmed.frames[scrub] : null;
    const live = !done && (view.previews || [])[selected];
    if (frameAt) {
      const at = { index: evaluationOf(filmed, scrub), total: filmed.evaluations };
      show(picture, frameAt, say("alt.step", at));
    } else if (done) {
      show(picture, source(done), done.prompt ? say("alt", { prompt: done.prompt }) : say("alt.empty"), () => {
        picture.hidden = true;
        message.hidden = false;
        message.textContent = say("gone");
      });
    } else if (live) {
      const at = view.step || { index: 0, total: view.total };
      show(picture, live, say("alt.step", { index: at.index + 1, total: at.total }));
    } else if (!(view.live && WORKING.has(view.state))) {
      // (In live mode the picture before stays until the first preview is there.)
      picture.dataset.wanted = "";
      picture.hidden = true;
    }
  }

  function drawMessage(done) {
    let text = "";
    const title = { failed: say("failed"), refused: say("refused") }[view.state];
    if (!opened) {
      if (view.state === "first" && !done) text = say(tab !== "text_to_image" ? "first.image" : "first");
      else if (view.state === "sending") text = say("sending");
      else if (["queued", "loading"].includes(view.state) && view.live && !picture.hidden) text = "";
      else if (["queued", "loading", "failed", "refused", "invalid"].includes(view.state)) text = view.message;
      else if (view.state === "stopped" && !picture.dataset.wanted) text = view.message;
    }
    const parts = text ? [title ? h("strong", {}, title) : null, text] : [];
    if (text && view.error_id) parts.push(h("small", {}, say("error_id", { id: view.error_id })));
    message.replaceChildren(...parts.filter((part) => part !== null));
    message.hidden = !text;
    message.classList.toggle("ls-over", !!text && !!picture.dataset.wanted);
    message.classList.toggle("ls-bad", view.state === "failed" && !opened);
  }

  function drawFoot(done) {
    prompt.hidden = !done?.prompt;
    if (asked.textContent !== (done?.prompt || "")) {
      asked.textContent = done?.prompt || "";
      copy.textContent = say("copy");
    }
    caption.textContent = done ? done.line || "" : working() || view.state === "stopped" ? view.prompt || "" : "";
    // A run's own remarks; those of a picture that was made before stand in its file.
    const remarks = !opened && view.notes?.length ? view.notes : done?.notes;
    notes.textContent = (remarks || []).join(" ");
    notes.hidden = !notes.textContent;
    const saved = done?.id;
    buttons.save.hidden = buttons.edit.hidden = buttons.inpaint.hidden = !saved;
    if (saved) buttons.save.href = `/picture/${done.id}?download=1`;
    buttons.reuse.hidden = !done?.settings;
    buttons.noise.hidden = opened !== null || !view.job || !["finished", "stopped"].includes(view.state);
  }

  // ------------------------------------------------------------------------------------------------ doing

  function scrubTo(k) {
    if (scrub === k) return;
    scrub = k;
    draw();
  }

  function open(earlierPicture) {
    const ofRun = (view.pictures || []).findIndex((p) => p.id === earlierPicture.id);
    const again = opened && opened.id === earlierPicture.id; // a second click leads back to the run
    opened = ofRun >= 0 || again ? null : earlierPicture;
    if (ofRun >= 0) selected = ofRun;
    scrub = null;
    draw();
    if (stage.getBoundingClientRect().top < 0) stage.scrollIntoView({ block: "start" });
  }

  const TARGETS = { edit: "image_to_image", inpaint: "inpaint", noise: "noise_viewer" };
  async function act(what) {
    const done = current();
    if (TARGETS[what]) await prepareTab(TARGETS[what]);
    if (what === "noise") {
      journey.sentToViewer = performance.now();
      trigger("noise", { job: view.job, image: selected });
    } else if (done) trigger(what, { id: done.id || "", settings: done.settings || {} });
  }

  async function copyPrompt() {
    const text = asked.textContent;
    try {
      await navigator.clipboard.writeText(text);
      copy.textContent = say("copied");
    } catch {
      // No clipboard on plain http: the words are chosen, to be copied by the keyboard.
      getSelection().selectAllChildren(asked);
      copy.textContent = say("copy.chosen");
    }
  }

  function stop() {
    if (stopWanted) return;
    stopWanted = true;
    if (view.job) trigger("stop", { job: view.job });
    draw();
  }

  function sending() {
    stopWanted = false;
    asking = true;
    before = view;
    opened = null;
    scrub = null;
    selected = 0;
    clearProblems();
    view = {
      ...view,
      state: "sending",
      step: null,
      pictures: [],
      previews: [],
      job: null,
      message: "",
      notes: [],
      error_id: null,
      total: 0,
    };
    films = [];
    draw();
  }

  /** The click is on its way to the studio. */
  function sent() {
    const mine = view;
    const lost = () => {
      view = { ...view, state: "refused", message: say("lost") };
      draw();
    };
    unanswered(() => view === mine, lost);
  }

  // ------------------------------------------------------------------------------------------- the controls

  const root = () => document.getElementById(`${tab}-desk`) || document.body;
  const { markProblems, clearProblems } = fieldProblems({ tab, root, elsewhere: () => message });
  runButtons({
    tab,
    element: stage,
    working: () => WORKING.has(view.state),
    start: sending,
    sent,
    undo: () => ((view = before), draw()),
    stop,
  });

  // ------------------------------------------------------------------------------------------- a new view

  root().addEventListener("ls-leave", (event) => left.add(event.detail));
  root().addEventListener("ls-view", (event) => take(event.detail)); // live mode's first frame, which comes past Gradio

  const receive = () => take(props.value);
  function take(next) {
    if (!next?.state) return;
    const newJob = next.job && next.job !== view.job;
    if (next.attached && asking) {
      view = { ...view, earlier: view.earlier?.length ? view.earlier : next.earlier };
      return draw();
    }
    if (left.has(next.job)) return; // the end of a run that live mode has replaced, or is about to
    if (newJob) {
      if (view.job) left.add(view.job);
      films = [];
      selected = 0;
      scrub = null;
      opened = null;
    }
    const previous = view;
    view = next.live && !next.earlier.length ? { ...next, earlier: view.earlier || [] } : next;
    if (view.step && view.previews?.[view.step.image]) {
      const strip = (films[view.step.image] = films[view.step.image] || []);
      strip[view.step.index] = view.previews[view.step.image];
      for (let k = view.step.index - 1; k >= 0 && !strip[k]; k--) strip[k] = strip[view.step.index];
    }
    for (const p of view.pictures || []) remembered.set(p.id, { film: p.film, evaluations: p.evaluations });
    if (WORKING.has(previous.state) && !WORKING.has(view.state)) opened = null; // what was waited for is here
    if (!WORKING.has(view.state)) stopWanted = false;
    else if (stopWanted && !previous.job && view.job) trigger("stop", { job: view.job });
    draw();
    if (view.state === "first" && !sample && view.attached && !view.earlier.length) fetchSample();
    if (view.problems && view.state === "invalid") markProblems(view.problems);
  }

  // A prompt may be Arabic or Hebrew: let each field find its own direction.
  for (const field of root().querySelectorAll("textarea")) field.dir = "auto";
  async function fetchSample() {
    if (!props.sample) return;
    const answer = await fetch(props.sample.address);
    if (!answer.ok) return;
    sample = { ...(await answer.json()), line: props.sample.line.join(" · ") };
    draw();
  }

  watch("value", receive);
  receive();
  draw();
}
