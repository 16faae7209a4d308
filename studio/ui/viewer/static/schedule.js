/* Panel: log-SNR of every evaluation, with the present one marked; for a newcomer the share of picture in x_t instead. */

import { chart, number } from "./chart.js";
import { alphaBar } from "./levels.js";

/** Where guidance acts, as bands of the chart, and in how many evaluations; none where it acts in all or in none, as the
    run has asked for no band. */
export function bandOf({ run, evaluations }) {
  if (!(run.guidance_low || run.guidance_high) || run.guidance_scale === 1) return { bands: null, count: 0 };
  const bands = [];
  let count = 0;
  for (const { index, guidance_scale } of evaluations) {
    if (guidance_scale === 1) continue;
    count++;
    const last = bands.at(-1);
    if (last && last.to === index - 0.5) last.to = index + 0.5;
    else bands.push({ from: index - 0.5, to: index + 0.5, class: "ls-band" });
  }
  return { bands, count };
}

export const panel = {
  name: "schedule",
  place: "aside",
  build(context) {
    const { h, say } = context;
    const way = chart({ width: 300, height: 150, left: 28, label: say("schedule") });
    const unit = h("small", {});
    const saved = h("p", { class: "ls-note", "data-band": "" });
    const element = h(
      "figure",
      { class: "ls-schedule" },
      h("figcaption", {}, say("schedule"), " ", unit),
      way.element,
      saved,
      context.caption("schedule"),
    );
    return {
      element,
      draw(at, total) {
        const isSimple = context.state.mode === "beginner";
        const share = (e) => 100 * alphaBar(e);
        const points = context.record.evaluations
          .map((e) => [e.index, isSimple ? share(e) : e.log_snr])
          .filter(([, value]) => Number.isFinite(value));
        unit.textContent = say(isSimple ? "schedule.share" : "schedule.axis");
        unit.title = say(isSimple ? "schedule.share.what" : "schedule.axis.what");
        const { bands, count } = bandOf(context.record);
        saved.hidden = !bands;
        if (bands) {
          const all = context.record.evaluations.length;
          saved.textContent = say("schedule.band", { count, total: all, saved: all - count, rows: 2 * all });
        }
        way.draw({
          lines: [{ points, dots: true }],
          bands: bands || [],
          x: {
            low: 0,
            high: total - 1,
            from_one: true,
            bare: true,
            from: say("schedule.noise"),
            to: say("schedule.picture"),
          },
          y: isSimple
            ? { low: 0, high: 100 }
            : { low: Math.min(-6, ...points.map((p) => p[1])), high: Math.max(6, ...points.map((p) => p[1])) },
          marker: { x: at.index, points: [isSimple ? share(at) : at.log_snr] },
          pick: (x) => context.walk(Math.round(x)),
          description: isSimple
            ? `${number(share(at))} %`
            : Number.isFinite(at.log_snr)
              ? `${say("schedule.axis")} ${number(at.log_snr, 1)}`
              : say("number.no_signal"),
        });
      },
    };
  },
};
