/* Panel: up to four runs of this visitor beside each other, and where they part. They are aligned by log-SNR, the
   one axis that they share. */

import { chart, number } from "./chart.js";
import { rmsOf } from "./measures.js";
import { combine } from "./quantities.js";
import { Record } from "./record.js";

export const panel = {
  name: "runs",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const MOST = 4;
    const records = new Map(); // job => Record
    let others = []; // jobs beside the present one
    const choice = h("select", {
      class: "ls-choice",
      "aria-label": say("runs.add"),
      onchange: () => choice.value && add(choice.value),
    });
    const panes = h("div", { class: "ls-row-of ls-four" });
    const apart = chart({ width: 700, height: 200, left: 44, label: say("runs.apart") });
    const note = h("p", { class: "ls-note" });
    const element = h(
      "section",
      { class: "ls-panel" },
      h("div", { class: "ls-panel-head" }, choice),
      panes,
      h("figure", { class: "ls-apart" }, h("h3", {}, say("runs.apart")), apart.element),
      note,
    );
    const classes = ["ls-x0", "ls-noise", "ls-guide"];

    function add(job) {
      others = [...others.filter((one) => one !== job), job].slice(-(MOST - 1));
      choice.value = "";
      context.draw();
      fetchOne(job);
    }
    async function fetchOne(job) {
      if (records.has(job)) return;
      const record = new Record(job, 0);
      records.set(job, record);
      const news = await record.grow().catch(() => "none");
      if (news === "none") {
        records.delete(job);
        others = others.filter((one) => one !== job);
        note.textContent = say("gone");
      }
      context.draw();
    }

    /** The evaluation of a run whose log-SNR is nearest to a level. */
    function nearest(record, level) {
      let best = 0;
      record.evaluations.forEach((entry, k) => {
        if (Math.abs((entry.log_snr ?? -1e9) - level) < Math.abs((record.evaluations[best].log_snr ?? -1e9) - level))
          best = k;
      });
      return best;
    }

    /** Predicted x0 of a run at a level, interpolated between the two evaluations around it; null outside of its
        levels. */
    function between(record, level) {
      const all = record.evaluations;
      for (let k = 0; k + 1 < all.length; k++) {
        const [low, high] = [all[k].log_snr, all[k + 1].log_snr];
        if (!Number.isFinite(low) || !Number.isFinite(high) || level < low || level > high || low === high) continue;
        const [from, to] = [record.latents(k, "denoised"), record.latents(k + 1, "denoised")];
        const share = (level - low) / (high - low);
        return from && to && combine([1 - share, from], [share, to]);
      }
      return null;
    }

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
                onclick: () => ((others = others.filter((one) => one !== record.job)), context.draw()),
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
        const choices = (context.props.value?.runs || []).filter(
          (one) => one.job !== record.job && !others.includes(one.job),
        );
        others = others.filter((one) => one !== record.job);
        choice.replaceChildren(
          h("option", { value: "" }, say(others.length + 1 < MOST ? "runs.add" : "runs.swap")),
          ...choices.map((one) => h("option", { value: one.job }, one.label)),
        );
        choice.disabled = !choices.length;
        const there = others.map((job) => records.get(job)).filter((one) => one?.evaluations.length);
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
                  Number.isFinite(entry.log_snr) ? between(one, entry.log_snr) : null,
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
        note.textContent = there.length ? say(there.every(same) ? "runs.note" : "runs.sizes") : say("runs.none");
      },
    };
  },
};
