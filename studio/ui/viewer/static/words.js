/* Panel: the prompt as CLIP sees it. */

import { sentencesText } from "../../static/elements.js";
import { number } from "./chart.js";
import { embeddings } from "./embeddings.js";

/** The text at a step, counted from 0. */
export const textAt = (texts, step) =>
  texts.find((one) => one.until == null || step < one.until) || texts[texts.length - 1];

export const panel = {
  name: "words",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const vectors = embeddings(context);
    const which = h("div", { class: "ls-picks", role: "group", "aria-label": say("words.which") });
    const strip = h("div", { class: "ls-tokens-strip" });
    const note = h("p", { class: "ls-note" });
    const element = h("section", { class: "ls-panel" }, which, strip, note, vectors.element);
    let text = "prompt";
    let padding = false;

    /** One position of a text encoder's input; `read` holds its ids and pieces. */
    function token(chunk, k, read) {
      const kind = chunk.kinds[k];
      const text =
        kind === "begin"
          ? say("words.begin")
          : kind === "end"
            ? say("words.end")
            : kind === "padding"
              ? say("words.padding_with", { piece: read.pieces[k].replace("</w>", "") })
              : chunk.text[k];
      const weight = chunk.weights[k];
      const parts = [h("b", {}, text), h("small", {}, String(read.ids[k]))];
      if (Math.abs(weight - 1) > 1e-6) parts.push(h("small", { class: "ls-weight" }, `× ${number(weight, 2)}`));
      const continuesWord = kind === "content" && k > 0 && chunk.words[k] === chunk.words[k - 1];
      return h(
        "span",
        {
          class: "ls-token",
          "data-kind": kind,
          "data-continues-word": continuesWord ? "" : null,
          title: say("words.piece", { piece: read.pieces[k], id: read.ids[k], position: k }),
        },
        ...parts,
      );
    }

    return {
      element,
      available: (record) => !!record?.run.tokens,
      draw(at) {
        const { run } = context.record;
        const names = Object.keys(run.tokens);
        if (!names.includes(text)) text = names[0];
        which.replaceChildren(
          ...names.map((name) =>
            h(
              "button",
              {
                class: "ls-pick",
                type: "button",
                "aria-pressed": String(name === text),
                onclick: () => ((text = name), context.draw()),
              },
              say(`words.${name}`),
            ),
          ),
        );
        const texts = run.tokens[text];
        // Prompt scheduling gives several texts; this is the one at this step.
        const now = textAt(texts, at.step ?? at.index);
        const encoders = run.text_encoders || [];
        const rows = now.chunks.map((chunk, c) => {
          const real = chunk.kinds.map((_kind, k) => k).filter((k) => padding || chunk.kinds[k] !== "padding");
          const hiddenCount = chunk.kinds.length - real.length;
          const more = () =>
            h(
              "button",
              { class: "ls-pick", type: "button", onclick: () => ((padding = !padding), context.draw()) },
              padding ? say("words.fold") : say("words.more_padding", { count: hiddenCount }),
            );
          const reads = [chunk, ...(chunk.others || [])].map((read, e) =>
            h(
              "div",
              { class: "ls-token-row", "data-encoder": e },
              encoders.length > 1
                ? h("small", { class: "ls-note ls-encoder" }, say("words.encoder", encoders[e]))
                : null,
              ...real.map((k) => token(chunk, k, read)),
              hiddenCount || padding ? more() : null,
            ),
          );
          return h(
            "div",
            { class: "ls-chunk" },
            now.chunks.length > 1 ? h("h3", {}, say("words.chunk", { index: c + 1, count: now.chunks.length })) : null,
            ...reads,
          );
        });
        strip.replaceChildren(...rows);
        vectors.draw(now.text);
        const count = now.chunks.reduce(
          (sum, chunk) => sum + chunk.kinds.filter((kind) => kind === "content").length,
          0,
        );
        const places = now.chunks[0].kinds.length; // positions of one chunk, the text encoder's window
        note.textContent = sentencesText([
          say("words.count", { count, places: now.chunks.length * places }),
          say(now.chunks.length > 1 ? "words.long" : "words.short", { places, content: places - 2 }),
          encoders.length > 1 ? say("words.both") : "",
          texts.length > 1 ? say("words.scheduled", { count: texts.length }) : "",
          ...(run.prompt_notes || []),
        ]);
      },
    };
  },
};
