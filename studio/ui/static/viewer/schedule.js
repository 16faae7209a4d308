/* Panel: log-SNR of every evaluation, and where on that way we are. */
"use strict";

window.LatentStudio.panels.push({
  name: "schedule",
  build(context) {
    const { h, say } = context;
    const [WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM] = [360, 132, 34, 10, 12, 22];
    const svg = (tag, attributes) => {
      const element = document.createElementNS("http://www.w3.org/2000/svg", tag);
      for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
      return element;
    };
    const chart = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT}`, class: "ls-chart", role: "img" });
    const element = h("figure", { class: "ls-schedule" }, h("figcaption", {}, say("schedule")), chart);

    function text(x, y, words, anchor) {
      const label = svg("text", { x, y, "text-anchor": anchor });
      label.textContent = words;
      return label;
    }
    return {
      element,
      draw(at, total) {
        const points = context.record.evaluations.filter((e) => Number.isFinite(e.log_snr));
        const [low, high] = [Math.min(-6, ...points.map((e) => e.log_snr)), Math.max(6, ...points.map((e) => e.log_snr))];
        const x = (k) => LEFT + ((WIDTH - LEFT - RIGHT) * (k + 0.5)) / total;
        const y = (value) => TOP + ((HEIGHT - TOP - BOTTOM) * (high - value)) / (high - low);
        const parts = [];
        for (const value of [low, 0, high]) {
          parts.push(svg("line", { x1: LEFT, x2: WIDTH - RIGHT, y1: y(value), y2: y(value), class: "ls-grid" }));
          parts.push(text(LEFT - 6, y(value) + 4, value.toFixed(0).replace("-", "−"), "end"));
        }
        parts.push(text(LEFT, HEIGHT - 5, say("schedule.noise"), "start"), text(WIDTH - RIGHT, HEIGHT - 5, say("schedule.picture"), "end"));
        parts.push(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 5, `${say("schedule.axis")} · ${say("schedule.evaluations")}`, "middle"));
        parts.push(svg("polyline", { points: points.map((e) => `${x(e.index)},${y(e.log_snr)}`).join(" "), class: "ls-curve" }));
        for (const e of points) parts.push(svg("circle", { cx: x(e.index), cy: y(e.log_snr), r: 1.8, class: "ls-point" }));
        if (Number.isFinite(at.log_snr)) {
          parts.push(svg("line", { x1: x(at.index), x2: x(at.index), y1: TOP, y2: HEIGHT - BOTTOM, class: "ls-now" }));
          parts.push(svg("circle", { cx: x(at.index), cy: y(at.log_snr), r: 4.5, class: "ls-marker" }));
        }
        chart.replaceChildren(...parts);
        chart.setAttribute("aria-label", `${say("schedule")}: ${say("schedule.axis")} ${at.log_snr.toFixed(1)}`);
      },
    };
  },
});
