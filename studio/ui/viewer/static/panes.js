/* Panel: two to four pictures of one evaluation, each of a chosen quantity, under one crosshair. A pane may also
   compare two others: by their difference, by a wipe, or both in turn. */

import { gainOf, isNoise } from "./calm.js";
import { number } from "./chart.js";
import { rmsOf, rmsOfCells } from "./measures.js";
import { combine, quantities } from "./quantities.js";

export const panel = {
  name: "panes",
  place: "stage",
  build(context) {
    const { h, say } = context;
    const GROUPS = {
      states: ["x_t", "denoised", "x0_cond", "x0_uncond", "noise_pred", "eps_cond", "eps_uncond", "picture"],
      changes: ["guidance", "change_x_t", "change_x0", "left_x0"],
      two: ["of_two.difference", "of_two.wipe", "of_two.blink"],
    };
    const BLINK = 600; // ms
    const LOUPE = 5; // cells a side
    const still = matchMedia("(prefers-reduced-motion: reduce)");
    const grid = h("div", { class: "ls-panes" });
    const count = h(
      "div",
      { class: "ls-picks ls-pane-count", role: "group", "aria-label": say("panes") },
      h("span", {}, say("panes")),
    );
    for (const many of [2, 3, 4]) {
      const choose = () => context.set({ panes: [...context.state.panes, "guidance", "change_x_t"].slice(0, many) });
      count.append(h("button", { class: "ls-pick", type: "button", "data-many": many, onclick: choose }, String(many)));
    }
    const contrast = h("button", {
      class: "ls-pick",
      type: "button",
      title: say("calm.why"),
      onclick: () => context.set({ calm: !context.state.calm }),
    });
    const element = h("div", {}, grid);
    const simple = ["x_t", "denoised", "noise_pred"];
    let panes = [];
    let names = simple; // the quantities of the panes
    let wipePosition = 0.5;
    let turn = 0;
    let blinkTimer = null;

    function make(k) {
      const canvas = h("canvas", { role: "img" });
      const loupe = h("canvas", { class: "ls-loupe", width: 120, height: 120, "aria-hidden": "true", hidden: true });
      const cross = h("i", { class: "ls-cross", hidden: true });
      const none = h("p", { class: "ls-none", hidden: true });
      const frame = h("div", { class: "ls-frame" }, canvas, cross);
      const table = h("div", { class: "ls-pane-table" }, frame, loupe, none);
      const name = h("strong", {});
      const choice = h("select", { class: "ls-choice ls-quantity", "aria-label": say("pane", { index: k + 1 }) });
      for (const [group, names] of Object.entries(GROUPS)) {
        const options = names
          .filter((_one) => group !== "two" || k >= 2)
          .map((one) => h("option", { value: one }, say(`pane.${one}`)));
        if (options.length) choice.append(h("optgroup", { label: say(`group.${group}`) }, ...options));
      }
      choice.addEventListener("change", () =>
        context.set({ panes: context.state.panes.map((one, at) => (at === k ? choice.value : one)) }),
      );
      const size = h("span", { class: "ls-size-of", title: say("rms.what") });
      const how = h("small", { class: "ls-how", title: say("how.fast.what") });
      const values = h("small", { class: "ls-values" });
      const gloss = context.caption("pane.x_t");
      const label = h(
        "figcaption",
        {},
        h("div", { class: "ls-pane-head" }, h("i", { class: "ls-key" }), name, choice, size),
        how,
        values,
        gloss,
      );
      frame.addEventListener("pointermove", (event) => {
        const box = canvas.getBoundingClientRect();
        const [x, y] = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height];
        if (names[k] === "of_two.wipe") {
          wipePosition = Math.min(1, Math.max(0, x));
          drawPane(panes[k], k);
        }
        const [, H, W] = context.record.shape;
        const [columns, rows] = pane.tiled ? [2, Math.ceil(context.record.shape[0] / 2)] : [1, 1];
        context.point({
          x: Math.min(W - 1, Math.max(0, Math.floor(((x * columns) % 1) * W))),
          y: Math.min(H - 1, Math.max(0, Math.floor(((y * rows) % 1) * H))),
        });
      });
      frame.addEventListener("pointerleave", () => context.point(null));
      const pane = {
        canvas,
        table,
        loupe,
        cross,
        none,
        frame,
        name,
        choice,
        size,
        how,
        values,
        gloss,
        label,
        figure: h("figure", { class: "ls-pane" }, table, label),
        tiled: false,
      };
      return pane;
    }

    /** The content of a pane: {latents, quantity, how, scale}, or {why} where there is none. */
    function content(quantity) {
      const { record, index } = context;
      if (quantity === "picture") return finishedPicture();
      const why = record.why(index, quantity);
      if (why) return { why };
      return {
        name: quantity,
        latents: record.latents(index, quantity),
        kind: context.props.quantities[quantity],
        scale: () => record.scale(quantity),
      };
    }

    /** What the run ended with, at its own size: no latents, the same at every evaluation. */
    function finishedPicture() {
      const { picture, run } = context.record;
      if (!picture) return { why: "picture" };
      const words = run.second_pass
        ? say("how.second_pass", { width: picture.width, height: picture.height })
        : say("how.picture");
      return {
        latents: null,
        draw(canvas) {
          [canvas.width, canvas.height] = [picture.width, picture.height];
          canvas.getContext("2d").drawImage(picture, 0, 0);
          return { how: "fast", words };
        },
      };
    }

    /** Draws a content in the chosen way; returns how it was done, in words. */
    function paint(canvas, { name, latents, kind, scale, draw }) {
      if (draw) return draw(canvas);
      const { record, painter, state } = context;
      let how = kind === "change" && ["fast", "tiny", "vae"].includes(state.how) ? "cells" : state.how;
      let words = say("how.fast");
      if (how === "vae" || how === "tiny") {
        const decoding = context.decodings.get(name);
        if (decoding?.bitmap) {
          [canvas.width, canvas.height] = [decoding.bitmap.width, decoding.bitmap.height];
          canvas.getContext("2d").drawImage(decoding.bitmap, 0, 0);
          return { how: "fast", words: say(`how.${how}`) };
        }
        how = record.decoder ? "fast" : "channels";
        words = decoding?.error || say("how.vae.waiting");
      }
      if (how === "fast") {
        const gain = state.calm ? gainOf(name, record.evaluations[context.index]) : 1;
        painter.picture(canvas, latents, record.shape, record.decoder, { gain, mayBeCoarse: true });
        const isCalm = gain < 0.995 && words === say("how.fast");
        return {
          how,
          words: isCalm ? say("how.calm", { gain: number(gain, 2) }) : words,
          tone: state.calm && isNoise(name),
        };
      }
      if (how === "channels") {
        const range = kind === "change" ? scale() * 2 : 3;
        painter.tiles(canvas, latents, record.shape, range);
        return {
          how,
          words: say("how.channels", { channels: record.shape[0], range: number(range, range < 1 ? 2 : 1) }),
        };
      }
      const high = scale();
      painter.heat(canvas, rmsOfCells(latents, record.shape), record.shape.slice(1), high);
      return { how, words: say("how.cells", { high: number(high, 2) }) };
    }

    function drawPane(pane, k) {
      const { record, index } = context;
      const quantity = names[k];
      const two = quantity.startsWith("of_two.");
      const paneContent = two ? ofTwo(quantity.slice(7)) : content(quantity);
      const isSecond = quantity === "picture" && record.run.second_pass;
      const word = say(isSecond ? "pane.second_pass" : `pane.${quantity}`);
      pane.canvas.dataset.quantity = quantity;
      pane.name.textContent = word;
      pane.choice.value = quantity;
      pane.figure.dataset.colour = two ? "none" : (quantities[quantity]?.colour ?? "x0");
      pane.gloss.dataset.caption = [...simple, "picture"].includes(quantity) ? `pane.${quantity}` : "pane.other";
      pane.none.hidden = !paneContent.why;
      pane.frame.hidden = !!paneContent.why;
      pane.latents = paneContent.latents || null;
      if (paneContent.why) {
        pane.none.textContent = say(`undefined.${paneContent.why}`);
        pane.how.textContent = pane.size.textContent = pane.values.textContent = "";
        return;
      }
      const done = paneContent.paint ? paneContent.paint(pane.canvas) : paint(pane.canvas, paneContent);
      pane.tiled = done.how === "channels";
      pane.canvas.classList.toggle("ls-pixels", done.how !== "fast");
      pane.table.classList.toggle("ls-noise-tone", !!done.tone); // viewer.css
      pane.how.textContent = done.words;
      pane.size.textContent = paneContent.latents ? say("rms", { value: number(rmsOf(paneContent.latents), 3) }) : "";
      const total = Math.max(record.run.total || 0, record.evaluations.length);
      pane.canvas.setAttribute("aria-label", `${word}, ${say("evaluation", { index: index + 1, total })}`);
      drawCell(pane);
    }

    /** The comparison of the first two panes. */
    function ofTwo(how) {
      const [one, other] = names
        .slice(0, 2)
        .map((name) => (name.startsWith("of_two.") ? { why: "of_two" } : content(name)));
      if (one.why || other.why) return { why: one.why || other.why };
      if (how === "difference") {
        if (!one.latents || !other.latents) return { why: "of_two" };
        const { record } = context;
        const latents = combine([1, one.latents], [-1, other.latents]);
        return { latents, kind: "change", scale: () => Math.max(...rmsOfCells(latents, record.shape)) };
      }
      if (how === "blink") return { ...(turn ? other : one), paint: null };
      const under = document.createElement("canvas");
      return {
        latents: null,
        paint(canvas) {
          const done = paint(canvas, one);
          paint(under, other);
          context.painter.finish();
          const from = Math.round(wipePosition * canvas.width);
          const pen = canvas.getContext("2d");
          pen.drawImage(
            under,
            from,
            0,
            canvas.width - from,
            canvas.height,
            from,
            0,
            canvas.width - from,
            canvas.height,
          );
          pen.fillStyle = "#e9a23b";
          pen.fillRect(from, 0, Math.max(1, canvas.width / 160), canvas.height);
          return done;
        },
      };
    }

    /** The crosshair, the loupe, and the numbers of the cell under the pointer. */
    function drawCell(pane) {
      const { cell, record } = context;
      const there = !!cell && !pane.frame.hidden;
      pane.cross.hidden = pane.loupe.hidden = !there;
      pane.values.textContent = "";
      if (!there) return;
      context.painter.finish(); // the loupe is a part of the pane's picture
      const [C, H, W] = record.shape;
      const columns = pane.tiled ? 2 : 1;
      const rows = pane.tiled ? Math.ceil(C / 2) : 1;
      Object.assign(pane.cross.style, {
        left: `${(cell.x / W / columns) * 100}%`,
        top: `${(cell.y / H / rows) * 100}%`,
        width: `${100 / W / columns}%`,
        height: `${100 / H / rows}%`,
      });
      const [side, tall] = [pane.canvas.width / columns / W, pane.canvas.height / rows / H];
      const pen = pane.loupe.getContext("2d");
      const half = (LOUPE - 1) / 2;
      pen.imageSmoothingEnabled = false;
      pen.clearRect(0, 0, 120, 120);
      pen.drawImage(
        pane.canvas,
        (cell.x - half) * side,
        (cell.y - half) * tall,
        LOUPE * side,
        LOUPE * tall,
        0,
        0,
        120,
        120,
      );
      pen.strokeStyle = "#e9a23b";
      pen.strokeRect((half / LOUPE) * 120 + 0.5, (half / LOUPE) * 120 + 0.5, 120 / LOUPE - 1, 120 / LOUPE - 1);
      pane.loupe.classList.toggle("ls-left", cell.x > W / 2);
      if (pane.latents) {
        const numbers = Array.from({ length: C }, (_, c) => number(pane.latents[(c * H + cell.y) * W + cell.x], 2));
        pane.values.textContent = say("cell", { x: cell.x, y: cell.y, values: numbers.join("  ") });
      }
    }

    function blink(isOn) {
      if (isOn === !!blinkTimer) return;
      if (!isOn) {
        clearInterval(blinkTimer);
        blinkTimer = null;
        return;
      }
      blinkTimer = setInterval(() => {
        if (still.matches || !grid.isConnected) return;
        turn = 1 - turn;
        names.forEach((name, k) => name === "of_two.blink" && panes[k] && drawPane(panes[k], k));
      }, BLINK);
    }

    return {
      element,
      tools: h("div", { class: "ls-picks" }, contrast, count),
      draw() {
        const { state, record, index } = context;
        const ends = record?.picture && index === record.evaluations.length - 1;
        const shown = ends ? simple.map((name) => (name === "denoised" ? "picture" : name)) : simple;
        names = state.mode === "beginner" ? shown : state.panes;
        const paneCount = names.length;
        if (panes.length !== paneCount) {
          panes = Array.from({ length: paneCount }, (_, k) => make(k));
          grid.replaceChildren(...panes.map((pane) => pane.figure));
          grid.dataset.many = paneCount;
        }
        for (const button of count.querySelectorAll("button"))
          button.setAttribute("aria-pressed", String(Number(button.dataset.many) === paneCount));
        contrast.textContent = say("calm");
        contrast.setAttribute("aria-pressed", String(state.calm));
        blink(names.includes("of_two.blink"));
        panes.forEach(drawPane);
      },
      onPoint() {
        for (const pane of panes) drawCell(pane);
      },
    };
  },
};
