/* Panel: a weight for each word of the prompt. The recorded U-Net call is made once more with these weights, which shows
   at once what changes in its noise; a branch goes on with them. Below: another word in the place of one, and what one word did in the whole run. */

import { ask } from "./ask.js";
import { number } from "./chart.js";
import { rmsOfCells } from "./measures.js";
import { weightsText, wordsOf } from "./prompt_words.js";
import { pictureOf, wordEffect, wordPane } from "./word_effect.js";
import { wordSwap } from "./word_swap.js";

export const panel = {
  name: "weights",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const REST = 250; // ms without a move before the studio is asked
    const MOST = 40; // answers that stay
    const answers = new Map(); // key => {answer}, {error} or {isPending}
    const weights = new Map(); // by the number of the word; 1 where it is not there
    let runOfWeights = null;
    let linesOf = null; // the words that the sliders are of
    let timer = 0;

    const list = h("div", { class: "ls-weights", role: "group", "aria-label": say("weights.words") });
    const reset = h(
      "button",
      { class: "ls-pick", type: "button", onclick: () => (weights.clear(), (linesOf = null), context.draw()) },
      say("weights.reset"),
    );
    const until = h("input", { type: "number", class: "ls-text", min: 1, step: 1 });
    const go = h("button", { class: "ls-button ls-primary", type: "button", onclick: leave });
    const status = h("p", { class: "ls-note", role: "status" });
    const recorded = wordPane(h, "x0", say("weights.recorded"), "recorded");
    const weighted = wordPane(h, "x0", say("weights.weighted"), "weighted");
    const change = wordPane(h, "guidance", say("weights.change"), "change");
    const panes = h("div", { class: "ls-row-of ls-three" }, recorded.figure, weighted.figure, change.figure);
    const swap = wordSwap(context);
    const effect = wordEffect(context);
    const element = h(
      "section",
      { class: "ls-panel" },
      h("p", { class: "ls-formula-line" }, "softmax(Q Kᵀ / √d + log m) V"),
      h("p", { class: "ls-note" }, say("weights.what")),
      list,
      h("div", { class: "ls-weights-go" }, h("label", {}, say("weights.until"), until), go, reset),
      status,
      panes,
      swap.element,
      effect.element,
    );

    const keyOf = (text) => [context.record.job, context.record.image, context.index, text].join(" ");
    /** Asks for the noise with the present weights, once they and the evaluation rest. */
    function askSoon(text) {
      clearTimeout(timer);
      const key = keyOf(text);
      timer = setTimeout(async () => {
        if (answers.has(key) || key !== keyOf(weightsText(weights))) return;
        const { record, index } = context;
        answers.set(key, { isPending: true });
        try {
          const fields = { checkpoint: record.run.checkpoint, job: record.job, which: record.image, evaluation: index };
          answers.set(key, { answer: await ask("word-weights", { ...fields, word_weights: text }) });
        } catch (failure) {
          answers.set(key, { error: failure.message || say("ask.failed") });
        }
        for (const oldest of [...answers.keys()].slice(0, Math.max(0, answers.size - MOST))) answers.delete(oldest);
        context.draw();
      }, REST);
    }
    function leave() {
      const changes = { evaluation: context.index, word_weights: weightsText(weights) };
      const last = Number(until.value);
      if (last < total()) changes.weights_until = last;
      context.branch(changes);
    }
    const total = () => context.record.run.total || context.record.evaluations.length;

    function fillList(words) {
      const names = words.map((word) => word.label).join("\n");
      if (linesOf === names) return;
      linesOf = names;
      list.replaceChildren(
        ...words.map((word) => {
          const output = h("output", {}, number(weights.get(word.number) ?? 1, 1));
          const slider = h("input", {
            type: "range",
            class: "ls-range",
            min: 0,
            max: 2,
            step: 0.1,
            value: weights.get(word.number) ?? 1,
            "aria-label": say("weights.of", { word: word.label }),
            oninput: () => {
              weights.set(word.number, Number(slider.value));
              output.textContent = number(Number(slider.value), 1);
              context.draw();
            },
          });
          return h(
            "label",
            { class: "ls-weight-line", "data-word": word.label },
            h("span", {}, word.label),
            slider,
            output,
          );
        }),
      );
    }

    return {
      element,
      available: (record) => !!record?.run.tokens && !record.isSample && context.online,
      draw(at) {
        const { record, index } = context;
        if (runOfWeights !== record) {
          runOfWeights = record;
          weights.clear();
          linesOf = null;
          until.value = String(total());
        }
        const words = wordsOf(record.run, at.step);
        for (const word of [...weights.keys()]) if (word >= words.length) weights.delete(word);
        fillList(words);
        until.max = total();
        until.min = index + 1;
        const text = weightsText(weights);
        const areNone = words.every((word) => weights.get(word.number) === 0);
        const result = text ? answers.get(keyOf(text)) : null;
        if (text && !areNone && !result) askSoon(text);
        go.disabled = !text || areNone || !(Number(until.value) > index);
        go.textContent = say("weights.go", { index: index + 1 });
        reset.hidden = !text;
        const answer = result?.answer;
        panes.hidden = !answer;
        status.textContent = areNone
          ? say("weights.none_left")
          : answer
            ? say("weights.size", {
                change: number(answer.run.rms_change, 4),
                noise: number(answer.run.rms_noise, 3),
                share: number((100 * answer.run.rms_change) / (answer.run.rms_noise || 1), 1),
              })
            : result?.error || say(text ? "weights.asking" : "weights.first");
        if (answer) {
          pictureOf(context, recorded, record.latents(index, "denoised"));
          pictureOf(context, weighted, answer.tensors.denoised?.values);
          const [, H, W] = record.shape;
          const cells = rmsOfCells(answer.tensors.noise_change.values, record.shape);
          const high = cells.reduce((most, value) => Math.max(most, value), 0);
          context.painter.heat(change.canvas, cells, [H, W], high);
          change.note.textContent = say("weights.scale", { high: number(high, 3) });
        }
        swap.draw(words);
        effect.draw(words);
      },
    };
  },
};
