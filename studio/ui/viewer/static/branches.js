/* Panel: leaves a run at any evaluation and goes on with other settings; and the tree of the runs that came of it. */

import { isVisible, listText } from "../../static/elements.js";
import { number, svg } from "./chart.js";
import { weightsLine, wordsOf } from "./prompt_words.js";
import { schedulerAt } from "./quantities.js";

export const panel = {
  name: "branches",
  place: "deeper",
  build(context) {
    const { h, say, props } = context;
    const SPACINGS = Object.keys(props.noise_schedules).filter(
      (name) => !["automatic", "as_configured"].includes(name),
    );
    const [LEFT, TOP] = [16, 28];
    const prompt = h("input", { type: "text", class: "ls-text" });
    const negative = h("input", { type: "text", class: "ls-text" });
    const guidance = h("input", { type: "number", class: "ls-text", step: 0.5, min: 1, max: 30 });
    const noise = h("input", { type: "checkbox" });
    const scheduler = h("select", {
      class: "ls-choice",
      "aria-label": say("branches.scheduler"),
      onchange: fillSpacings,
    });
    const spacing = h("select", {
      class: "ls-choice",
      "aria-label": say("branches.noise_schedule"),
      onchange: drawWarmStartNote,
    });
    const warmStartNote = h("p", { class: "ls-note", hidden: true }, say("branches.warm"));
    const go = h("button", { class: "ls-button ls-primary", type: "button", onclick: leave });
    const message = h("p", { class: "ls-note", role: "status" });
    const lockedNote = h("p", { class: "ls-note", hidden: true }, say("branches.locked"));
    const fields = {
      negative_prompt: negative,
      guidance_scale: guidance,
      scheduler,
      noise_schedule: spacing,
      seed: noise,
    };
    const tree = svg("svg", { class: "ls-tree", role: "group", "aria-label": say("branches.tree") });
    const form = h(
      "div",
      { class: "ls-fields" },
      h("label", {}, say("branches.prompt"), prompt),
      h("label", {}, say("branches.negative"), negative),
      h("label", {}, say("branches.guidance"), guidance),
      h("label", {}, say("branches.scheduler"), scheduler),
      h("label", {}, say("branches.noise_schedule"), spacing),
      warmStartNote,
      h("label", { class: "ls-check" }, noise, h("span", {}, say("branches.noise"))),
      lockedNote,
      go,
      message,
    );
    const element = h(
      "section",
      { class: "ls-panel ls-branches" },
      h("div", {}, h("h3", {}, say("branches.leave")), h("p", { class: "ls-note" }, say("branches.what")), form),
      h(
        "div",
        {},
        h("h3", {}, say("branches.tree")),
        h("div", { class: "ls-scroll" }, tree),
        h("p", { class: "ls-note" }, say("branches.exact")),
      ),
    );
    let nodes = [];
    let runOfTree = null; // the run whose tree is here or on its way
    let runOfFields = null; // the run that has filled the fields
    let of = null; // the scheduler for which the choice was filled
    let stateOfTree = null; // the run's state at the request for the tree

    /** Fills the list of schedulers for a run; the first entry keeps the run's own. */
    function fillSchedulers() {
      const { record, index } = context;
      const by = schedulerAt(record, index);
      scheduler.replaceChildren(
        h("option", { value: "" }, say("branches.same", { name: by.scheduler_label })),
        ...Object.entries(props.schedulers).map(([name, facts]) => h("option", { value: name }, facts.label)),
      );
      spacing.value = "";
      fillSpacings();
    }
    function fillSpacings() {
      const by = schedulerAt(context.record, context.index);
      const able = props.schedulers[scheduler.value || by.scheduler]?.noise_schedules || [];
      const before = spacing.value;
      spacing.replaceChildren(
        h("option", { value: "" }, say("branches.levels")),
        ...SPACINGS.filter((name) => able.includes(name)).map((name) =>
          h("option", { value: name }, props.noise_schedules[name]),
        ),
      );
      spacing.value = able.includes(before) ? before : "";
      drawWarmStartNote();
    }
    /** What the owner has fixed for a lesson cannot be changed here either. */
    function drawLocks() {
      for (const [name, field] of Object.entries(fields)) {
        field.disabled = context.isLocked(name);
        field.title = field.disabled ? say("branches.locked.field") : "";
      }
      lockedNote.hidden = !Object.values(fields).some((field) => field.disabled);
    }
    function drawWarmStartNote() {
      warmStartNote.hidden = !scheduler.value && !spacing.value;
    }

    /** Makes a run that leaves this one at an evaluation, and opens it. `changes` are fields of docs/viewer.md,
        `paintBytes` the numbers of the body. */
    async function make(changes, paintBytes = null) {
      const { record } = context;
      message.textContent = say("branches.asking");
      const query = new URLSearchParams({ image: record.image, ...changes });
      try {
        const answer = await fetch(`/branch/${encodeURIComponent(record.job)}?${query}`, {
          method: "POST",
          body: paintBytes && new Blob([paintBytes]),
        });
        if (!answer.ok) throw new Error(answer.status === 404 ? say("gone") : await answer.text());
        message.textContent = "";
        runOfTree = null;
        context.open((await answer.json()).job_id, 0);
      } catch (failure) {
        message.textContent = failure.message || say("ask.failed");
        if (!isVisible(message)) context.show("branches"); // another panel has asked for it
      }
    }
    context.branch = make;

    function leave() {
      const { run } = context.record;
      const changes = { evaluation: context.index };
      if (prompt.value !== (run.prompt || "")) changes.prompt = prompt.value;
      if (negative.value !== (run.negative_prompt || "")) changes.negative_prompt = negative.value;
      if (Number(guidance.value) !== run.guidance_scale) changes.guidance_scale = guidance.value;
      if (scheduler.value) changes.scheduler = scheduler.value;
      if (spacing.value) changes.noise_schedule = spacing.value;
      if (noise.checked) changes.noise_seed = Math.floor(Math.random() * 2 ** 32);
      make(changes);
    }

    async function fetchTree() {
      const { record } = context;
      const state = `${record.job} ${record.ended}`;
      if (runOfTree === record.job && stateOfTree === state) return;
      [runOfTree, stateOfTree] = [record.job, state];
      const answer = await fetch(`/branches/${encodeURIComponent(record.job)}`).catch(() => null);
      if (!answer?.ok || runOfTree !== record.job) return;
      nodes = await answer.json();
      context.children = nodes
        .filter((node) => node.parent === record.job && node.image === record.image)
        .map((node) => ({ job: node.job_id, evaluation: node.evaluation, words: changesText(node) }));
      context.draw();
    }
    /** The runs that left this one, for the timeline; empty until the answer has come. */
    context.childrenOf = () => {
      if (runOfTree !== context.record.job) context.children = [];
      if (!context.online) return [];
      fetchTree();
      return context.children || [];
    };

    function changesText(node) {
      if (!node.changed) return say("branches.root");
      const labels = {
        scheduler: (value) => props.schedulers[value]?.label || value,
        noise_schedule: (value) => props.noise_schedules[value] || value,
        swap: (value) => value.replace(">", " → "),
        word_weights: (value) => {
          const { record } = context;
          if (node.prompt !== record.run.prompt || !record.run.tokens) return value;
          return weightsLine(value, wordsOf(record.run, record.evaluations[node.evaluation]?.step ?? 0));
        },
      };
      const valueText = (name, value) =>
        labels[name]
          ? labels[name](value)
          : typeof value === "number"
            ? number(value, Number.isInteger(value) ? 0 : 1)
            : value;
      const parts = Object.entries(node.changed).map(([name, value]) =>
        name === "noise_seed"
          ? say("branches.changed.noise_seed")
          : say(`branches.changed.${name}`, { value: valueText(name, value) }),
      );
      return parts.length ? listText(parts) : say("branches.changed.nothing");
    }

    /** Draws each run as a line from the point where it left its parent; the present run is the thick one. */
    function drawTree() {
      const { record, index } = context;
      const total = Math.max(record.run.total || 0, record.evaluations.length);
      // Names stand below their lines where there is no room beside them.
      const narrow = tree.parentElement.clientWidth > 0 && tree.parentElement.clientWidth < 600;
      const [width, right, row_] = narrow ? [340, 24, 74] : [760, 300, 56];
      const x = (k) => LEFT + ((width - LEFT - right) * k) / Math.max(1, total - 1);
      const y = (row) => TOP + row * row_;
      const height = TOP + (nodes.length - 1) * row_ + (narrow ? 48 : 36);
      tree.setAttribute("viewBox", `0 0 ${width} ${height}`);
      tree.style.minWidth = `${width}px`;
      const parts = [];
      nodes.forEach((node, row) => {
        const parent = nodes.findIndex((one) => one.job_id === node.parent);
        const from = node.evaluation ?? 0;
        const here = node.job_id === record.job;
        const line =
          parent >= 0
            ? `M ${x(from)} ${y(parent)} V ${y(row) - 8} Q ${x(from)} ${y(row)} ${x(from) + 8} ${y(row)} H ${x(total - 1)}`
            : `M ${x(0)} ${y(row)} H ${x(total - 1)}`;
        const open = () => !here && context.open(node.job_id, 0);
        const group = svg("g", {
          class: `ls-branch${here ? " ls-here" : ""}`,
          tabindex: here ? -1 : 0,
          role: "button",
          "aria-label": `${changesText(node)}: ${node.prompt}`,
        });
        group.addEventListener("click", open);
        group.addEventListener("keydown", (event) => {
          if (event.key === "Enter" || event.key === " ") {
            event.preventDefault();
            open();
          }
        });
        group.append(svg("path", { d: line, class: "ls-branch-line" }));
        const [left, top] = narrow ? [LEFT, y(row) + 22] : [x(total - 1) + 14, y(row) - 2];
        group.append(
          svg("rect", {
            x: left - 10,
            y: narrow ? y(row) - 12 : y(row) - 22,
            width: narrow ? width - LEFT : right - 8,
            height: narrow ? 56 : 44,
            class: "ls-branch-hit",
          }),
        );
        if (parent >= 0) group.append(svg("circle", { cx: x(from), cy: y(parent), r: 4, class: "ls-branch-from" }));
        group.append(svg("circle", { cx: x(total - 1), cy: y(row), r: 5, class: "ls-branch-end" }));
        group.append(svg("text", { x: left, y: top, class: "ls-branch-name" }, short(changesText(node), 40)));
        group.append(
          svg(
            "text",
            { x: left, y: top + 15 },
            short(
              [
                node.prompt,
                say("fact.guidance", { guidance: node.guidance_scale }),
                node.state === "finished" ? "" : say(`branches.state.${node.state}`),
              ]
                .filter(Boolean)
                .join(" · "),
              46,
            ),
          ),
        );
        if (here)
          group.append(svg("line", { x1: x(index), x2: x(index), y1: y(row) - 10, y2: y(row) + 10, class: "ls-now" }));
        parts.push(group);
      });
      tree.replaceChildren(...parts);
    }
    const short = (text, most) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);

    return {
      element,
      available: (record) => !record.isSample,
      draw() {
        const { record, index } = context;
        const { run } = record;
        if (runOfFields !== record) {
          runOfFields = record;
          prompt.value = run.prompt || "";
          negative.value = run.negative_prompt || "";
          guidance.value = String(run.guidance_scale);
          noise.checked = false;
          of = null;
        }
        // What "stays" means depends on the place in a run of two schedulers.
        const by = schedulerAt(record, index).scheduler;
        if (of !== by) {
          of = by;
          fillSchedulers();
        }
        drawLocks();
        go.textContent = say("branches.go", { index: index + 1 });
        fetchTree();
        drawTree();
      },
    };
  },
};
