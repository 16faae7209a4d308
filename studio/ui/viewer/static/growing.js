/* The run that is looked at while it grows: which one that is, and the look at what has come since. */

import { fieldIn, h, isVisible, repeats } from "../../static/elements.js";
import { Record } from "./record.js";

const POLL = 200; // ms between looks at a growing record

/** `player`: of player.js; `empty`: where it is said why there is nothing to see. */
export function growing({ context, viewer, player, empty }) {
  const { props, say, state } = context;
  let poll = 0; // so that an older poll of another run stops
  let given = {}; // the run that the page was last given
  let turns = 0; // how often a run was asked for here
  const asked = new Set(); // the jobs that were asked for here, the newest last
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
      given: given.job,
    };
    state.start = undefined;
    follow();
  }
  /** What is looked at: what the page was given, or what was chosen on it since. */
  function value() {
    const next = props.value || {};
    // The newest run when the viewer was opened is out of date once another was asked for.
    if (isNews(next)) given = next;
    if (opened && (opened.given !== given.job || opened.job === given.job)) opened = null;
    return opened || given;
  }

  function isNews(next) {
    if (next.turn !== undefined) return next.turn === turns;
    if (!next.asked || !next.job) return true;
    // So is a run that still goes on while another was asked for.
    asked.add(next.job);
    return next.job === [...asked].at(-1);
  }

  async function follow() {
    const wanted = value();
    const mine = ++poll;
    empty.replaceChildren(
      wanted.message || (wanted.job ? say("waiting") : h("span", {}, h("strong", {}, say("intro")), say("empty"))),
    );
    if (!wanted.job || !isVisible(viewer)) return context.draw();
    let record = context.record;
    if (!record || record.job !== wanted.job || record.image !== (wanted.image || 0)) {
      record = context.record = viewer.record = new Record(wanted.job, wanted.image || 0);
      context.index = 0;
      state.follow = state.start === undefined;
      player.pause();
    }
    while (mine === poll && isVisible(viewer)) {
      let news;
      try {
        news = await record.grow();
      } catch (_error) {
        news = "none";
      }
      if (mine !== poll) return;
      if (news === "none" && value().ended) {
        if (!record.evaluations.length) empty.textContent = wanted.message || say("gone");
        return context.draw();
      }
      const newest = record.evaluations.length - 1;
      if (state.start !== undefined && newest >= 0) {
        context.index = Math.min(state.start, newest);
        if (newest >= state.start) delete state.start;
      } else if (news === "new" && state.follow && !player.playing()) context.index = newest;
      context.draw();
      if (record.ended) {
        // Its finished picture has a name that only the studio knows.
        if (opened && !opened.picture) context.trigger("look", { job: record.job, image: record.image });
        return;
      }
      await new Promise((done) => setTimeout(done, POLL));
    }
  }

  const again = repeats();
  function ask(event) {
    if (!event.repeat && !again(fieldIn("noise_viewer-prompt").value)) return turns++;
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

  return { follow, open, value, turn: () => turns };
}
