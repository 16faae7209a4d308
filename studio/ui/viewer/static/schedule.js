/* Panel: log-SNR of every evaluation, with the present one marked. */

import { chart, number } from "./chart.js";

export const panel = {
  name: "schedule",
  place: "aside",
  build(context) {
    const { h, say } = context;
    const way = chart({ width: 300, height: 150, left: 28, label: say("schedule") });
    const element = h(
      "figure",
      { class: "ls-schedule" },
      h("figcaption", {}, say("schedule")),
      way.element,
      context.caption("schedule"),
    );
    return {
      element,
      draw(at, total) {
        const points = context.record.evaluations
          .map((e) => [e.index, e.log_snr])
          .filter(([, value]) => Number.isFinite(value));
        way.draw({
          lines: [{ points, dots: true }],
          x: {
            low: 0,
            high: total - 1,
            from_one: true,
            bare: true,
            from: say("schedule.noise"),
            label: say("schedule.axis"),
            to: say("schedule.picture"),
          },
          y: { low: Math.min(-6, ...points.map((p) => p[1])), high: Math.max(6, ...points.map((p) => p[1])) },
          marker: { x: at.index, points: [at.log_snr] },
          pick: (x) => context.walk(Math.round(x)),
          description: Number.isFinite(at.log_snr)
            ? `${say("schedule.axis")} ${number(at.log_snr, 1)}`
            : say("number.no_signal"),
        });
      },
    };
  },
};
