/* Panel: the ways of several runs, from noise to picture, in the plane of their two main directions, with the predicted
   pictures along them, and where each parts from the present run. */

import { number, svg } from "./chart.js";
import { dot, mainPlane } from "./main_plane.js";
import { rmsOf } from "./measures.js";
import { between, nearest, otherRuns, runChoice } from "./other_runs.js";
import { strideFor } from "./painter.js";
import { combine } from "./quantities.js";

const PART = 0.1; // two runs have parted where their distance reaches this share of its greatest
const SAME = 1e-3; // a distance that is none: half precision
const ALONG = 8; // predicted pictures of one run at most

/** Where a run parts from another: {index} of the evaluation of `record` and the distances {there, most}; {same} where
    they are one. `distances`: of each evaluation, null where the other run has no such level. */
export function parting(distances) {
  const known = distances.map((distance, index) => ({ distance, index })).filter(({ distance }) => distance !== null);
  const most = Math.max(0, ...known.map(({ distance }) => distance));
  if (most < SAME) return { same: true };
  const first = known.find(({ distance }) => distance >= PART * most);
  return { index: first.index, there: first.distance, most };
}

export const panel = {
  name: "trajectories",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const CLASSES = ["ls-x", "ls-x0", "ls-noise", "ls-guide"]; // the present run first
    const narrow = matchMedia("(max-width: 600px)");
    const runs = otherRuns(context);
    const choice = runChoice(context, runs);
    const dots = new Map(); // dot products of recorded x_t, by the names of both
    const drawing = svg("svg", { class: "ls-ways-plane", role: "img", "aria-label": say("tab.trajectories") });
    const pictures = h("div", { class: "ls-ways-pictures", "aria-hidden": "true" });
    const table = h("div", { class: "ls-ways-table" }, drawing, pictures);
    const list = h("ul", { class: "ls-ways-runs" });
    const note = h("p", { class: "ls-note" });
    const make = (word, field, changes) =>
      h("button", { class: "ls-button", type: "button", "data-field": field, onclick: () => beside(changes()) }, word);
    const makers = h(
      "div",
      { class: "ls-panel-head" },
      make(say("trajectories.seed"), "seed", () => ({ noise_seed: Math.floor(Math.random() * 2 ** 32) })),
      make(say("trajectories.guidance"), "guidance_scale", () => ({
        guidance_scale: context.record.run.guidance_scale > 4 ? 2 : 7.5,
      })),
      make(say("trajectories.scheduler"), "scheduler", () => ({
        scheduler: context.record.run.scheduler === "euler" ? "dpmpp_2m" : "euler",
      })),
    );
    const element = h(
      "section",
      { class: "ls-panel" },
      h("div", { class: "ls-panel-head" }, choice.element),
      makers,
      h("div", { class: "ls-ways-sides" }, table, list),
      h(
        "p",
        { class: "ls-formula" },
        h("code", {}, say("trajectories.formula")),
        h("code", {}, say("trajectories.distance")),
        h("small", {}, say("trajectories.formula.words")),
      ),
      note,
    );
    let drawnKey = "";
    let here = null; // what is drawn: {all, plane, px, width, height}
    let width = 0;
    new ResizeObserver(() => {
      if (table.clientWidth === width || !table.clientWidth) return;
      width = table.clientWidth;
      if (context.record?.evaluations.length) context.draw();
    }).observe(table);
    table.addEventListener("click", (event) => {
      if (!here) return;
      const box = table.getBoundingClientRect();
      const [x, y] = [event.clientX - box.left, event.clientY - box.top];
      const own = here.points.filter((point) => point.run === 0 && point.index < context.record.evaluations.length);
      const away = (point) => Math.hypot(here.px(point.at)[0] - x, here.px(point.at)[1] - y);
      const [closest] = own.sort((one, other) => away(one) - away(other));
      if (closest) context.walk(closest.index);
    });

    /** Makes a run of the same beginning with a change, and keeps this one beside it. */
    function beside(changes) {
      runs.add(context.record.job, context.record);
      context.branch({ evaluation: 0, ...changes });
    }

    /** All states of a run: x_t of each evaluation, and the clean latents at the end. */
    function statesOf(record, run) {
      const states = record.evaluations.map((entry, index) => ({
        run,
        index,
        name: `${record.job} ${record.image} ${index}${entry.rough ? " rough" : ""}`,
        values: () => record.latents(index, "x_t"),
      }));
      if (record.clean)
        states.push({
          run,
          index: record.evaluations.length,
          name: `${record.job} ${record.image} clean`,
          values: () => record.clean,
        });
      return states;
    }
    function dotOf(one, other) {
      const key = `${one.name} | ${other.name}`;
      if (!dots.has(key)) dots.set(key, dot(one.values(), other.values()));
      return dots.get(key);
    }

    function compute(all) {
      const points = all.flatMap((record, run) => statesOf(record, run));
      const plane = mainPlane(points.length, (i, j) => dotOf(points[i], points[j]));
      // The present run goes from left to right, and its end lies not below its beginning.
      const own = points.map((point, k) => ({ point, at: plane.places[k] })).filter(({ point }) => point.run === 0);
      const signs = [0, 1].map((k) => (own.at(-1).at[k] < own[0].at[k] ? -1 : 1));
      points.forEach((point, k) => {
        point.at = plane.places[k].map((value, axis) => signs[axis] * value);
      });
      return { points, shares: plane.shares };
    }

    /** Where a run parts from the present one, as a sentence. */
    function partingText(record, other) {
      const last = record.evaluations.length;
      const distances = record.evaluations.map((entry, index) => {
        const there = Number.isFinite(entry.log_snr) ? between(other, entry.log_snr, "x_t") : null;
        return there && rmsOf(combine([1, record.latents(index, "x_t")], [-1, there]));
      });
      if (record.clean && other.clean) distances.push(rmsOf(combine([1, record.clean], [-1, other.clean])));
      if (distances.every((distance) => distance === null)) return say("trajectories.no_level");
      const { same, index, there, most } = parting(distances);
      if (same) return say("trajectories.same");
      const values = { distance: number(there, 2), most: number(most, 2) };
      const first = distances.findIndex((distance) => distance !== null);
      if (index === first) return say("trajectories.from_start", values);
      if (index === last) return say("trajectories.at_end", values);
      return say("trajectories.parts", {
        ...values,
        index: index + 1,
        level: number(record.evaluations[index].log_snr, 2),
      });
    }

    /** What is other in a run than in the present one, in words. */
    function difference(run, own) {
      const parts = [];
      if (run.prompt !== own.prompt) parts.push(`“${run.prompt || say("no_prompt")}”`);
      if (run.seed !== own.seed) parts.push(say("fact.seed", { seed: run.seed }));
      if (run.guidance_scale !== own.guidance_scale) parts.push(say("fact.guidance", { guidance: run.guidance_scale }));
      if (run.scheduler !== own.scheduler || run.noise_schedule !== own.noise_schedule)
        parts.push((run.schedulers || [run]).map((one) => one.scheduler_label).join(" → "));
      if (run.steps !== own.steps) parts.push(say("runs.steps", { count: run.steps }));
      if (run.checkpoint !== own.checkpoint) parts.push(run.checkpoint);
      return parts.join(" · ");
    }

    function drawPlane(all, { points }) {
      const height = Math.round(narrow.matches ? width : Math.min(560, width * 0.6));
      const thumb = narrow.matches ? 40 : 56;
      const [left, top] = [thumb + 12, thumb + 12]; // room for a picture beside each point
      const span = [0, 1].map((k) => {
        const values = points.map((point) => point.at[k]);
        return [Math.min(...values), Math.max(...values)];
      });
      const scale = Math.min(
        (width - 2 * left) / (span[0][1] - span[0][0] || 1),
        (height - 2 * top) / (span[1][1] - span[1][0] || 1),
      );
      const middle = span.map(([low, high]) => (low + high) / 2);
      const px = ([x, y]) => [width / 2 + (x - middle[0]) * scale, height / 2 - (y - middle[1]) * scale];
      drawing.setAttribute("viewBox", `0 0 ${width} ${height}`);
      table.style.height = `${height}px`;
      const parts = [];
      const taken = []; // boxes of pictures and of points
      const placed = [];
      const ways = all.map((_, run) => points.filter((point) => point.run === run));
      for (const point of points) taken.push([...px(point.at).map((value) => value - 3), 6, 6]);
      [...ways.keys()].reverse().forEach((run) => {
        const line = ways[run]
          .map(({ at }) =>
            px(at)
              .map((value) => value.toFixed(1))
              .join(","),
          )
          .join(" ");
        parts.push(svg("polyline", { points: line, class: `ls-curve ${CLASSES[run]}` }));
        for (const { at } of ways[run]) {
          const [cx, cy] = px(at);
          parts.push(svg("circle", { cx, cy, r: 2.4, class: `ls-point ${CLASSES[run]}` }));
        }
      });
      // The ends of all runs first, then their beginnings, then what lies between.
      const wishes = ways.flatMap((way, run) => {
        const last = all[run].evaluations.length - 1;
        const many = Math.min(ALONG, last + 1);
        return Array.from({ length: many }, (_, k) => Math.round((k * last) / Math.max(1, many - 1))).map((index) => ({
          run,
          index,
          at: px((index === last ? way.at(-1) : way[index]).at),
          rank: index === last ? 0 : index === 0 ? 1 : 2,
        }));
      });
      wishes.sort((one, other) => one.rank - other.rank);
      const hits = (box, others) =>
        others.some(
          (one) =>
            box[0] < one[0] + one[2] &&
            one[0] < box[0] + box[2] &&
            box[1] < one[1] + one[3] &&
            one[1] < box[1] + box[3],
        );
      for (const wish of wishes) {
        const [x, y] = wish.at;
        const gap = 7;
        const spots = [
          [x - thumb / 2, y - thumb - gap],
          [x - thumb / 2, y + gap],
          [x + gap, y - thumb / 2],
          [x - thumb - gap, y - thumb / 2],
          [x + gap, y - thumb - gap],
          [x + gap, y + gap],
          [x - thumb - gap, y - thumb - gap],
          [x - thumb - gap, y + gap],
        ].map((at) => [...at, thumb, thumb]);
        const spot = spots.find(
          (box) =>
            box[0] >= 0 && box[1] >= 0 && box[0] + thumb <= width && box[1] + thumb <= height && !hits(box, taken),
        );
        if (!spot) continue;
        taken.push(spot);
        placed.push(picture(all[wish.run], wish, spot, thumb));
      }
      pictures.replaceChildren(...placed.filter(Boolean));
      drawing.replaceChildren(...parts);
      return { points, px };
    }

    function picture(record, { run, index }, [x, y], thumb) {
      const latents = record.latents(index, "denoised");
      if (!latents) return null;
      const canvas = h("canvas", { class: `ls-way-picture ${CLASSES[run]}` });
      canvas.style.cssText = `left: ${x}px; top: ${y}px; width: ${thumb}px; height: ${thumb}px`;
      if (record.decoder)
        context.painter.picture(canvas, latents, record.shape, record.decoder, {
          stride: strideFor(record.shape, record.decoder, thumb),
        });
      else context.painter.tiles(canvas, latents, record.shape, 3);
      return canvas;
    }

    /** The present place on each way. */
    function drawMarkers(all, at) {
      for (const one of drawing.querySelectorAll(".ls-marker")) one.remove();
      all.forEach((record, run) => {
        const index = run === 0 ? context.index : nearest(record, at.log_snr ?? -1e9);
        const point = here.points.find((one) => one.run === run && one.index === index);
        const [cx, cy] = here.px(point.at);
        drawing.append(svg("circle", { cx, cy, r: 5, class: `ls-marker ${CLASSES[run]}` }));
      });
    }

    return {
      element,
      draw(at) {
        const { record } = context;
        choice.draw();
        choice.element.hidden = makers.hidden = !!context.isReplay;
        for (const button of makers.children) {
          const isLocked = !!context.isLocked?.(button.dataset.field);
          button.disabled = isLocked || !context.online || !context.branch;
          button.title = isLocked ? say("branches.locked.field") : "";
        }
        const others = runs.there();
        const all = [record, ...others.filter((one) => one.shape.join() === record.shape.join())];
        if (!width) width = table.clientWidth;
        if (!width) return;
        const key = [
          width,
          ...all.map((one) => `${one.job} ${one.image} ${one.evaluations.length} ${!!one.clean} ${one.run.bits}`),
        ].join();
        if (key !== drawnKey) {
          drawnKey = key;
          const found = compute(all);
          here = { ...drawPlane(all, found), shares: found.shares };
          list.replaceChildren(
            ...all.map((one, run) =>
              h(
                "li",
                {},
                h("i", { class: `ls-key ${CLASSES[run]}` }),
                h(
                  "strong",
                  { dir: "auto" },
                  run ? difference(one.run, record.run) || say("trajectories.equal") : say("trajectories.own"),
                ),
                h("span", {}, run ? partingText(record, one) : ""),
                run
                  ? h(
                      "button",
                      { class: "ls-pick", type: "button", onclick: () => runs.remove(one.job) },
                      say("runs.remove"),
                    )
                  : null,
              ),
            ),
          );
          drawing.setAttribute(
            "aria-label",
            [say("tab.trajectories"), ...[...list.children].map((one) => one.textContent)].join(": "),
          );
        }
        drawMarkers(all, at);
        const share = number((here.shares[0] + here.shares[1]) * 100, 0);
        const sentences = [say("trajectories.share", { share })];
        if (all.length === 1) sentences.push(say(context.isReplay ? "trajectories.one" : "trajectories.none"));
        else sentences.push(say("trajectories.how"));
        if (all.length <= others.length) sentences.push(say("runs.sizes"));
        if (runs.problem()) sentences.push(runs.problem());
        note.replaceChildren(...sentences.flatMap((sentence) => [sentence, " "]));
      },
    };
  },
};
