/* Panel: where the U-Net looks for each word, and which words a place looks at. Opens on
   shares among the words: begin, end and padding hold most of the attention, and beside them the words look black. A
   visitor may choose another normalisation; the one in use is named. */

import { listText, sentencesText } from "../../static/elements.js";
import { heads as headsOf, places as placesOf } from "./again.js";
import { ALL, attentionMaps } from "./attention_maps.js";
import { number } from "./chart.js";
import { RAMPS } from "./colours.js";
import { contours } from "./contours.js";
import { lostWords } from "./lost_words.js";

export const panel = {
  name: "attention",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const LEVELS = [0.25, 0.5, 0.75]; // of the scale, for the contour lines
    const SHEET = 8; // evaluations on the sheet
    const NORMS = ["probability", "share", "relative"];
    const choice = { group: ALL, norm: "share" }; // the layers, and how a map is normalised
    const { mapIndex, textOf, wordsAt, parts, map, normalize } = attentionMaps(context, choice);
    let wordKey = null; // key of the word under the pointer or chosen
    let fixedCell = null; // the cell that a click has fixed
    let lines = false; // contour lines instead of colours

    const places = h("select", {
      class: "ls-choice",
      "aria-label": say("attention.place"),
      onchange: () => ((choice.group = places.value), context.draw()),
    });
    const norms = h(
      "div",
      { class: "ls-picks", role: "group", "aria-label": say("attention.norm") },
      h("span", {}, say("attention.norm")),
      ...NORMS.map((name) =>
        h(
          "button",
          {
            class: "ls-pick",
            type: "button",
            "data-norm": name,
            onclick: () => ((choice.norm = name), context.draw()),
          },
          say(`attention.norm.${name}`),
        ),
      ),
    );
    const ways = h(
      "div",
      { class: "ls-picks", role: "group", "aria-label": say("attention.as") },
      h("span", {}, say("attention.as")),
      ...["colours", "lines"].map((name) =>
        h(
          "button",
          {
            class: "ls-pick",
            type: "button",
            "data-as": name,
            onclick: () => ((lines = name === "lines"), context.draw()),
          },
          say(`attention.as.${name}`),
        ),
      ),
    );
    const nearest = h("p", { class: "ls-note", hidden: true });
    const words = h("div", { class: "ls-words", role: "group", "aria-label": say("attention.words") });
    const picture = h("canvas", { role: "img" });
    const heat = h("canvas", { class: "ls-heat", "aria-hidden": "true" });
    const cross = h("i", { class: "ls-cross", hidden: true });
    const frame = h("div", { class: "ls-frame" }, picture, heat, cross);
    const note = h("small", {});
    const name = h("span", { class: "ls-pane-name" });
    const scale = h("div", { class: "ls-colours" });
    const main = h(
      "figure",
      { class: "ls-pane ls-attended" },
      h("div", { class: "ls-pane-table" }, frame),
      h("figcaption", {}, name, note, scale),
    );
    const bars = h("div", { class: "ls-bars", role: "img", "aria-label": say("attention.bars") });
    const barsNote = h("p", { class: "ls-note" });
    const sheet = h("div", { class: "ls-sheet" });
    const sheetBox = h("div", {}, h("h3", {}, say("attention.sheet")), sheet);
    const qkv = h("div", { class: "ls-qkv" });
    const looks = placesOf(context);
    const single = headsOf(context);
    const lost = lostWords(context);
    const element = h(
      "section",
      { class: "ls-panel" },
      h("div", { class: "ls-panel-head" }, places, norms, ways),
      nearest,
      words,
      h(
        "div",
        { class: "ls-attention" },
        main,
        h("div", {}, h("h3", {}, say("attention.bars")), bars, barsNote),
        sheetBox,
      ),
      lost.element,
      h("div", { class: "ls-closer" }, looks.element, single.element),
      qkv,
    );

    frame.addEventListener("pointermove", (event) => context.point(cellOf(event)));
    frame.addEventListener("pointerleave", () => context.point(fixedCell));
    frame.addEventListener("click", (event) => {
      const cell = cellOf(event);
      fixedCell = fixedCell && fixedCell.x === cell.x && fixedCell.y === cell.y ? null : cell;
      context.point(null);
      context.point(fixedCell || cell);
      context.draw();
      if (fixedCell && context.online) looks.clicked();
    });
    function cellOf(event) {
      const box = picture.getBoundingClientRect();
      const [, H, W] = context.record.shape;
      const to = (share, cells) => Math.min(cells - 1, Math.max(0, Math.floor(share * cells)));
      return { x: to((event.clientX - box.left) / box.width, W), y: to((event.clientY - box.top) / box.height, H) };
    }

    function paint(canvas, index, word) {
      const values = normalize(index, word);
      context.painter.heat(canvas, values.values, [values.height, values.width], values.high);
      return values;
    }

    function drawBars() {
      const { record } = context;
      const index = mapIndex();
      const cell = context.cell || fixedCell;
      const [, H, W] = record.shape;
      cross.hidden = !cell;
      if (cell)
        Object.assign(cross.style, {
          left: `${(cell.x / W) * 100}%`,
          top: `${(cell.y / H) * 100}%`,
          width: `${100 / W}%`,
          height: `${100 / H}%`,
        });
      const rows = wordsAt(index).map((word) => {
        const { values, height, width } = map(index, word);
        const value = cell
          ? values[
              Math.min(height - 1, Math.floor((cell.y * height) / H)) * width +
                Math.min(width - 1, Math.floor((cell.x * width) / W))
            ]
          : values.reduce((sum, one) => sum + one, 0) / values.length;
        return { word, value };
      });
      bars.replaceChildren(
        ...rows.map(({ word, value }) =>
          h(
            "div",
            { class: "ls-bar-row", "data-kind": word.kind, "data-word": word.label },
            h("span", {}, word.label),
            h("b", {}, h("i", { style: `width: ${(value * 100).toFixed(2)}%` })),
            h("small", {}, number(value * 100, 1)),
          ),
        ),
      );
      barsNote.textContent = cell ? say("attention.bars.cell", { x: cell.x, y: cell.y }) : say("attention.bars.mean");
    }

    function drawSheet(all, total) {
      const { record } = context;
      const last = record.evaluations.length - 1;
      const many = Math.min(SHEET, last + 1);
      const columns = Array.from({ length: many }, (_, k) => (many > 1 ? Math.round((k * last) / (many - 1)) : 0));
      const key = [
        record.job,
        record.image,
        last,
        choice.group,
        choice.norm,
        columns.join(),
        textOf(record, context.index),
      ].join(" ");
      if (sheet.dataset.key !== key) {
        sheet.dataset.key = key;
        sheet.style.setProperty("--ls-columns", many);
        const rows = all
          .filter((word) => word.kind === "content")
          .flatMap((word) => [
            h("span", { class: "ls-sheet-word" }, word.label),
            ...columns.map((index) => {
              const canvas = h("canvas", { "aria-hidden": "true" });
              const there = record.evaluations[index].attention && wordsAt(index).find((one) => one.key === word.key);
              if (there) paint(canvas, index, there);
              return h(
                "button",
                {
                  type: "button",
                  class: "ls-sheet-cell",
                  "data-at": index,
                  "aria-label": `${word.label}, ${say("evaluation", { index: index + 1, total })}`,
                  onclick: () => ((wordKey = word.key), context.walk(index), context.draw()),
                },
                canvas,
              );
            }),
          ]);
        sheet.replaceChildren(h("span", {}), ...columns.map((index) => h("small", {}, String(index + 1))), ...rows);
      }
      for (const cell of sheet.querySelectorAll("[data-at]"))
        cell.toggleAttribute("data-now", Number(cell.dataset.at) === context.index);
    }

    function drawShapes(entry) {
      const layers = context.record.run.attention_layers;
      const groups = parts(entry).map(([one]) => one);
      const layersByShape = new Map();
      for (const layer of layers) {
        const place = `${layer.place}.${layer.height}x${layer.width}`;
        if (!groups.includes(place)) continue;
        const key = [place, layer.heads, layer.head_dim, layer.tokens].join();
        layersByShape.set(key, { ...layer, many: (layersByShape.get(key)?.many || 0) + 1 });
      }
      const rows = [...layersByShape.values()].map((layer) => {
        const wide = layer.heads * layer.head_dim;
        const cells = [
          placeName(`${layer.place}.${layer.height}x${layer.width}`),
          String(layer.many),
          `${layer.height}·${layer.width} × ${wide}`,
          `${layer.tokens} × ${wide}`,
          `${layer.tokens} × ${wide}`,
          `${layer.heads} × ${layer.head_dim}`,
          `${layer.heads} × ${layer.height * layer.width} × ${layer.tokens}`,
        ];
        return h("tr", {}, ...cells.map((cell) => h("td", {}, cell)));
      });
      const heads = ["place", "layers", "q", "k", "v", "heads", "weights"].map((one) =>
        h("th", { scope: "col" }, say(`attention.qkv.${one}`)),
      );
      qkv.replaceChildren(
        h("h3", {}, say("attention.qkv")),
        h(
          "p",
          { class: "ls-note" },
          sentencesText([
            say("attention.qkv.how"),
            context.record.run.attention_most_places
              ? say("attention.qkv.fine", { count: context.record.run.attention_most_places })
              : "",
          ]),
        ),
        h(
          "div",
          { class: "ls-scroll", tabindex: 0, role: "group", "aria-label": say("attention.qkv") },
          h("table", { class: "ls-table-of" }, h("thead", {}, h("tr", {}, ...heads)), h("tbody", {}, ...rows)),
        ),
      );
    }
    const placeName = (one) => {
      const [place, size] = one.split(".");
      return say(`attention.place.${place}`, { size: size.replace("x", " × ") });
    };

    return {
      element,
      available: (record) => !!record?.evaluations.some((entry) => entry.attention),
      draw(_at, total) {
        const { record, painter } = context;
        const index = mapIndex();
        const entry = record.evaluations[index];
        nearest.hidden = index === context.index;
        nearest.textContent = say("attention.nearest", { index: index + 1 });
        const names = Object.keys(entry.attention);
        if (choice.group !== ALL && !names.includes(choice.group)) choice.group = ALL;
        if (places.dataset.names !== names.join()) {
          places.dataset.names = names.join();
          places.replaceChildren(
            h("option", { value: ALL }, say("attention.place.all")),
            ...names.map((one) => h("option", { value: one }, placeName(one))),
          );
        }
        places.value = choice.group;
        for (const button of ways.querySelectorAll("button"))
          button.setAttribute("aria-pressed", String((button.dataset.as === "lines") === lines));
        for (const button of norms.querySelectorAll("button"))
          button.setAttribute("aria-pressed", String(button.dataset.norm === choice.norm));
        const all = wordsAt(index);
        const word =
          all.find((one) => one.key === wordKey) ||
          [...all].filter((one) => one.kind === "content").sort((p, q) => q.label.length - p.label.length)[0] ||
          all[0];
        wordKey = word.key;
        const risky = new Set(lost.atRisk(index).map((one) => one.label));
        words.replaceChildren(
          ...all.map((one) => {
            const canvas = h("canvas", { "aria-hidden": "true" });
            paint(canvas, index, one);
            return h(
              "button",
              {
                type: "button",
                class: "ls-word",
                "data-kind": one.kind,
                "data-risk": one.kind === "content" && risky.has(one.label) ? "" : null,
                title: one.kind === "content" && risky.has(one.label) ? say("lost.mark") : "",
                "aria-pressed": String(one.key === wordKey),
                onclick: () => ((wordKey = one.key), context.draw()),
              },
              canvas,
              h("span", {}, one.label),
            );
          }),
        );
        const drawPicture = (canvas) => {
          const x0 = record.latents(index, "denoised") || record.latents(index, "x_t");
          if (record.decoder) painter.picture(canvas, x0, record.shape, record.decoder);
          else
            painter.tiles(canvas, x0.subarray(0, record.shape[1] * record.shape[2]), [1, ...record.shape.slice(1)], 3);
        };
        drawPicture(picture);
        const values = lines ? normalize(index, word) : paint(heat, index, word);
        heat.classList.toggle("ls-lines", lines);
        if (lines) {
          const colour = (share) =>
            `rgb(${RAMPS.sequential.slice(Math.round(share * 255) * 4, Math.round(share * 255) * 4 + 3).join()})`;
          contours(
            heat,
            values.values,
            [values.height, values.width],
            LEVELS.map((share) => [share * values.high, colour(share)]),
          );
        }
        picture.setAttribute("aria-label", say("attention.picture", { word: word.label }));
        name.textContent = word.label;
        note.textContent = listText([
          say(`attention.norm.${choice.norm}.note`, { high: number(values.high, 3) }),
          ...(lines ? [say("attention.as.note")] : []),
        ]);
        scale.dataset.high = choice.norm === "probability" ? number(values.high, 3) : "1";
        drawBars();
        drawSheet(all, total);
        drawShapes(entry);
        lost.draw(index);
        looks.draw(fixedCell, drawPicture);
        single.draw(word);
      },
      onPoint: drawBars,
    };
  },
};
