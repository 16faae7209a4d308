/* The line under the picture: where the run is, how fast it goes, how long it still takes, and the bar below. */

import { h } from "../../../static/elements.js";

export function progressLine({ say }) {
  const status = h("span", { class: "ls-status" });
  const pace = h("span", { class: "ls-pace" });
  const bar = h("i");
  const progress = h(
    "div",
    { class: "ls-bar", role: "progressbar", "aria-valuemin": 0, "aria-label": say("label") },
    bar,
  );
  const element = h("div", { class: "ls-line" }, status, pace);

  /** `scrubbed`: the evaluation that is pointed at, from 1, or null; `sampled`: it is the picture of a first visit. */
  function draw({ view, done, filmed, opened, stopWanted, working, sampled, scrubbed }) {
    const step = view.step;
    let left = "";
    let right = "";
    let share = 0;
    if (scrubbed !== null) {
      left = say("scrub", { index: scrubbed, total: filmed.evaluations });
      share = scrubbed / filmed.evaluations;
    } else if (working) {
      if (stopWanted) left = say("stopping");
      else if (view.state === "sending") left = say("sending");
      else if (view.state === "running" && step) {
        const last = step.index + 1 >= step.total;
        left = say("step", { index: step.index + 1, total: step.total });
        const parts = last
          ? [say("decoding")]
          : [say("pace", { seconds: step.pace }), say("left", { seconds: step.left })];
        if (view.images > 1 && step.images_done)
          parts.unshift(say("images_done", { done: step.images_done, count: view.images }));
        if (step.rung) parts.push(say(`rung.${step.rung}`));
        right = parts.join(" · ");
        share = (step.index + 1) / step.total;
      } else {
        left = view.message || "";
        share = view.state === "loading" ? view.fraction || 0 : 0;
      }
    } else if (!opened && ["finished", "stopped"].includes(view.state)) {
      left = view.message;
      share = view.state === "finished" ? 1 : (view.step ? view.step.index + 1 : 0) / (view.total || 1);
    } else if (sampled) {
      left = say("sample");
      share = 1;
    } else if (done) share = 1;
    status.textContent = left;
    pace.textContent = right;
    bar.style.transform = `scaleX(${share})`;
    progress.setAttribute("aria-valuemax", filmed.evaluations || 1);
    progress.setAttribute("aria-valuenow", Math.round(share * (filmed.evaluations || 1)));
  }

  return { element, progress, draw };
}
