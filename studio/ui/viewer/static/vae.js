/* Panel: a picture through the VAE and back. Shows what is lost, how much smaller the latents are, and which pixels
   a cell holds. */

import { decoderOf } from "../../static/tensors.js";
import { ask, drawBytes, latest, pictureSource } from "./ask.js";
import { number } from "./chart.js";
import { psnrOf } from "./measures.js";

export const panel = {
  name: "vae",
  place: "deeper",
  alone: true,
  build(context) {
    const { h, say } = context;
    const FACTOR = 8; // pixels a cell, in each direction
    const GAIN = 8; // factor of the difference
    const source = pictureSource(context);
    const status = h("p", { class: "ls-note", role: "status" });
    const pane = (name, cells) => {
      const canvas = h("canvas", {
        role: "img",
        "aria-label": say(`vae.${name}`),
        "data-vae": name,
        class: cells ? "ls-pixels" : "",
      });
      const cross = h("i", { class: "ls-cross", hidden: true });
      const note = h("small", {});
      const frame = h("div", { class: "ls-frame" }, canvas, cross);
      frame.addEventListener("pointermove", (event) => {
        if (!here) return;
        const box = canvas.getBoundingClientRect();
        const [H, W] = [here.H / FACTOR, here.W / FACTOR];
        const to = (share, many) => Math.min(many - 1, Math.max(0, Math.floor(share * many)));
        link({ x: to((event.clientX - box.left) / box.width, W), y: to((event.clientY - box.top) / box.height, H) });
      });
      frame.addEventListener("pointerleave", () => link(null));
      const figure = h(
        "figure",
        { class: "ls-pane" },
        h("div", { class: "ls-pane-table" }, frame),
        h("figcaption", {}, h("span", { class: "ls-pane-name" }, say(`vae.${name}`)), note),
      );
      return { name, canvas, cross, note, figure };
    };
    const original = pane("original");
    const reconstructionPane = pane("reconstruction");
    const differencePane = pane("difference");
    const tiny = pane("tiny");
    const fast = pane("fast");
    let channels = [];
    const row = h("div", { class: "ls-row-of ls-channels" });
    const sample = h(
      "button",
      { class: "ls-pick", type: "button", onclick: () => ((usesSample = !usesSample), draw()) },
      say("vae.sample"),
    );
    const ratio = h("p", { class: "ls-note" });
    const linkedLine = h("p", { class: "ls-values", role: "status" });
    const body = h(
      "div",
      {},
      h("div", { class: "ls-panel-head" }, ratio, sample),
      h(
        "div",
        { class: "ls-row-of ls-five" },
        original.figure,
        reconstructionPane.figure,
        differencePane.figure,
        tiny.figure,
        fast.figure,
      ),
      h("h3", { class: "ls-spaced" }, say("vae.latents")),
      row,
      linkedLine,
    );
    const element = h("section", { class: "ls-panel" }, source.element, status, body);
    let pictureKey = null;
    let here = null;
    let usesSample = false;
    const newest = latest();

    async function load(picture) {
      pictureKey = picture.key;
      here = null;
      body.hidden = true;
      status.textContent = say("vae.asking");
      try {
        const answer = await newest(() =>
          ask("vae", { ...picture.fields, checkpoint: context.checkpoint() }, picture.file),
        );
        if (!answer) return;
        const [H, W] = answer.tensors.pixels.shape;
        here = { ...answer, H, W };
        status.textContent = "";
        draw();
      } catch (failure) {
        status.textContent = failure.message || say("ask.failed");
      }
    }

    function draw() {
      body.hidden = !here;
      if (!here) return;
      const { tensors, run, H, W } = here;
      const pixels = tensors.pixels.values;
      const reconstruction = (usesSample ? tensors.reconstruction_of_sample : tensors.reconstruction).values;
      sample.setAttribute("aria-pressed", String(usesSample));
      drawBytes(original.canvas, pixels, [H, W]);
      drawBytes(reconstructionPane.canvas, reconstruction, [H, W]);
      const difference = new Uint8ClampedArray(pixels.length);
      for (let k = 0; k < pixels.length; k++) difference[k] = 128 + GAIN * (reconstruction[k] - pixels[k]);
      drawBytes(differencePane.canvas, difference, [H, W]);
      const psnr = usesSample ? run.psnr_of_sample : run.psnr;
      original.note.textContent = `${W} × ${H}`;
      reconstructionPane.note.textContent =
        psnr === null ? say("vae.equal") : say("vae.psnr", { value: number(psnr, 1) });
      differencePane.note.textContent = say("vae.difference.how", { gain: GAIN });
      ratio.textContent = say("latent.ratio", {
        width: W,
        height: H,
        latent: `${tensors.mean.shape[2]} × ${tensors.mean.shape[1]} × ${tensors.mean.shape[0]}`,
        ratio: number(run.ratio, 0),
      });
      const small = tensors.reconstruction_by_tiny?.values;
      tiny.figure.hidden = !small;
      if (small) {
        drawBytes(tiny.canvas, small, [H, W]);
        tiny.note.textContent = say("vae.psnr", { value: number(run.psnr_by_tiny, 1) });
      }
      const decoder = decoderOf(tensors) || context.record?.decoder;
      fast.figure.hidden = !decoder;
      if (decoder) {
        context.painter.picture(fast.canvas, tensors.mean.values, tensors.mean.shape, decoder);
        context.painter.finish(); // the picture is read at once
        const fastPixels = fast.canvas.getContext("2d").getImageData(0, 0, W, H).data;
        let sum = 0;
        for (let k = 0; k < H * W; k++)
          for (let c = 0; c < 3; c++) sum += (fastPixels[k * 4 + c] - pixels[k * 3 + c]) ** 2;
        fast.note.textContent = say("vae.psnr", {
          value: number(psnrOf(sum, H * W * 3), 1),
        });
      }
      const [C, h_, w_] = tensors.mean.shape;
      if (channels.length !== C) {
        channels = Array.from({ length: C }, () => pane("channel", true));
        row.replaceChildren(...channels.map((channel) => channel.figure));
      }
      channels.forEach((channel, c) => {
        context.painter.tiles(
          channel.canvas,
          tensors.mean.values.subarray(c * h_ * w_, (c + 1) * h_ * w_),
          [1, h_, w_],
          3,
        );
        channel.figure.querySelector(".ls-pane-name").textContent = say("latent.channel_of", { index: c + 1 });
        const facts = run.channels[c];
        channel.note.textContent = say("vae.moments", {
          mean: number(facts.mean, 2),
          std: number(facts.std, 2),
          posterior: number(run.posterior_std[c], 4),
        });
      });
    }

    /** The same place in every picture: an 8 x 8 patch of pixels, one cell of each channel. */
    function link(cell) {
      if (!here) return;
      const [C, H, W] = here.tensors.mean.shape;
      for (const one of [original, reconstructionPane, differencePane, tiny, fast, ...channels]) {
        one.cross.hidden = !cell;
        if (cell)
          Object.assign(one.cross.style, {
            left: `${(cell.x / W) * 100}%`,
            top: `${(cell.y / H) * 100}%`,
            width: `${100 / W}%`,
            height: `${100 / H}%`,
          });
      }
      linkedLine.textContent = cell
        ? say("vae.linked", {
            x: cell.x * FACTOR,
            y: cell.y * FACTOR,
            size: FACTOR,
            count: FACTOR * FACTOR * 3,
            values: Array.from({ length: C }, (_, c) =>
              number(here.tensors.mean.values[(c * H + cell.y) * W + cell.x], 2),
            ).join("  "),
          })
        : say("vae.link");
    }

    return {
      element,
      draw() {
        const picture = source.draw();
        if (!picture) {
          pictureKey = here = null;
          body.hidden = true;
          status.textContent = "";
          return;
        }
        if (pictureKey !== picture.key) load(picture);
        draw();
        link(null);
      },
    };
  },
};
