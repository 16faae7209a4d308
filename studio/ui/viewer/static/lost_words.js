/* Part of the panel Attention: which word may get no place in the picture, evaluation by evaluation. The measures come
   with the recording (studio/engine/viewer/lost_words.py), so the lines grow while the run goes. */

import { chart, number } from "./chart.js";
import { wordsOf } from "./prompt_words.js";

// Words that name nothing to be seen have no place of their own: they get no line.
const SMALL_WORDS = new Set(
  "a an the and or of in on at to by with from for as is are its it this that over under above below beside near into".split(
    " ",
  ),
);
const COLOURS = ["ls-x0", "ls-noise", "ls-guide", "ls-x", "ls-good"];
const HELP = 2; // weight of a word that is helped

export function lostWords(context) {
  const { h, say } = context;
  const lines = chart({ width: 640, height: 190, left: 44, right: 24, gutter: true, label: say("lost") });
  const risks = h("div", { class: "ls-risks", role: "status" });
  const element = h(
    "div",
    { class: "ls-lost" },
    h("h3", {}, say("lost")),
    h("p", { class: "ls-formula-line" }, say("lost.formula")),
    h("p", { class: "ls-note" }, say("lost.what")),
    h("figure", {}, lines.element),
    risks,
  );

  const isNamed = (word) => /[\p{L}\p{N}]/u.test(word.label) && !SMALL_WORDS.has(word.label.toLowerCase());

  const limitAt = (index) => context.record.run.lost_above[context.record.evaluations[index].attention_text];
  /** The measure of a word at an evaluation, or null. */
  const measureAt = (index, word) => context.record.evaluations[index]?.lost_words?.[word.number] ?? null;

  return {
    element,
    /** The labels of the words at risk at an evaluation. */
    atRisk(index) {
      const { record } = context;
      const entry = record.evaluations[index];
      if (!entry?.lost_words) return [];
      return wordsOf(record.run, entry.step)
        .filter(isNamed)
        .filter((word) => measureAt(index, word) > limitAt(index));
    },
    draw(index) {
      const { record } = context;
      const entry = record.evaluations[index];
      element.hidden = !entry?.lost_words;
      if (element.hidden) return;
      const words = wordsOf(record.run, entry.step).filter(isNamed);
      const total = record.run.total || record.evaluations.length;
      const at = words.map((word) => measureAt(index, word));
      lines.draw({
        lines: [
          {
            class: "ls-ghost",
            label: say("lost.above"),
            label_at: "start",
            points: [0, Math.max(1, total - 1)].map((x) => [x, limitAt(index)]),
          },
          ...words.map((word, k) => ({
            class: COLOURS[k % COLOURS.length],
            label: word.label,
            points: record.evaluations.map((_one, n) => [n, measureAt(n, word) ?? NaN]),
          })),
        ],
        x: { low: 0, high: Math.max(1, total - 1), from_one: true, label: say("schedule.evaluations") },
        y: { low: 0, high: 1 },
        marker: { x: index, points: at },
        pick: (x) => context.walk(Math.round(x)),
      });
      const risky = this.atRisk(index);
      const key = [record.job, index, ...risky.map((word) => `${word.number} ${measureAt(index, word)}`)].join("\n");
      if (risks.dataset.key === key) return;
      risks.dataset.key = key;
      const canHelp = !!context.branch && context.online;
      risks.replaceChildren(
        h("p", { class: "ls-note" }, say(risky.length ? "lost.risk" : "lost.none", { index: index + 1 })),
        ...risky.map((word) =>
          h(
            "p",
            { class: "ls-risk", "data-word": word.label },
            h("b", {}, word.label),
            h("small", {}, number(measureAt(index, word), 2)),
            canHelp
              ? h(
                  "button",
                  {
                    class: "ls-pick",
                    type: "button",
                    onclick: () => context.branch({ evaluation: index, word_weights: `${word.number}:${HELP}` }),
                  },
                  say("lost.help", { word: word.label }),
                )
              : "",
          ),
        ),
      );
    },
  };
}
