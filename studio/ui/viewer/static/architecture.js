/* Panel: the parts and blocks of the loaded model, with shapes, parameters and milliseconds, and the lines between them. They
   light up as data passes. A click on a block opens the panel that shows what it does. */

import { listText } from "../../static/elements.js";
import { architectureOf } from "./ask.js";
import { number } from "./chart.js";
import { isFromPicture } from "./machine_panel.js";
import { unetLines } from "./unet_lines.js";

export const panel = {
  name: "architecture",
  place: "deeper",
  alone: true,
  build(context) {
    const { h, say } = context;
    const PASS = 700; // ms for the light to pass once
    const status = h("p", { class: "ls-note", role: "status" });
    const facts = h("p", { class: "ls-note" });
    const plan = h("div", { class: "ls-plan" });
    const element = h(
      "section",
      { class: "ls-panel" },
      h("div", { class: "ls-panel-head" }, facts),
      status,
      h("div", { class: "ls-scroll" }, plan),
      h("p", { class: "ls-note" }, say("architecture.note")),
    );
    const ways = h("div", { class: "ls-unet" });
    const lines = unetLines(ways, {
      skips: context.props.machine["word.skips"],
      context: context.props.machine["symbol.context"],
    });
    const pastNoise = h("div", { class: "ls-line-of" }); // what only a run from a picture uses
    const steps = h("span", { class: "ls-round-trip" });
    let lastCheckpoint = null;
    let lit = -1;

    const shape = (numbers) => (numbers ? numbers.join(" × ") : "");
    const countText = (count) =>
      count >= 1e6
        ? say("architecture.millions", { count: number(count / 1e6, count >= 1e7 ? 0 : 1) })
        : count >= 1e3
          ? say("architecture.thousands", { count: number(count / 1e3, 0) })
          : String(count);
    const timeText = (ms) =>
      typeof ms === "number" ? say("architecture.ms", { ms: number(ms, ms < 10 ? 1 : 0) }) : "";

    /** A box that opens a panel. `order` is when the light reaches it (0 to 1), `when` says which evaluations light
        it. */
    function box({ symbol, title, lines, opens, place, when = "all", order = 0 }) {
      const button = h(
        "button",
        {
          type: "button",
          class: "ls-box",
          "data-place": place,
          "data-when": when,
          title: say("architecture.open", { panel: say(`tab.${opens}`) }),
          onclick: () => context.show(opens),
        },
        symbol ? h("b", {}, symbol) : null,
        h("span", {}, title),
        ...lines.filter(Boolean).map((line) => h("small", {}, line)),
      );
      button.style.setProperty("--ls-delay", `${Math.round(order * PASS)}ms`);
      return button;
    }
    const data = (symbol, words, numbers, opens) =>
      h(
        "button",
        {
          type: "button",
          class: "ls-datum",
          onclick: () => context.show(opens),
          title: say("architecture.open", { panel: say(`tab.${opens}`) }),
        },
        h("b", {}, symbol),
        h("span", {}, words),
        h("small", {}, numbers),
      );
    const arrow = () => h("i", { class: "ls-arrow", "aria-hidden": "true" }, "→");

    function draw(answer) {
      const parts = Object.fromEntries(Object.entries(answer.parts));
      const { shapes } = answer;
      facts.textContent = [
        answer.family,
        say(`architecture.predicts.${answer.prediction_type}`),
        answer.dtype,
        answer.device,
      ].join(" · ");
      const unet = answer.blocks.filter((block) => block.part === "unet");
      const time = unet.reduce((sum, block) => sum + (block.milliseconds || 0), 0) || 1;
      let timeSoFar = 0;
      const blocks = unet.map((block) => {
        const order = timeSoFar / time;
        timeSoFar += block.milliseconds || 0;
        return { ...block, order };
      });
      const depth = (list) => list.map((block, k) => ({ block, row: k }));
      const down = depth(blocks.filter((block) => block.place === "down"));
      const up = blocks.filter((block) => block.place === "up");
      const boxOf = (block) =>
        box({
          title: say(`architecture.place.${block.place}`),
          lines: [
            listText(
              [
                block.resnets ? say("architecture.resnets", { count: block.resnets }) : "",
                block.self_attentions ? say("architecture.self", { count: block.self_attentions }) : "",
                block.cross_attentions ? say("architecture.cross", { count: block.cross_attentions }) : "",
              ].filter(Boolean),
            ),
            block.output ? `→ ${shape(block.output)}` : "",
            [countText(block.parameters), timeText(block.milliseconds)].filter(Boolean).join(" · "),
          ],
          opens: block.cross_attentions
            ? "attention"
            : block.place === "time"
              ? "schedules"
              : block.place === "out"
                ? "guidance"
                : "latent",
          place: block.cross_attentions ? "attended" : block.place,
          order: block.order,
        });
      const columns = [
        ...blocks.filter((block) => ["time", "in"].includes(block.place)).map((block) => ({ block, row: 0 })),
        ...down,
        ...blocks.filter((block) => block.place === "mid").map((block) => ({ block, row: down.length })),
        ...up.map((block, k) => ({ block, row: Math.max(0, up.length - 1 - k) })),
        ...blocks.filter((block) => block.place === "out").map((block) => ({ block, row: 0 })),
      ];
      // Input and time share the first column, one above the other.
      let column = 1;
      const cells = columns.map(({ block, row: blockRow }) => {
        const cell = boxOf(block);
        if (!["time", "in"].includes(block.place)) column += 1;
        const row = block.place === "time" ? 1 : blockRow;
        cell.style.setProperty("--ls-column", column);
        cell.style.setProperty("--ls-row", row + 1);
        return { block, box: cell };
      });
      ways.replaceChildren(lines.element, ...cells.map((one) => one.box));
      const part = (name, symbol, when, opens) =>
        parts[name] &&
        box({
          symbol,
          title: say(`architecture.part.${name}`),
          lines: [
            parts[name].kind,
            [countText(parts[name].parameters), timeText(parts[name].milliseconds)].filter(Boolean).join(" · "),
          ],
          opens,
          place: name,
          when,
        });
      const text = [
        part("text_encoder", "τ_θ", "first", "words"),
        part("text_encoder_2", "τ_θ,2", "first", "words"),
      ].filter(Boolean);
      pastNoise.replaceChildren(
        data("x", say("architecture.picture"), shape(shapes.picture), "forward"),
        arrow(),
        part("encoder", "E", "never", "vae"),
        arrow(),
        data("z", say("architecture.latents"), shape(shapes.latents), "latent"),
        arrow(),
      );
      plan.replaceChildren(
        h(
          "div",
          { class: "ls-line-of" },
          pastNoise,
          data("z_T", say("architecture.noised"), shape(shapes.latents), "forward"),
          arrow(),
          steps,
          arrow(),
          data("z_0", say("architecture.latents"), shape(shapes.latents), "latent"),
          arrow(),
          part("decoder", "D", "last", "vae"),
          arrow(),
          data("x̃", say("architecture.picture"), shape(shapes.picture), "vae"),
        ),
        h(
          "div",
          { class: "ls-line-of" },
          data("y", say("architecture.prompt"), "", "words"),
          arrow(),
          ...text,
          arrow(),
          data("τ_θ(y)", say("architecture.context"), shape(shapes.context), "attention"),
          h("span", { class: "ls-note" }, say("architecture.to_cross")),
        ),
        h(
          "div",
          { class: "ls-unet-head" },
          h("b", {}, "ε_θ(z_t, t, τ_θ(y))"),
          h("span", {}, say("architecture.part.unet")),
          h(
            "small",
            {},
            [parts.unet.kind, countText(parts.unet.parameters), timeText(parts.unet.milliseconds)]
              .filter(Boolean)
              .join(" · "),
          ),
        ),
        ways,
      );
      lines.draw(cells);
    }

    async function load() {
      const checkpoint = context.checkpoint();
      if (!checkpoint || lastCheckpoint === checkpoint) return;
      lastCheckpoint = checkpoint;
      status.textContent = say("architecture.asking");
      try {
        const answer = await architectureOf(checkpoint, () => lastCheckpoint === checkpoint);
        if (lastCheckpoint !== checkpoint) return;
        status.textContent = "";
        draw(answer);
      } catch (failure) {
        lastCheckpoint = null;
        status.textContent = failure.message || say("ask.failed");
      }
    }

    return {
      element,
      draw(at, total) {
        load();
        const { record } = context;
        steps.textContent = say("architecture.steps", { count: record?.run?.steps ?? "T" });
        pastNoise.classList.toggle("ls-unused", !!record?.run && !isFromPicture(record));
        if (!at || lit === context.index) return;
        lit = context.index;
        // The light passes once through the parts that work at this evaluation.
        for (const one of plan.querySelectorAll(".ls-box")) {
          const { when } = one.dataset;
          const isActive =
            when === "all" || (when === "first" && at.index === 0) || (when === "last" && at.index === total - 1);
          one.classList.remove("ls-lit");
          if (isActive) {
            void one.offsetWidth; // restarts the animation
            one.classList.add("ls-lit");
          }
        }
      },
    };
  },
};
