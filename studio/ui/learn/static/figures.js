/* The figures of the tab Learn that no panel of the noise viewer has. A figure is {name, build(context)}; build returns
   {element, draw()}. context.tell says the tab's texts. */

import { h } from "../../static/elements.js";
import { ask, askUntilLoaded, pictureSource } from "../../viewer/static/ask.js";
import { fewSteps, fieldsOf, slot } from "./few_steps.js";

/** How three kinds of model come to a picture, and how often a network is called for one of this size. */
const kinds = {
  name: "kinds",
  build(context) {
    const { tell: say } = context;
    const calls = {
      gan: () => 1,
      pixels: ({ width, height }) => width * height,
      diffusion: ({ total }) => total,
    };
    const cells = Object.fromEntries(Object.keys(calls).map((kind) => [kind, h("td", { class: "ls-number" })]));
    const element = h(
      "div",
      { class: "ls-scroll", tabindex: 0, role: "group", "aria-label": say("kinds") },
      h(
        "table",
        { class: "ls-learn-table" },
        h(
          "thead",
          {},
          h(
            "tr",
            {},
            h("td", {}),
            ...["training", "risk", "calls"].map((one) => h("th", { scope: "col" }, say(`kinds.${one}`))),
          ),
        ),
        h(
          "tbody",
          {},
          ...Object.keys(calls).map((kind) =>
            h(
              "tr",
              {},
              h("th", { scope: "row" }, say(`kinds.${kind}`)),
              h("td", {}, say(`kinds.${kind}.training`)),
              h("td", {}, say(`kinds.${kind}.risk`)),
              cells[kind],
            ),
          ),
        ),
      ),
    );
    return {
      element,
      draw() {
        const run = context.record?.run;
        for (const [kind, count] of Object.entries(calls))
          cells[kind].textContent = run ? count(run).toLocaleString(document.documentElement.lang) : "";
      },
    };
  },
};

/** The pictures that runs of 1, 2, 4 and all steps end with, from the same noise. */
const steps = {
  name: "steps",
  build(context) {
    const { tell: say } = context;
    const FEW = [1, 2, 4];
    const few = FEW.map((count) => slot(say, say("steps.count", { count })));
    const all = slot(say, say("steps.all"));
    const none = h("p", { class: "ls-note", hidden: true }, say("steps.none"));
    const row = h("div", { class: "ls-row-of ls-four" }, ...few.map((one) => one.element), all.element);
    const element = h("div", { class: "ls-learn-steps" }, h("h4", {}, say("steps")), none, row);
    let record = null;
    return {
      element,
      draw() {
        if (!context.record?.ended || record === context.record) return;
        record = context.record;
        const fields = fieldsOf(record);
        none.hidden = !!fields;
        row.hidden = !fields;
        if (!fields) return;
        few.forEach((one, k) => one.show(fewSteps({ ...fields, steps: FEW[k] })));
        all.show(record.picture);
        all.element.querySelector(".ls-pane-name").textContent = say("steps.count", { count: record.run.steps });
      },
    };
  },
};

/** The picture with and without one of its words, in few steps from the same noise. */
const without = {
  name: "without",
  build(context) {
    const { tell: say } = context;
    const STEPS = 8;
    const whole = slot(say, say("without.all"));
    const less = slot(say, say("without.one"));
    const words = h("div", { class: "ls-learn-words", role: "group", "aria-label": say("without.words") });
    const row = h("div", { class: "ls-row-of ls-learn-two" }, whole.element, less.element);
    const element = h(
      "div",
      { class: "ls-learn-without" },
      h("h4", {}, say("without")),
      h("p", { class: "ls-note" }, say("without.how", { steps: STEPS })),
      words,
      row,
    );
    let record = null;
    let missing = null; // the place of the word that is left out
    function choose(place) {
      missing = place;
      draw();
    }
    function draw() {
      const { run } = record;
      const all = run.prompt.split(/\s+/).filter(Boolean);
      words.replaceChildren(
        ...all.map((word, place) =>
          h(
            "button",
            {
              class: "ls-pick",
              type: "button",
              "aria-pressed": String(place === missing),
              "aria-label": say("without.word", { word }),
              onclick: () => choose(place),
            },
            word,
          ),
        ),
      );
      const fields = { ...fieldsOf(record), steps: STEPS };
      whole.show(fewSteps(fields));
      less.show(
        missing === null ? null : fewSteps({ ...fields, prompt: all.filter((_, k) => k !== missing).join(" ") }),
      );
      less.element.hidden = missing === null;
    }
    return {
      element,
      draw() {
        if (!context.record?.ended || record === context.record) return;
        record = context.record;
        element.hidden = !fieldsOf(record);
        // The longest word is the most telling one.
        const all = record.run.prompt.split(/\s+/).filter(Boolean);
        missing = all.length ? all.reduce((best, word, k) => (word.length >= all[best].length ? k : best), 0) : null;
        if (!element.hidden) draw();
      },
    };
  },
};

/** The same machine begun at a picture: what it makes of it with other words, from more and more noise. */
const begin = {
  name: "begin",
  build(context) {
    const { tell: say } = context;
    const STEPS = 8;
    const STRENGTHS = [0.25, 0.5, 0.75, 1];
    const source = pictureSource(context);
    const words = h("input", {
      type: "text",
      class: "ls-text",
      "aria-label": say("begin.words"),
      value: say("begin.example"),
      onchange: () => context.draw(),
    });
    context.wish = () => words.value; // for the chapter's other figures
    const slots = STRENGTHS.map((strength) => slot(say, say("begin.strength", { strength })));
    const row = h("div", { class: "ls-row-of ls-four" }, ...slots.map((one) => one.element));
    const element = h(
      "div",
      { class: "ls-learn-steps" },
      source.element,
      h("div", { class: "ls-fields" }, h("label", {}, say("begin.words"), words)),
      h("p", { class: "ls-note" }, say("begin.how", { steps: STEPS })),
      row,
    );
    function draw() {
      const picture = source.draw();
      row.hidden = !picture;
      const run = context.record?.run;
      if (!picture || !run) return;
      const { checkpoint, guidance_scale, scheduler, noise_schedule, seed } = run;
      const fields = { checkpoint, guidance_scale, scheduler, noise_schedule, seed, prompt: words.value, steps: STEPS };
      slots.forEach((one, k) => one.show(fewSteps({ ...fields, strength: STRENGTHS[k] }, picture)));
    }
    return { element, draw };
  },
};

/** How much is computed for one call of the U-Net on the latents, and on the picture's own pixels. */
const cost = {
  name: "cost",
  build(context) {
    const { tell: say } = context;
    const bars = h("div", { class: "ls-learn-bars" });
    const status = h("p", { class: "ls-note", role: "status" });
    const note = h("p", { class: "ls-note", hidden: true });
    const element = h("div", { class: "ls-learn-cost" }, h("h4", {}, say("cost")), status, bars, note);
    let checkpoint = null;
    const size = (value) => {
      const units = ["", "thousand", "million", "billion", "trillion", "quadrillion"];
      const power = Math.min(units.length - 1, Math.floor(Math.log10(value) / 3));
      const scaled = value / 1000 ** power;
      const text = scaled.toLocaleString(document.documentElement.lang, { maximumFractionDigits: scaled < 10 ? 1 : 0 });
      return power ? say(`cost.${units[power]}`, { count: text }) : text;
    };
    return {
      element,
      async draw() {
        const next = context.checkpoint();
        if (!next || checkpoint === next) return;
        checkpoint = next;
        status.textContent = say("figure.made");
        try {
          const answer = await askUntilLoaded(() => ask("cost", { checkpoint: next }));
          if (checkpoint !== next) return;
          const most = answer.pixels.operations;
          const bar = (space) => {
            const filled = h("i", {});
            filled.style.inlineSize = `${Math.max(0.4, (100 * answer[space].operations) / most)}%`;
            return h(
              "div",
              { class: "ls-learn-bar", "data-space": space },
              h("span", {}, say(`cost.${space}`, { shape: answer[space].shape.join(" × ") })),
              h("div", { "aria-hidden": "true" }, filled),
              h("b", {}, size(answer[space].operations)),
            );
          };
          bars.replaceChildren(bar("latents"), bar("pixels"));
          note.textContent = say("cost.times", { times: Math.round(most / answer.latents.operations) });
          note.hidden = false;
          status.textContent = "";
        } catch (failure) {
          status.textContent = failure.message || say("figure.failed");
          checkpoint = null;
        }
      },
    };
  },
};

export const FIGURES = [kinds, steps, without, begin, cost];
