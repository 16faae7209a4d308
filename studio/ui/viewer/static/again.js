/* Parts of the panel Attention that repeat a recorded call. One shows where a place of the picture looks at the
   others (self-attention), one what each head of a layer does. Nothing is asked before a click. */

import { ask } from "./ask.js";
import { number } from "./chart.js";

/** Answers about single evaluations by key; only the newest few stay. ask(more) draws when its answer has come. */
function answers(context, question) {
  const MOST = 12;
  const cache = new Map(); // key => {answer}, {error} or {isPending}
  const key = (more) => {
    const { record, index } = context;
    return [record.job, record.image, index, ...Object.values(more)].join(" ");
  };
  return {
    get: (more = {}) => cache.get(key(more)) || null,
    async ask(more = {}) {
      const { record, index } = context;
      const answerKey = key(more);
      if (cache.get(answerKey)?.isPending || cache.get(answerKey)?.answer) return;
      cache.delete(answerKey);
      cache.set(answerKey, { isPending: true });
      context.draw();
      const fields = {
        checkpoint: record.run.checkpoint,
        job: record.job,
        which: record.image,
        evaluation: index,
        ...more,
      };
      try {
        cache.set(answerKey, { answer: await ask(question, fields) });
      } catch (failure) {
        cache.set(answerKey, { error: failure.message || context.say("ask.failed") });
      }
      for (const oldest of [...cache.keys()].slice(0, Math.max(0, cache.size - MOST))) cache.delete(oldest);
      context.draw();
    },
  };
}

/** Where a place of the picture looks at other places. draw(cell) takes the clicked cell, or null. */
export function places(context) {
  const { h, say } = context;
  const answersHere = answers(context, "self-attention");
  let group = null;
  const choice = h("select", {
    class: "ls-choice",
    "aria-label": say("attention.place"),
    onchange: () => ((group = choice.value), context.draw()),
  });
  const picture = h("canvas", { role: "img", "aria-label": say("places.picture") });
  const heat = h("canvas", { class: "ls-heat", "data-places": "", "aria-hidden": "true" });
  const cross = h("i", { class: "ls-cross" });
  const note = h("small", {});
  const figure = h(
    "figure",
    { class: "ls-pane" },
    h("div", { class: "ls-pane-table" }, h("div", { class: "ls-frame" }, picture, heat, cross)),
    h("figcaption", {}, note),
  );
  const status = h("p", { class: "ls-note", role: "status" });
  const button = h(
    "button",
    { class: "ls-button", type: "button", onclick: () => answersHere.ask() },
    say("places.ask"),
  );
  const element = h("div", { class: "ls-places" }, h("h3", {}, say("places")), choice, figure, status, button);

  return {
    element,
    clicked: () => answersHere.ask(),
    draw(cell, paint) {
      element.hidden = !context.online;
      if (!context.online) return;
      const answer = cell && answersHere.get();
      const groups = answer?.answer ? Object.keys(answer.answer.tensors) : [];
      choice.hidden = figure.hidden = !groups.length;
      button.hidden = !cell || !!answer?.isPending || !!answer?.answer;
      status.hidden = groups.length > 0;
      status.textContent = !cell ? say("places.none") : answer?.isPending ? say("places.asking") : answer?.error || "";
      if (!groups.length) return;
      if (!groups.includes(group)) group = groups[groups.length - 1];
      choice.replaceChildren(
        ...groups.map((name) => {
          const [, place, size] = name.split(".");
          return h(
            "option",
            { value: name, selected: name === group ? "" : null },
            say(`attention.place.${place}`, { size: size.replace("x", " × ") }),
          );
        }),
      );
      const {
        shape: [, height, width],
        values,
      } = answer.answer.tensors[group];
      const [, H, W] = context.record.shape;
      const [x, y] = [
        Math.min(width - 1, Math.floor((cell.x * width) / W)),
        Math.min(height - 1, Math.floor((cell.y * height) / H)),
      ];
      const many = height * width;
      const row = values.subarray((y * width + x) * many, (y * width + x + 1) * many);
      const high = row.reduce((most, value) => Math.max(most, value), 0);
      paint(picture);
      context.painter.heat(heat, row, [height, width], high);
      Object.assign(cross.style, {
        left: `${(x / width) * 100}%`,
        top: `${(y / height) * 100}%`,
        width: `${100 / width}%`,
        height: `${100 / height}%`,
      });
      note.textContent = say("places.note", { x: cell.x, y: cell.y, high: number(high, 3), even: number(1 / many, 4) });
    },
  };
}

/** Each head of one cross-attention layer. draw(rows) takes the rows of the chosen word. */
export function heads(context) {
  const { h, say } = context;
  const answersHere = answers(context, "heads");
  const choice = h("select", { class: "ls-choice", "aria-label": say("heads.layer"), onchange: () => context.draw() });
  const button = h(
    "button",
    { class: "ls-button", type: "button", onclick: () => answersHere.ask({ layer: choice.value }) },
    say("heads.ask"),
  );
  const status = h("p", { class: "ls-note", role: "status" });
  const grid = h("div", { class: "ls-heads" });
  const element = h(
    "div",
    { class: "ls-head-by-head" },
    h("h3", {}, say("heads")),
    h("div", { class: "ls-panel-head" }, choice, button),
    status,
    grid,
  );

  return {
    element,
    draw(word) {
      element.hidden = !context.online;
      if (!context.online) return;
      const layers = context.record.run.attention_layers;
      const names = layers.map((layer) => layer.name).join();
      if (choice.dataset.names !== names) {
        choice.dataset.names = names;
        choice.replaceChildren(
          ...layers.map((layer) =>
            h(
              "option",
              { value: layer.name },
              [
                say(`attention.place.${layer.place}`, { size: `${layer.height} × ${layer.width}` }),
                layer.name.replace(/\.transformer_blocks/, "").replace(/\.attn2$/, ""),
              ].join(" · "),
            ),
          ),
        );
      }
      const result = answersHere.get({ layer: choice.value });
      button.hidden = !!result?.answer || !!result?.isPending;
      status.hidden = !!result?.answer && !result.error;
      status.textContent = result?.isPending
        ? say("heads.asking")
        : result?.error || (result?.answer ? "" : say("heads.what"));
      grid.hidden = !result?.answer;
      if (!result?.answer) return;
      const {
        shape: [many, rows, height, width],
        values,
      } = result.answer.tensors.heads;
      const cells = height * width;
      const maps = Array.from({ length: many }, (_, head) => {
        const map = new Float32Array(cells);
        for (const row of word.rows) for (let k = 0; k < cells; k++) map[k] += values[(head * rows + row) * cells + k];
        return map;
      });
      const high = maps.reduce((most, map) => map.reduce((one, value) => Math.max(one, value), most), 0);
      grid.replaceChildren(
        ...maps.map((map, head) => {
          const canvas = h("canvas", {
            role: "img",
            "aria-label": say("heads.one", { index: head + 1, word: word.label }),
          });
          context.painter.heat(canvas, map, [height, width], high);
          return h("figure", {}, canvas, h("figcaption", {}, String(head + 1)));
        }),
      );
      status.hidden = false;
      const { rms, scale } = result.answer.run;
      status.textContent = [
        say("heads.note", { word: word.label, high: number(high, 3) }),
        say("heads.numbers", {
          q: number(rms.q, 2),
          k: number(rms.k, 2),
          v: number(rms.v, 2),
          scale: number(scale, 3),
        }),
      ].join(". ");
    },
  };
}
