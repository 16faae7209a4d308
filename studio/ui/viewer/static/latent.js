/* Panel: the latent space. Shows the channels of a chosen quantity with their statistics and histograms, and its
   three main directions as colours. A spectrum shows how coarse or fine it is, and a cell shows its 8 x 8 pixels. */

import { histogram } from "./ask.js";
import { brush as brushOf } from "./brush.js";
import { chart, number, svg } from "./chart.js";
import { moments, spectrumOf } from "./measures.js";
import { combine } from "./quantities.js";

export const panel = {
  name: "latent",
  place: "deeper",
  build(context) {
    const { h, say } = context;
    const brush = brushOf(context);
    let quantity = "denoised";
    const choice = h("select", {
      class: "ls-choice",
      "aria-label": say("latent.quantity"),
      onchange: () => ((quantity = choice.value), context.draw()),
    });
    for (const name of ["x_t", "denoised", "noise_pred"])
      choice.append(h("option", { value: name }, say(`pane.${name}`)));
    const fact = h("p", { class: "ls-note" });
    const none = h("p", { class: "ls-note", hidden: true });
    const tiles = h("div", { class: "ls-row-of ls-channels" });
    const picture = linkedPane("fast");
    const colours = linkedPane("pca");
    const spectrum = chart({ width: 420, height: 170, left: 40, label: say("latent.spectrum") });
    const body = h(
      "div",
      {},
      tiles,
      brush.element,
      h(
        "div",
        { class: "ls-row-of ls-linked" },
        picture.figure,
        colours.figure,
        h(
          "figure",
          { class: "ls-wide" },
          h("h3", {}, say("latent.spectrum")),
          spectrum.element,
          h("p", { class: "ls-note" }, say("latent.spectrum.note")),
        ),
      ),
    );
    const element = h("section", { class: "ls-panel" }, h("div", { class: "ls-panel-head" }, choice, fact), none, body);
    let channels = [];

    /** The change of x_t = a x0 + s noise for a change of 1 in the quantity on the panel. It is 0 for the noise: the
        network answers it, and nobody can paint on it. */
    const share = () => ({ x_t: 1, denoised: context.record.evaluations[context.index].a })[quantity] ?? 0;

    /** A picture whose cells follow the pointer. Visitors can paint on that of a `channel`. */
    function linkedPane(kind, channel = null) {
      const canvas = h("canvas", { role: "img", "aria-label": say(`latent.${kind}`), "data-latent": kind });
      const cross = h("i", { class: "ls-cross", hidden: true });
      const frame = h("div", { class: "ls-frame" }, canvas, cross);
      const note = h("small", {});
      const cellOf = (event) => {
        const box = canvas.getBoundingClientRect();
        const [, H, W] = context.record.shape;
        const to = (part, cells) => Math.min(cells - 1, Math.max(0, Math.floor(part * cells)));
        return { x: to((event.clientX - box.left) / box.width, W), y: to((event.clientY - box.top) / box.height, H) };
      };
      const isPainting = () => channel !== null && brush.on && share() > 0;
      frame.addEventListener("pointerdown", (event) => {
        if (!isPainting() || event.button > 0) return;
        event.preventDefault();
        frame.setPointerCapture(event.pointerId);
        brush.paint(channel, cellOf(event), share());
      });
      frame.addEventListener("pointermove", (event) => {
        if (isPainting() && event.buttons & 1) brush.paint(channel, cellOf(event), share());
        context.point(cellOf(event));
      });
      frame.addEventListener("pointerleave", () => context.point(null));
      const figure = h(
        "figure",
        { class: "ls-pane" },
        h("div", { class: "ls-pane-table" }, frame),
        h("figcaption", {}, h("span", { class: "ls-pane-name" }, say(`latent.${kind}`)), note),
      );
      return { canvas, cross, note, figure };
    }

    function makeChannels(count) {
      channels = Array.from({ length: count }, (_, c) => {
        const pane = linkedPane("channel", c);
        pane.canvas.classList.add("ls-pixels");
        pane.canvas.setAttribute("aria-label", say("latent.channel_of", { index: c + 1 }));
        pane.figure.querySelector(".ls-pane-name").textContent = say("latent.channel_of", { index: c + 1 });
        pane.histogram = svg("svg", {
          viewBox: "0 0 160 44",
          preserveAspectRatio: "none",
          class: "ls-chart ls-histogram",
          "aria-hidden": "true",
        });
        pane.figure.append(pane.histogram);
        return pane;
      });
      tiles.replaceChildren(...channels.map((channel) => channel.figure));
    }

    return {
      element,
      draw() {
        const { record, index, painter } = context;
        const [C, H, W] = record.shape;
        const cells = H * W;
        if (channels.length !== C) makeChannels(C);
        choice.value = quantity;
        const pixels = record.run.width && record.run.height ? [record.run.width, record.run.height] : [W * 8, H * 8];
        fact.textContent = say("latent.ratio", {
          width: pixels[0],
          height: pixels[1],
          latent: `${W} × ${H} × ${C}`,
          ratio: number((pixels[0] * pixels[1] * 3) / (cells * C), 0),
        });
        const why = record.why(index, quantity);
        none.hidden = !why;
        body.hidden = !!why;
        if (why) none.textContent = say(`undefined.${why}`);
        if (why) return;
        brush.draw(share());
        tiles.classList.toggle("ls-painting", brush.on && share() > 0);
        const latents = brush.apply(record.latents(index, quantity), share());
        channels.forEach((channel, c) => {
          const values = latents.subarray(c * cells, (c + 1) * cells);
          painter.tiles(channel.canvas, values, [1, H, W], 3);
          const { mean, std } = moments(values);
          channel.words = say("latent.moments", { mean: number(mean, 3), std: number(std, 3) });
          channel.note.textContent = channel.words;
          histogram(channel.histogram, values);
        });
        if (record.decoder) painter.picture(picture.canvas, latents, record.shape, record.decoder);
        picture.figure.hidden = !record.decoder;
        picture.note.textContent = say("how.fast");
        const main = principal(latents, C, cells);
        paintColours(colours.canvas, main.values, H, W);
        colours.canvas.classList.add("ls-pixels");
        colours.note.textContent = say("latent.pca.note", { share: number(main.share * 100, 0) });
        // The studio sends those of the three main quantities
        const spectrumAt = (k) => record.evaluations[k].spectrum?.[quantity];
        const lines = [
          [index, "x0"],
          [0, "ghost"],
        ]
          .filter(([k], n) => n === 0 || k !== index)
          .map(([k, name]) => {
            const other = record.latents(k, quantity);
            return (
              other && {
                points: spectrumAt(k)
                  ? spectrumAt(k).map((power, n) => [n + 1, power])
                  : record.remember(`spectrum ${quantity} ${k}`, () => spectrumOf(other, [C, H, W])),
                class: `ls-${name}`,
                dots: name === "x0",
                label: say("latent.spectrum.at", { index: k + 1 }),
              }
            );
          })
          .filter(Boolean);
        spectrum.draw({
          lines: lines.map((line) => ({ ...line, points: line.points.map(([f, p]) => [f, Math.log10(p + 1e-12)]) })),
          x: { low: 0, label: say("latent.spectrum.x"), from: say("latent.coarse"), to: say("latent.fine") },
          y: { low: -3, high: 3 },
        });
        onPoint(context.cell);
      },
      onPoint,
    };

    function onPoint(cell) {
      const { record, index } = context;
      const [, H, W] = record.shape;
      const latents = cell && !record.why(index, quantity) && brush.apply(record.latents(index, quantity), share());
      for (const one of [...channels, picture, colours]) {
        one.cross.hidden = !latents;
        if (latents)
          Object.assign(one.cross.style, {
            left: `${(cell.x / W) * 100}%`,
            top: `${(cell.y / H) * 100}%`,
            width: `${100 / W}%`,
            height: `${100 / H}%`,
          });
      }
      channels.forEach((channel, c) => {
        channel.note.textContent = latents
          ? say("latent.cell", { x: cell.x, y: cell.y, value: number(latents[(c * H + cell.y) * W + cell.x], 3) })
          : channel.words;
      });
      const scale = record.decoder ? record.decoder.scale : 8;
      picture.note.textContent = latents
        ? say("latent.patch", { x: cell.x * scale, y: cell.y * scale, size: scale })
        : say("how.fast");
    }

    /** The three directions of greatest variance over the cells, and their share of the variance. */
    function principal(latents, C, cells) {
      const mean = Array.from(
        { length: C },
        (_, c) => latents.subarray(c * cells, (c + 1) * cells).reduce((sum, value) => sum + value, 0) / cells,
      );
      const covariance = Array.from({ length: C }, (_, i) =>
        Array.from({ length: C }, (__, j) => {
          let sum = 0;
          for (let k = 0; k < cells; k++)
            sum += (latents[i * cells + k] - mean[i]) * (latents[j * cells + k] - mean[j]);
          return sum / cells;
        }),
      );
      const trace = covariance.reduce((sum, row, k) => sum + row[k], 0);
      const values = [];
      let variance = 0;
      for (let n = 0; n < Math.min(3, C); n++) {
        // Power iteration from a fixed start; then the direction found is removed.
        let vector = Float64Array.from({ length: C }, (_, k) => 1 + 0.1 * k);
        let size = 0;
        for (let turn = 0; turn < 60; turn++) {
          const next = covariance.map((row) => row.reduce((sum, value, k) => sum + value * vector[k], 0));
          size = Math.hypot(...next);
          if (size < 1e-12) break;
          vector = next.map((value) => value / size);
        }
        // A sign that does not flip from one evaluation to the next: the largest component is positive.
        const greatest = vector.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
        if (greatest < 0) vector = vector.map((value) => -value);
        variance += size;
        let one = new Float32Array(cells);
        for (let c = 0; c < C; c++)
          one = combine(
            [1, one],
            [vector[c], latents.subarray(c * cells, (c + 1) * cells).map((value) => value - mean[c])],
          );
        values.push({ one, deviation: Math.sqrt(size) || 1 });
        for (let i = 0; i < C; i++) for (let j = 0; j < C; j++) covariance[i][j] -= size * vector[i] * vector[j];
      }
      return { values, share: trace ? variance / trace : 0 };
    }

    function paintColours(canvas, values, H, W) {
      const image = new ImageData(W, H);
      for (let k = 0; k < H * W; k++) {
        for (let c = 0; c < 3; c++)
          image.data[k * 4 + c] = values[c] ? 127.5 + (127.5 * values[c].one[k]) / (2.5 * values[c].deviation) : 127;
        image.data[k * 4 + 3] = 255;
      }
      [canvas.width, canvas.height] = [W, H];
      canvas.getContext("2d").putImageData(image, 0, 0);
    }
  },
};
