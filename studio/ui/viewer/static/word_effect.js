/* Part of the panel Weights: what one word did. The run is made once more without it (weight 0), and the two predicted
   pictures are shown beside each other at every evaluation. */

import { refusalOf } from "./ask.js";
import { chart, number } from "./chart.js";
import { rmsOf, rmsOfCells } from "./measures.js";
import { combine } from "./quantities.js";
import { Record } from "./record.js";

/** A pane with a canvas, a name and a note. */
export function wordPane(h, colour, name, which) {
  const canvas = h("canvas", { role: "img", class: "ls-pixels", "aria-label": name, "data-weights": which });
  const note = h("small", {});
  const figure = h(
    "figure",
    { class: "ls-pane", "data-colour": colour },
    h("div", { class: "ls-pane-table" }, h("div", { class: "ls-frame" }, canvas)),
    h("figcaption", {}, h("span", { class: "ls-pane-name" }, name), note),
  );
  return { canvas, note, figure };
}

/** Draws a predicted picture by the fast decoder, or as its channels where there is none; hidden where it has no
    value. */
export function pictureOf(context, pane, latents) {
  const { record, painter } = context;
  pane.figure.hidden = !latents;
  if (!latents) return;
  if (record.decoder) painter.picture(pane.canvas, latents, record.shape, record.decoder);
  else painter.tiles(pane.canvas, latents, record.shape, 3);
  pane.canvas.classList.toggle("ls-pixels", !record.decoder);
}

export function wordEffect(context) {
  const { h, say } = context;
  const POLL = 250; // ms between looks at the other run while it grows
  const others = new Map(); // key of run and word => {record} , {error} or {isPending}
  let words = [];
  let chosen = null; // number of the word

  const choice = h("select", {
    class: "ls-choice",
    "aria-label": say("effect.word"),
    onchange: () => ((chosen = Number(choice.value)), context.draw()),
  });
  const button = h("button", { class: "ls-button", type: "button", onclick: make });
  const status = h("p", { class: "ls-note", role: "status" });
  const having = wordPane(h, "x0", say("effect.with"), "with");
  const lacking = wordPane(h, "x0", say("effect.without"), "without");
  const apart = wordPane(h, "guidance", say("effect.apart"), "apart");
  const panes = h("div", { class: "ls-row-of ls-three" }, having.figure, lacking.figure, apart.figure);
  const sizes = chart({ width: 640, height: 170, left: 44, label: say("effect.sizes") });
  const figure = h("figure", {}, h("h3", {}, say("effect.sizes")), sizes.element);
  const element = h(
    "div",
    { class: "ls-effect" },
    h("h3", {}, say("effect")),
    h("p", { class: "ls-note" }, say("effect.what")),
    h("div", { class: "ls-panel-head" }, choice, button),
    status,
    panes,
    h("div", { class: "ls-charts" }, figure),
  );

  const keyOf = () => [context.record.job, context.record.image, chosen].join(" ");
  /** Where the two runs part: where this run left its parent, else at its beginning. */
  const first = () => context.record.run.branch?.evaluation ?? 0;

  async function make() {
    const { record } = context;
    const key = keyOf();
    if (others.get(key)?.isPending || others.get(key)?.record) return;
    others.set(key, { isPending: true });
    context.draw();
    try {
      const query = new URLSearchParams({ image: record.image, evaluation: first(), word_weights: `${chosen}:0` });
      const answer = await fetch(`/branch/${encodeURIComponent(record.job)}?${query}`, { method: "POST" });
      if (!answer.ok) throw answer.status === 404 ? new Error(say("gone")) : await refusalOf(answer);
      const other = new Record((await answer.json()).job_id, 0);
      others.set(key, { record: other });
      while (!other.ended && context.record === record) {
        await other.grow().catch(() => "none");
        context.draw();
        await new Promise((done) => setTimeout(done, POLL));
      }
      // Left half way, it is asked for again where somebody comes back.
      if (!other.ended) others.delete(key);
    } catch (failure) {
      others.set(key, { error: failure.message || say("ask.failed") });
    }
    context.draw();
  }

  return {
    element,
    draw(newWords) {
      const { record, index, painter } = context;
      const names = newWords.map((word) => word.label).join("\n");
      if (choice.dataset.names !== names) {
        choice.dataset.names = names;
        words = newWords;
        if (chosen === null || chosen >= words.length)
          chosen = [...words].sort((p, q) => q.label.length - p.label.length)[0]?.number ?? null;
        choice.replaceChildren(
          ...words.map((word) =>
            h("option", { value: word.number, selected: word.number === chosen ? "" : null }, word.label),
          ),
        );
      }
      const label = words.find((word) => word.number === chosen)?.label || "";
      element.hidden = words.length < 2; // without its only word a prompt has none
      const other = others.get(keyOf());
      const there = other?.record;
      button.hidden = !!there || !!other?.isPending;
      button.disabled = !record.ended;
      button.textContent = say("effect.make", { word: label });
      const has = (k) => !!there?.evaluations[k];
      const shown = has(index);
      panes.hidden = !shown;
      figure.hidden = !has(0);
      status.textContent =
        other?.error ||
        (other?.isPending || (there && !there.ended)
          ? say("effect.making", { done: there?.evaluations.length || 0, total: record.run.total })
          : there
            ? say("effect.note", { word: label })
            : record.ended
              ? ""
              : say("effect.wait"));
      if (has(0)) {
        const points = record.evaluations.map((_entry, k) => {
          const [own, its] = [record.latents(k, "denoised"), has(k) && there.latents(k, "denoised")];
          return own && its ? [k, rmsOf(combine([1, own], [-1, its]))] : [NaN, NaN];
        });
        const at = points[index]?.[1];
        sizes.draw({
          lines: [{ points, class: "ls-guide" }],
          x: {
            low: 0,
            high: Math.max(1, (record.run.total || 1) - 1),
            from_one: true,
            label: say("schedule.evaluations"),
          },
          y: { low: 0 },
          marker: { x: index, points: Number.isFinite(at) ? [at] : [] },
          pick: (x) => context.walk(Math.round(x)),
        });
      }
      if (!shown) return;
      const [own, its] = [record.latents(index, "denoised"), there.latents(index, "denoised")];
      pictureOf(context, having, own);
      pictureOf(context, lacking, its);
      apart.figure.hidden = !own || !its;
      if (!own || !its) return;
      const [, H, W] = record.shape;
      const cells = rmsOfCells(combine([1, own], [-1, its]), record.shape);
      const high = cells.reduce((most, value) => Math.max(most, value), 0);
      painter.heat(apart.canvas, cells, [H, W], high);
      apart.note.textContent = say("weights.scale", { high: number(high, 2) });
    },
  };
}
