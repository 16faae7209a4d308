/* Panel: up to four runs of this visitor beside each other, and where they part. They are aligned by log-SNR, the
   one axis that they share. */

import { chart, number } from "./chart.js";
import { rmsOf } from "./measures.js";
import { between, nearest, otherRuns, runChoice } from "./other_runs.js";
import { combine } from "./quantities.js";

export const panel = {
  name: "runs",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const runs = otherRuns(context);
    const choice = runChoice(context, runs);
    const panes = h("div", { class: "ls-row-of ls-four" });
    const apart = chart({ width: 700, height: 200, left: 44, label: say("runs.apart") });
    const note = h("p", { class: "ls-note" });
    const element = h(
      "section",
      { class: "ls-panel" },
      h("div", { class: "ls-panel-head" }, choice.element),
      panes,
      h("figure", { class: "ls-apart" }, h("h3", {}, say("runs.apart")), apart.element),
      note,
    );
    const classes = ["ls-x0", "ls-noise", "ls-guide"];

    function pane(record, index, colour) {
      const canvas = h("canvas", { role: "img", "aria-label": record.run.prompt || say("no_prompt") });
      const x0 = record.latents(index, "denoised");
      if (x0 && record.decoder) context.painter.picture(canvas, x0, record.shape, record.decoder);
      else if (x0) context.painter.tiles(canvas, x0, record.shape, 3);
      const entry = record.evaluations[index];
      const { run } = record;
      const facts = [
        say("fact.seed", { seed: run.seed }),
        (run.schedulers || [run]).map((one) => one.scheduler_label).join(" → "),
        say("fact.guidance", { guidance: run.guidance_scale }),
        say("runs.steps", { count: run.steps }),
      ].join(" · ");
      const level = Number.isFinite(entry.log_snr)
        ? say("runs.at", { index: index + 1, value: number(entry.log_snr, 2) })
        : say("evaluation", { index: index + 1, total: record.evaluations.length });
      const remove =
        record === context.record
          ? null
          : h(
              "button",
              {
                class: "ls-pick",
                type: "button",
                onclick: () => runs.remove(record.job),
              },
              say("runs.remove"),
            );
      return h(
        "figure",
        { class: "ls-pane" },
        h("div", { class: "ls-pane-table" }, h("div", { class: "ls-frame" }, canvas)),
        h(
          "figcaption",
          {},
          h("span", { class: `ls-pane-name ${colour}`, dir: "auto" }, run.prompt || say("no_prompt")),
          h("small", {}, level),
          h("small", {}, facts),
          remove,
        ),
      );
    }

    return {
      element,
      draw(at) {
        const { record } = context;
        choice.draw();
        const there = runs.there();
        const level = at.log_snr ?? -1e9;
        panes.replaceChildren(
          pane(record, context.index, ""),
          ...there.map((one, k) => pane(one, nearest(one, level), classes[k])),
        );
        const same = (one) => one.shape.join() === record.shape.join();
        const lines = there.map((one, k) => ({
          class: classes[k],
          label:
            one.run.prompt && one.run.prompt !== record.run.prompt
              ? one.run.prompt.slice(0, 28)
              : say("runs.other", { index: k + 2 }),
          dots: true,
          points: same(one)
            ? record.evaluations.map((entry, index) => {
                const [ownX0, otherX0] = [
                  record.latents(index, "denoised"),
                  Number.isFinite(entry.log_snr) ? between(one, entry.log_snr, "denoised") : null,
                ];
                return ownX0 && otherX0 ? [entry.log_snr, rmsOf(combine([1, ownX0], [-1, otherX0]))] : [NaN, NaN];
              })
            : [],
        }));
        const hasLine = lines.some((line) => line.points.some((point) => Number.isFinite(point[0])));
        apart.element.parentElement.hidden = !hasLine;
        if (hasLine)
          apart.draw({
            lines,
            x: { label: say("schedule.axis"), from: say("schedule.noise"), to: say("schedule.picture") },
            y: { low: 0 },
            marker: { x: at.log_snr, points: [] },
          });
        const word = there.length ? (there.every(same) ? "runs.note" : "runs.sizes") : "runs.none";
        note.textContent = runs.problem() || say(word);
      },
    };
  },
};
