/* Panel: log-SNR of every evaluation, with the present one marked; for a newcomer the share of picture in x_t instead. */

import { chart, number } from "./chart.js";
import { alphaBar } from "./levels.js";

export const panel = {
  name: "schedule",
  place: "aside",
  build(context) {
    const { h, say } = context;
    const way = chart({ width: 300, height: 150, left: 28, label: say("schedule") });
    const unit = h("small", {});
    const element = h(
      "figure",
      { class: "ls-schedule" },
      h("figcaption", {}, say("schedule"), " ", unit),
      way.element,
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
        way.draw({
          lines: [{ points, dots: true }],
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
