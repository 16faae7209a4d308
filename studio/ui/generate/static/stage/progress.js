/* The line under the picture: where a run is, how fast it goes, how long it still takes. */

import { progressLine } from "../../../static/progress_line.js";

export function stageProgress({ say }) {
  const { element, bar, show } = progressLine({ label: say("label") });

  /** `evaluation`: the evaluation under the pointer, from 1, or null. `isSample`: the picture is that of a first
      visit. */
  function draw({ view, done, strip, earlierPicture, stopRequested, isActive, isSample, evaluation }) {
    const step = view.step;
    let left = "";
    let right = "";
    let share = 0;
    if (evaluation !== null) {
      left = say("scrub", { index: evaluation, total: strip.evaluations });
      share = evaluation / strip.evaluations;
    } else if (isActive) {
      if (stopRequested) left = say("stopping");
      else if (view.state === "sending") left = say("sending");
      else if (view.state === "running" && step) {
        const last = step.index + 1 >= step.total;
        left = say("step", { index: step.index + 1, total: step.total });
        const parts = last
          ? [say("decoding")]
          : [say("pace", { seconds: step.pace }), say("left", { seconds: step.left })];
        if (view.images > 1 && step.images_done)
          parts.unshift(say("images_done", { done: step.images_done, count: view.images }));
        if (step.decoder) parts.push(say(`decoder.${step.decoder}`));
        right = parts.join(" · ");
        share = (step.index + 1) / step.total;
      } else {
        left = view.message || "";
        share = view.state === "loading" ? view.fraction || 0 : 0;
      }
    } else if (!earlierPicture && ["finished", "stopped"].includes(view.state)) {
      left = view.message;
      share = view.state === "finished" ? 1 : (view.step ? view.step.index + 1 : 0) / (view.total || 1);
    } else if (isSample) {
      left = say("sample");
      share = 1;
    } else if (done) share = 1;
    const count = strip.evaluations || 1;
    show({ left, right, share, done: Math.round(share * count), count });
  }

  return { element, progress: bar, draw };
}
