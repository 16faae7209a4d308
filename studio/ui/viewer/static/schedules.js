/* Panel: where schedulers evaluate the network, on the curve of its training. Any scheduler can be drawn before a
   run. */

import { ask } from "./ask.js";
import { chart } from "./chart.js";
import { alphaBar, levelFacts, positionOf } from "./levels.js";

export const panel = {
  name: "schedules",
  place: "deeper",
  alone: true,
  build(context) {
    const { h, say, props } = context;
    const MOST = 5; // curves at once
    const CLASSES = ["ls-noise", "ls-x0", "ls-guide", "ls-x", "ls-good"]; // the newest first
    const CHART_KINDS = {
      log_snr: (e) => e.log_snr ?? NaN,
      sigma: (e) => (Number.isFinite(e.sigma) ? Math.log10(e.sigma) : NaN),
      abar: alphaBar,
    };
    let kind = "log_snr";
    let across = "evaluation";
    let steps = 25;
    let pairs = null; // [[scheduler, noise schedule]]; the panel describes the first
    const answers = new Map();
    const group = (word, names, get, choose) => {
      const buttons = names.map((name) =>
        h(
          "button",
          { class: "ls-pick", type: "button", onclick: () => (choose(name), draw()) },
          say(`${word}.${name}`),
        ),
      );
      return {
        element: h(
          "div",
          { class: "ls-picks", role: "group", "aria-label": say(word) },
          h("span", {}, say(word)),
          ...buttons,
        ),
        draw: () => buttons.forEach((button, k) => button.setAttribute("aria-pressed", String(names[k] === get()))),
      };
    };
    const kinds = group(
      "schedules.kind",
      Object.keys(CHART_KINDS),
      () => kind,
      (name) => (kind = name),
    );
    const axes = group(
      "schedules.across",
      ["evaluation", "timestep"],
      () => across,
      (name) => (across = name),
    );
    const scheduler = h("select", { class: "ls-choice", "aria-label": say("schedules.scheduler") });
    for (const [name, facts] of Object.entries(props.schedulers))
      scheduler.append(h("option", { value: name }, facts.label));
    const spacing = h("select", { class: "ls-choice", "aria-label": say("schedules.noise_schedule") });
    const many = h("input", {
      type: "number",
      class: "ls-text ls-steps-field",
      min: 1,
      max: 150,
      value: steps,
      "aria-label": say("schedules.steps"),
      onchange: () => ((steps = Math.min(150, Math.max(1, Math.round(Number(many.value)) || 25))), draw()),
    });
    const add = h(
      "button",
      { class: "ls-button", type: "button", onclick: () => insert([scheduler.value, spacing.value]) },
      say("schedules.add"),
    );
    const list = h("div", { class: "ls-chips" });
    const message = h("p", { class: "ls-note", role: "status" });
    const curves = chart({ width: 900, height: 300, left: 44, right: 16, gutter: true, label: say("tab.schedules") });
    const words = h("p", { class: "ls-note" });
    const choices = h(
      "div",
      { class: "ls-panel-head" },
      scheduler,
      spacing,
      h("label", { class: "ls-inline" }, say("schedules.steps"), many),
      add,
    );
    const element = h(
      "section",
      { class: "ls-panel" },
      h("div", { class: "ls-panel-head" }, kinds.element, axes.element),
      choices,
      list,
      curves.element,
      message,
      words,
    );
    scheduler.addEventListener("change", fillSpacings);
    fillSpacings();

    function fillSpacings() {
      spacing.replaceChildren(
        ...props.schedulers[scheduler.value].noise_schedules.map((name) =>
          h("option", { value: name }, props.noise_schedules[name]),
        ),
      );
    }
    function insert(pair) {
      pairs = [...pairs.filter((one) => one.join() !== pair.join()), pair].slice(-MOST);
      draw();
    }
    const label = ([name, schedule], answer) =>
      `${props.schedulers[name].label} ${props.noise_schedules[(answer?.noise_schedule) || schedule]}`;
    const key = (pair) => `${context.checkpoint()} ${pair.join()} ${steps}`;

    async function fetchAll() {
      const missing = pairs.filter((pair) => !answers.has(key(pair)));
      if (!missing.length) return;
      for (const pair of missing) {
        const answerKey = key(pair);
        answers.set(answerKey, null);
        ask("schedule", {
          checkpoint: context.checkpoint(),
          scheduler: pair[0],
          noise_schedule: pair[1],
          num_inference_steps: steps,
        }).then(
          (answer) => {
            answers.set(answerKey, answer);
            message.textContent = "";
            draw();
          },
          (failure) => {
            answers.delete(answerKey);
            pairs = pairs.filter((one) => one !== pair);
            message.textContent = failure.message || say("ask.failed");
            draw();
          },
        );
      }
    }

    function draw() {
      if (!context.checkpoint()) return;
      const run = context.record?.run;
      if (!pairs) {
        const first = run?.scheduler in props.schedulers ? [run.scheduler, run.noise_schedule] : ["dpmpp_2m", "karras"];
        if (run?.steps) steps = run.steps;
        const able = props.schedulers[first[0]].noise_schedules;
        pairs = [
          ...["exponential", "normal"]
            .filter((name) => able.includes(name) && name !== first[1])
            .map((name) => [first[0], name]),
          first,
        ];
        [scheduler.value, many.value] = [first[0], String(steps)];
        fillSpacings();
      }
      choices.hidden = !!context.isReplay; // no studio that could answer about another
      fetchAll();
      for (const one of [kinds, axes]) one.draw();
      const value = CHART_KINDS[kind];
      const lines = [];
      const first = pairs.map((pair) => answers.get(key(pair))).find(Boolean);
      if (first && across === "timestep") {
        const { a, s } = first.training;
        const training = a.map((share, t) => [t, value(levelFacts({ a: share, s: s[t] }))]);
        lines.push({ points: training, class: "ls-thick", label: say("schedules.training"), label_at: "start" });
      }
      pairs.forEach((pair, k) => {
        const answer = answers.get(key(pair));
        if (!answer) return;
        const newest = k === pairs.length - 1;
        const colour = CLASSES[pairs.length - 1 - k];
        const points = answer.evaluations.map((e) => [across === "timestep" ? e.position : e.index, value(e)]);
        lines.push({
          points,
          class: newest ? colour : `${colour} ls-thin`,
          dots: newest || across === "timestep",
          bare: across === "timestep",
          label: label(pair, answer),
        });
      });
      list.replaceChildren(
        ...pairs.map((pair, k) =>
          h(
            "button",
            {
              class: `ls-chip ${CLASSES[pairs.length - 1 - k]}`,
              type: "button",
              title: say("schedules.remove"),
              onclick: () => ((pairs = pairs.filter((one) => one !== pair)), draw()),
            },
            `${label(pair, answers.get(key(pair)))} ×`,
          ),
        ),
      );
      const at = context.record?.evaluations[context.index];
      const same =
        run &&
        pairs.length &&
        pairs[pairs.length - 1][0] === run.scheduler &&
        pairs[pairs.length - 1][1] === run.noise_schedule &&
        steps === run.steps;
      curves.draw({
        lines,
        x: {
          low: 0,
          label: say(across === "timestep" ? "schedules.timestep" : "schedule.evaluations"),
          from_one: across !== "timestep",
        },
        y: kind === "abar" ? { low: 0, high: 1 } : {},
        marker:
          at && (same || across === "timestep")
            ? {
                x: across === "timestep" ? (first ? positionOf(first.training, at) : NaN) : at.index,
                points: [value(at)],
              }
            : null,
        pick: same && across === "evaluation" ? (x) => context.walk(Math.round(x)) : null,
      });
      words.textContent = say(`schedules.words.${kind}`);
    }
    return { element, draw };
  },
};
