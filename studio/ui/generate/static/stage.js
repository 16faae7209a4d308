/* The stage: the picture, the strip of its steps, and what can be done with it. It draws one view (see render.py)
   after the other. Scrubbing sends no request. */

import { announce, runAnnouncer } from "../../static/announcements.js";
import { copyText, selectIn } from "../../static/copying.js";
import { fill, h, icon, sentencesText, show } from "../../static/elements.js";
import { journey } from "../../static/journey.js";
import { prepareTab } from "../../static/opening.js";
import { fieldProblems } from "../../static/problems.js";
import { afterNoAnswer, runButtons, showKeys } from "../../static/run_buttons.js";
import { saveAs } from "../../static/save_as.js";
import { openUpscaling } from "../../static/upscaling.js";
import { earlierPictures } from "./stage/earlier.js";
import { buildFilm, evaluationOf } from "./stage/film.js";
import { interruptedRuns } from "./stage/interrupted.js";
import { stageProgress } from "./stage/progress.js";
import { buildTiles } from "./stage/tiles.js";
import { unsavedPictures } from "./stage/unsaved.js";

export function stage({ element, props, watch, trigger }) {
  const say = (key, values) => fill(props.words[key], values);
  const tab = props.tab;
  const ACTIVE_STATES = new Set(["sending", "queued", "loading", "running"]);

  const picture = h("img", { class: "ls-picture", hidden: true, alt: "" });
  const message = h("p", { class: "ls-message" });
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
  const announceRun = runAnnouncer();
  const film = buildFilm({ say, filmNow, at: () => scrub, scrubTo, isActive: () => ACTIVE_STATES.has(view.state) });
  const caption = h("p", { class: "ls-caption", dir: "auto" });
  const promptText = h("span", { class: "ls-picture-prompt-text", dir: "auto" });
  const copy = h(
    "button",
    { class: "ls-pick ls-copy", type: "button", onclick: copyPrompt, title: say("copy.help") },
    say("copy"),
  );
  const copyNote = h("small", { class: "ls-copy-note", role: "status" });
  const prompt = h("p", { class: "ls-picture-prompt", hidden: true }, promptText, copy, copyNote);
  const remarksLine = h("p", { class: "ls-remarks", hidden: true });
  const buttons = {
    save: h("a", { class: "ls-button", role: "button" }, icon("save"), say("save")),
    edit: h("button", { class: "ls-button", type: "button", onclick: () => sendOn("edit") }, icon("edit"), say("edit")),
    inpaint: h(
      "button",
      { class: "ls-button", type: "button", onclick: () => sendOn("inpaint") },
      icon("inpaint"),
      say("inpaint"),
    ),
    upscale: h(
      "button",
      { class: "ls-button", type: "button", onclick: upscale, title: say("upscale.help") },
      icon("upscale"),
      say("upscale"),
    ),
    noise: h(
      "button",
      { class: "ls-button", type: "button", onclick: () => sendOn("noise") },
      icon("noise"),
      say("noise"),
    ),
    compare: h(
      "button",
      { class: "ls-button", type: "button", onclick: () => sendOn("compare"), title: say("compare.help") },
      icon("compare"),
      say("compare"),
    ),
    reuse: h(
      "button",
      { class: "ls-button", type: "button", onclick: () => sendOn("reuse") },
      icon("reuse"),
      say("reuse"),
    ),
  };
  const { save, ...others } = buttons;
  const unsaved = unsavedPictures({
    say,
    pictures: () => [...(view.pictures || []), ...(view.earlier || []), earlierPicture].filter(Boolean),
    onKept: () => draw(),
  });
  const actions = h(
    "div",
    { class: "ls-actions" },
    unsaved.note,
    unsaved.button,
    saveAs(save),
    ...Object.values(others),
  );
  const earlier = earlierPictures({ say, open });
  const interruptions = interruptedRuns({
    say,
    again: (run) => {
      forget(run);
      showSending();
      watchAnswer();
      trigger("again", { job: run.job });
    },
    reuse: (run) => trigger("reuse", { settings: run.settings }),
    dismiss: (run) => {
      forget(run);
      trigger("stop", { job: run.job });
      draw();
    },
  });
  const stage = h(
    "section",
    { class: "ls-stage", "aria-label": say("label") },
    h("div", { class: "ls-table" }, frame, tiles.element),
    line.element,
    line.progress,
    film.element,
    h("div", { class: "ls-foot" }, h("div", { class: "ls-words" }, prompt, caption, remarksLine), actions),
    interruptions.element,
    earlier.element,
  );
  element.replaceChildren(stage);

  let view = { state: "first" };
  let sample = null; // the picture of a first visit, fetched when there is no other
  let earlierPicture = null; // an earlier picture, shown instead of the run
  let selected = 0; // the number of the image in the run
  let scrub = null; // the step under the pointer or chosen by the keys
  let films = []; // of the running job: per image, evaluation -> source
  const replacedJobs = new Set(); // jobs that were replaced by others
  let stopRequested = false;
  let cutRuns = []; // those that the studio's end has interrupted
  let before = view; // the view at the last request
  let hasRequest = false; // this page has asked for a run; what the page's load still answers is out of date

  // ------------------------------------------------------------------------------------------- what is shown

  const sampleOrNewest = () => {
    if (!["first", "invalid", "refused"].includes(view.state) || tab !== "text_to_image") return null;
    return view.earlier?.[0] || sample;
  };
  /** The finished picture on the stage, or null while the image has only previews. */
  const current = () => earlierPicture || (view.pictures?.length ? view.pictures[selected] || null : sampleOrNewest());
  const isActive = () => ACTIVE_STATES.has(view.state) && !earlierPicture;
  const source = (p) => p.src || `/picture/${p.id}`;

  /** The strip of the present picture: sources by evaluation, and the number of evaluations. */
  function filmNow() {
    const done = current();
    if (done) {
      const frames = done.film?.length ? done.film : strips.get(done.id)?.film || [];
      const all = (done.film?.length ? done.evaluations : strips.get(done.id)?.evaluations) || frames.length;
      return { frames, total: frames.length, evaluations: all };
    }
    const frames = films[selected] || [];
    return {
      frames,
      total: ACTIVE_STATES.has(view.state) ? view.total || 0 : frames.length,
      evaluations: view.total || 0,
    };
  }
  const strips = new Map(); // picture id -> its strip, while this page is open

  // ----------------------------------------------------------------------------------------------- drawing

  function draw() {
    const done = current();
    const strip = filmNow();
    stage.dataset.state = earlierPicture ? "finished" : view.state;
    showKeys(tab, props.words);
    workspace().dataset.job = view.job || "";
    workspace().dataset.run = ACTIVE_STATES.has(view.state) ? (stopRequested ? "stopping" : "running") : "idle";
    drawPicture(done, strip);
    drawMessage(done);
    announceView();
    tiles.draw(view, selected, earlierPicture !== null);
    line.draw({
      view,
      done,
      strip,
      earlierPicture,
      stopRequested,
      isActive: isActive(),
      isSample: !!done && done === sample,
      evaluation: scrub !== null && strip.frames[scrub] ? evaluationOf(strip, scrub) : null,
    });
    film.draw(strip);
    drawFoot(done);
    interruptions.draw(cutRuns);
    earlier.draw(view.earlier || [], current());
  }

  /** Live mode draws a run after each move of a slider, so of those only the failures are said. */
  function announceView() {
    const { state, step, images = 1, message: sentence } = view;
    if (view.live && state !== "failed") return;
    const images_done = step ? Math.max(step.images_done || 0, step.image || 0) : 0;
    const share = step ? (images_done + (step.index + 1) / step.total) / images : 0;
    const problems = (view.problems || []).map((problem) => problem.message);
    announceRun({ state, share, message: sentencesText([sentence, ...problems]) });
  }

  function drawPicture(done, strip) {
    const width = done?.width || view.width || 1;
    const height = done?.height || view.height || 1;
    picture.style.aspectRatio = `${width} / ${height}`;
    frame.style.setProperty("--ratio", width / height);
    const badgeText = { stopped: say("stopped"), interrupted: say("interrupted.badge") }[view.state];
    badge.hidden = !badgeText || earlierPicture !== null;
    if (!badge.hidden) badge.textContent = badgeText;
    const frameAt = scrub !== null ? strip.frames[scrub] : null;
    const live = !done && (view.previews || [])[selected];
    if (frameAt) {
      const at = { index: evaluationOf(strip, scrub), total: strip.evaluations };
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
    } else if (!(view.live && ACTIVE_STATES.has(view.state))) {
      // (In live mode the earlier picture stays until the first preview is there.)
      picture.dataset.source = "";
      picture.hidden = true;
    }
  }

  function drawMessage(done) {
    let text = "";
    const title = { failed: say("failed"), refused: say("refused") }[view.state];
    if (!earlierPicture) {
      if (view.state === "first" && !done) text = say(tab !== "text_to_image" ? "first.image" : "first");
      else if (view.state === "sending") text = say("sending");
      else if (["queued", "loading"].includes(view.state) && view.live && !picture.hidden) text = "";
      else if (["queued", "loading", "failed", "refused", "invalid"].includes(view.state)) text = view.message;
      else if (["stopped", "interrupted"].includes(view.state) && !picture.dataset.source) text = view.message;
    }
    const parts = text ? [title ? h("strong", {}, title) : null, text] : [];
    if (text && view.error_id) parts.push(h("small", {}, say("error_id", { id: view.error_id })));
    message.replaceChildren(...parts.filter((part) => part !== null));
    message.hidden = !text;
    message.classList.toggle("ls-over", !!text && !!picture.dataset.source);
    message.classList.toggle("ls-bad", view.state === "failed" && !earlierPicture);
  }

  function drawFoot(done) {
    prompt.hidden = !done?.prompt;
    if (promptText.textContent !== (done?.prompt || "")) {
      promptText.textContent = done?.prompt || "";
      copy.textContent = say("copy");
      copyNote.textContent = "";
    }
    caption.textContent = done ? done.line || "" : isActive() || view.state === "stopped" ? view.prompt || "" : "";
    // The remarks of this run; those of an earlier picture stand in its file.
    const remarks = !earlierPicture && view.notes?.length ? view.notes : done?.notes;
    remarksLine.textContent = sentencesText(remarks || []);
    remarksLine.hidden = !remarksLine.textContent;
    unsaved.draw(done);
    const id = done?.id;
    for (const name of ["save", "edit", "inpaint", "upscale"]) buttons[name].hidden = !id;
    if (id) buttons.save.href = `/picture/${done.id}?download=1`;
    buttons.reuse.hidden = !done?.settings;
    buttons.compare.hidden = (done?.settings?.kind || "") !== "text_to_image";
    buttons.noise.hidden = earlierPicture !== null || !view.job || !["finished", "stopped"].includes(view.state);
  }

  // ------------------------------------------------------------------------------------------------ doing

  function scrubTo(k) {
    if (scrub === k) return;
    scrub = k;
    draw();
  }

  function open(next) {
    const ofRun = (view.pictures || []).findIndex((p) => p.id === next.id);
    const again = earlierPicture && earlierPicture.id === next.id; // a second click leads back to the run
    earlierPicture = ofRun >= 0 || again ? null : next;
    if (ofRun >= 0) selected = ofRun;
    scrub = null;
    draw();
    if (stage.getBoundingClientRect().top < 0) stage.scrollIntoView({ block: "start" });
  }

  const TARGETS = { edit: "image_to_image", inpaint: "inpaint", noise: "noise_viewer", compare: "compare" };
  async function sendOn(target) {
    const done = current();
    if (["edit", "inpaint"].includes(target)) unsaved.keep(done);
    if (TARGETS[target]) await prepareTab(TARGETS[target]);
    if (target === "noise") {
      journey.toViewerAt = performance.now();
      trigger("noise", { job: view.job, image: selected });
    } else if (done) trigger(target, { id: done.id || "", settings: done.settings || {} });
  }

  /** The result stands first in the strip, and on the stage where no run is under way. */
  function upscale() {
    const { id, width, height, prompt: name } = current();
    const onSaved = (result) => {
      view = { ...view, earlier: [result, ...(view.earlier || [])].slice(0, props.earlier) };
      if (ACTIVE_STATES.has(view.state)) return draw();
      open(result);
      announce(result.line);
    };
    openUpscaling({ pictures: [{ picture: id, width, height, name }], onSaved, closes: true });
  }

  async function copyPrompt() {
    copyNote.textContent = await copyText(promptText.textContent, () => selectIn(promptText));
    if (!copyNote.textContent) {
      getSelection().removeAllRanges();
      copy.textContent = say("copied");
    }
  }

  function stop() {
    if (stopRequested) return;
    stopRequested = true;
    if (view.job) trigger("stop", { job: view.job });
    draw();
  }

  function showSending() {
    stopRequested = false;
    hasRequest = true;
    before = view;
    earlierPicture = null;
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

  /** The click goes to the studio. */
  function watchAnswer() {
    const requestView = view;
    const showLost = () => {
      view = { ...view, state: "refused", message: say("lost") };
      draw();
    };
    afterNoAnswer(() => view === requestView, showLost);
  }

  // ------------------------------------------------------------------------------------------- the controls

  /** A run that is run again, or not wanted any more. */
  function forget(run) {
    cutRuns = cutRuns.filter((one) => one.job !== run.job);
    if (view.job === run.job) view = { ...view, state: "first", job: null, message: "", pictures: [], attached: true };
  }

  const workspace = () => document.getElementById(`${tab}-workspace`) || document.body;
  const { markProblems, clearProblems } = fieldProblems({ tab, workspace, otherPlace: () => message });
  runButtons({
    tab,
    element: stage,
    isActive: () => ACTIVE_STATES.has(view.state),
    start: showSending,
    onSend: watchAnswer,
    undo: () => ((view = before), draw()),
    stop,
  });

  // ------------------------------------------------------------------------------------------- a new view

  workspace().addEventListener("ls-replace-run", (event) => replacedJobs.add(event.detail));
  // Live mode's first frame, which does not come through Gradio
  workspace().addEventListener("ls-view", (event) => take(event.detail));

  const receive = () => take(props.value);
  function take(next) {
    if (!next?.state) return;
    if (next.interrupted) cutRuns = next.interrupted;
    const newJob = next.job && next.job !== view.job;
    if (next.attached && hasRequest) {
      view = { ...view, earlier: view.earlier?.length ? view.earlier : next.earlier };
      return draw();
    }
    if (replacedJobs.has(next.job)) return; // the end of a run that live mode replaces
    if (next.live && next.state === "stopped" && !stopRequested && workspace().dataset.asking) return; // as that
    if (newJob) {
      if (view.job) replacedJobs.add(view.job);
      films = [];
      selected = 0;
      scrub = null;
      earlierPicture = null;
    }
    const previous = view;
    view = next.live && !next.earlier.length ? { ...next, earlier: withNewest(next.pictures, view.earlier) } : next;
    if (newJob || view.pictures !== previous.pictures) unsaved.wait(view.live ? view.pictures || [] : []);
    if (view.step && view.previews?.[view.step.image]) {
      const strip = (films[view.step.image] = films[view.step.image] || []);
      strip[view.step.index] = view.previews[view.step.image];
      for (let k = view.step.index - 1; k >= 0 && !strip[k]; k--) strip[k] = strip[view.step.index];
    }
    for (const p of view.pictures || []) strips.set(p.id, { film: p.film, evaluations: p.evaluations });
    // The run is over: its picture shows
    if (ACTIVE_STATES.has(previous.state) && !ACTIVE_STATES.has(view.state)) earlierPicture = null;
    if (!ACTIVE_STATES.has(view.state)) stopRequested = false;
    else if (stopRequested && !previous.job && view.job) trigger("stop", { job: view.job });
    draw();
    if (view.state === "first" && !sample && view.attached && !view.earlier.length) fetchSample();
    if (view.problems && view.state === "invalid") markProblems(view.problems);
  }

  /** The strip after a run of live mode, whose views come without it. */
  function withNewest(pictures = [], earlier = []) {
    const newest = pictures.filter((picture) => !earlier.some((one) => one.id === picture.id));
    return newest.length ? [...newest.reverse(), ...earlier].slice(0, props.earlier) : earlier;
  }

  // A prompt may be Arabic or Hebrew: each field finds its own direction.
  for (const field of workspace().querySelectorAll("textarea")) field.dir = "auto";
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
