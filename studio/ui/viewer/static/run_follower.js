/* Chooses the run in the viewer, and follows it while it grows. */

import { runAnnouncer } from "../../static/announcements.js";
import { fieldIn, h, isVisible, repeats } from "../../static/elements.js";
import { Record } from "./record.js";
import { sampleRecord } from "./sample.js";

const POLL = 200; // ms between looks at a growing record
const SAMPLE_START = 0.4; // the share of the sample's run at which it opens: shapes are there, and noise is left

/** `player`: of player.js. `empty` says why there is nothing to see. */
export function runFollower({ context, viewer, player, empty }) {
  const { props, say, state } = context;
  let poll = 0; // an older poll of another run stops when this changes
  let pageRun = {}; // the run that the server sent last
  let requestCount = 0; // how many runs this viewer has asked for
  const announceRun = runAnnouncer();
  const requestedJobs = new Set(); // the jobs that this viewer has asked for, the newest last
  let chosenRun = null; // a run that was chosen in the viewer; it stays until the server sends another
  let sample = null; // a promise of the sample's record, from the moment in which a visitor without a run comes

  /** Opens another run of this visitor: a branch, or an earlier one. */
  function open(job, image) {
    chosenRun = {
      job,
      image,
      ended: false,
      message: "",
      picture: null,
      checkpoint: context.checkpoint(),
      locked: value().locked,
      pageJob: pageRun.job,
    };
    state.start = undefined;
    follow();
  }
  /** Opens a run whose record is there already: the sample's, or the one in the tab Learn. */
  function openRecord(record, index) {
    chosenRun = {
      job: record.job,
      image: record.image,
      record,
      ended: true,
      message: "",
      picture: record.pictureId,
      checkpoint: record.run.checkpoint,
      pageJob: pageRun.job,
    };
    state.start = undefined;
    if (context.record !== record) put(record);
    context.index = index;
    state.follow = index >= record.evaluations.length - 1;
    follow();
  }
  /** Shows the sample's run to a visitor who has none. Without its files the viewer stays empty. */
  async function openSample() {
    sample ??= sampleRecord(props.sample).catch(() => null);
    const record = await sample;
    if (!record || value().job || !isVisible(viewer)) return;
    openRecord(record, state.start ?? Math.floor(SAMPLE_START * record.evaluations.length));
  }
  /** Puts a record into the viewer. */
  function put(record) {
    // The file that stands for the sample's picture leaves with the sample.
    if (context.file && context.file === context.record?.file) context.file = null;
    context.record = viewer.record = record;
    if (record.file) context.file = record.file;
    player.pause();
  }
  /** The run in the viewer: the one that the server sent, or the one that was chosen since. */
  function value() {
    const next = props.value || {};
    // The newest run at the opening of the viewer is out of date when another was asked for since.
    if (isNews(next)) pageRun = next;
    if (chosenRun && (chosenRun.pageJob !== pageRun.job || chosenRun.job === pageRun.job)) chosenRun = null;
    return chosenRun || pageRun;
  }

  function isNews(next) {
    if (next.request_count !== undefined) return next.request_count === requestCount;
    if (!next.requested_here || !next.job) return true;
    // A run that still goes on while another was asked for is out of date too.
    requestedJobs.add(next.job);
    return next.job === [...requestedJobs].at(-1);
  }

  async function follow() {
    const run = value();
    const round = ++poll;
    empty.replaceChildren(
      run.message || (run.job ? say("waiting") : h("span", {}, h("strong", {}, say("intro")), say("empty"))),
    );
    // An answer without a run and without a message: this visitor has none.
    if (!run.job && run.request_count !== undefined && !run.message && props.sample) openSample();
    if (!run.job || !isVisible(viewer)) return context.draw();
    let record = context.record;
    if (!record || record.job !== run.job || record.image !== (run.image || 0)) {
      record = new Record(run.job, run.image || 0);
      put(record);
      context.index = 0;
      state.follow = state.start === undefined;
    }
    if (record.isSample) return context.draw(); // all of it is here
    while (round === poll && isVisible(viewer)) {
      let news;
      try {
        news = await record.grow();
      } catch (_error) {
        news = "none";
      }
      if (round !== poll) return;
      if (news === "none" && value().ended) {
        if (!record.evaluations.length) empty.textContent = run.message || say("gone");
        return context.draw();
      }
      const newest = record.evaluations.length - 1;
      if (state.start !== undefined && newest >= 0) {
        context.index = Math.min(state.start, newest);
        if (newest >= state.start) delete state.start;
      } else if (news === "new" && state.follow && !player.playing()) context.index = newest;
      context.draw();
      // The runs of the other tabs are announced there.
      if (requestedJobs.has(record.job) && newest >= 0)
        announceRun({
          state: record.ended ? "finished" : "running",
          share: (newest + 1) / (record.run.total || Infinity),
        });
      if (record.ended) {
        // Only the studio knows the name of its finished picture.
        if (chosenRun && !chosenRun.picture) context.trigger("look", { job: record.job, image: record.image });
        return;
      }
      await new Promise((done) => setTimeout(done, POLL));
    }
  }

  const again = repeats();
  function ask(event) {
    if (!event.repeat && !again(fieldIn("noise_viewer-prompt").value)) return requestCount++;
    event.preventDefault();
    event.stopImmediatePropagation();
  }
  document.addEventListener("click", (event) => event.target.closest?.("#noise_viewer-run") && ask(event), true);
  const submits = (event) => event.key === "Enter" && !event.shiftKey && !event.isComposing;
  document.addEventListener(
    "keydown",
    (event) => submits(event) && event.target.closest?.("#noise_viewer-prompt") && ask(event),
    true,
  );

  return { follow, open, openRecord, value, requestCount: () => requestCount };
}
