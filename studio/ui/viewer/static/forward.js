/* Panel: the forward process. A picture is noised to any t, in pixels and in latent space. Each has one fixed noise,
   so that the slider is continuous. The checkpoint's own training loss is drawn as a curve and as a map. */

import { repeats } from "../../static/elements.js";
import { decoderOf } from "../../static/tensors.js";
import { architectureOf, ask, drawBytes, gaussians, histogram, latest, pictureSource } from "./ask.js";
import { gainOfLevel } from "./calm.js";
import { chart, number, svg } from "./chart.js";
import { between, decibels, firstStep, levelBetween, levelFacts, stepsLeft, strengthFor } from "./levels.js";
import { moments, rmsOfCells } from "./measures.js";

export const panel = {
  name: "forward",
  place: "deeper",
  alone: true,
  build(context) {
    const { h, say } = context;
    const STRENGTHS = [0.25, 0.5, 0.75];
    const NARROW = matchMedia("(max-width: 599px)");
    // Of image to image, where there is no run to go by
    const DEFAULT = { scheduler: "dpmpp_2m", noise_schedule: "karras", steps: 25 };
    const CALLS = 36; // of the network for the three curves of the loss: 12 t, three captions
    const AT_ONCE = 10_000; // ms; curves that take longer are measured when somebody asks
    const PAUSE = 350; // ms without a move of the slider before the error map asks for a model call
    const source = pictureSource(context);
    const pane = (name) => {
      const canvas = h("canvas", { role: "img", "aria-label": say(`forward.${name}`), "data-forward": name });
      const note = h("small", {});
      const drawing = svg("svg", {
        viewBox: "0 0 160 44",
        preserveAspectRatio: "none",
        class: "ls-chart ls-histogram",
        "aria-hidden": "true",
      });
      const figure = h(
        "figure",
        { class: "ls-pane" },
        h("div", { class: "ls-pane-table" }, h("div", { class: "ls-frame" }, canvas)),
        h("figcaption", {}, h("span", { class: "ls-pane-name" }, say(`forward.${name}`)), note),
        drawing,
      );
      return { canvas, note, drawing, figure };
    };
    const pixels = pane("pixels");
    const latent = pane("latent");
    const tiles = pane("channels");
    const error = pane("error");
    tiles.canvas.classList.add("ls-pixels");
    error.canvas.classList.add("ls-pixels");
    for (const one of [tiles, error]) one.drawing.remove();
    const slider = h("input", {
      type: "range",
      min: 0,
      max: 999,
      step: "any",
      value: 300,
      class: "ls-range",
      "aria-label": say("forward.t"),
    });
    const level = h("output", { class: "ls-level" });
    const marks = h("div", { class: "ls-marks" });
    const denoise = h("button", { class: "ls-button", type: "button", hidden: true, onclick: from });
    const how = h("p", { class: "ls-note", hidden: true }, say("forward.denoise.how"));
    const status = h("p", { class: "ls-note", role: "status" });
    const caption = h("input", {
      type: "text",
      class: "ls-text",
      "aria-label": say("loss.right"),
      placeholder: say("loss.right"),
    });
    const wrongCaption = h("input", {
      type: "text",
      class: "ls-text",
      "aria-label": say("loss.wrong"),
      placeholder: say("loss.wrong"),
      value: say("loss.wrong.example"),
    });
    const measure = h("button", { class: "ls-button", type: "button", onclick: losses }, say("loss.measure"));
    const message = h("p", { class: "ls-note", role: "status" });
    const curve = chart({ width: 520, height: 200, left: 44, label: say("loss.curve") });
    const lossBox = h(
      "div",
      { class: "ls-loss" },
      h(
        "div",
        {},
        h("h3", {}, say("loss")),
        h("p", { class: "ls-note" }, say("loss.what")),
        h(
          "div",
          { class: "ls-fields" },
          h("label", {}, say("loss.right"), caption),
          h("label", {}, say("loss.wrong"), wrongCaption),
          measure,
        ),
        message,
      ),
      h("figure", {}, curve.element),
      error.figure,
    );
    const body = h(
      "div",
      {},
      h(
        "div",
        { class: "ls-whatif" },
        h("label", {}, say("forward.t")),
        h("div", { class: "ls-track ls-long" }, slider, marks),
        level,
        denoise,
      ),
      how,
      h("div", { class: "ls-row-of ls-three" }, pixels.figure, latent.figure, tiles.figure),
      lossBox,
    );
    const element = h("section", { class: "ls-panel" }, source.element, status, body);
    let pictureKey = null; // the picture that is loaded or requested
    let here = null; // {z0, noise, shape, pixels, size, a, s, timesteps, decoder, pixelNoise}
    let lossesHere = null; // the losses of that picture
    let errorMapHere = null; // the error map
    let positions = []; // of this run's steps on the training curve
    let starts = []; // where image to image begins
    let startsOf = null;
    let captionOf = null; // the run whose prompt has filled the right caption; from then on the visitor changes it
    let timer = null;
    const newest = latest();
    const newestError = latest();

    slider.addEventListener("input", () => {
      drawLevel();
      drawDenoise();
      drawCurve();
      if (lossesHere) {
        clearTimeout(timer);
        timer = setTimeout(errorMap, PAUSE);
      }
    });

    const checkpoint = () => context.checkpoint();
    async function load(picture) {
      pictureKey = picture.key;
      here = lossesHere = errorMapHere = null;
      context.tellLosses?.(null);
      status.textContent = say("forward.encoding");
      body.hidden = true;
      try {
        const answer = await newest(() =>
          ask("forward", { ...picture.fields, checkpoint: checkpoint() }, picture.file),
        );
        if (!answer) return;
        const { tensors } = answer;
        const [H, W] = tensors.pixels.shape;
        here = {
          z0: tensors.z0.values,
          noise: tensors.noise.values,
          shape: tensors.z0.shape,
          pixels: tensors.pixels.values,
          size: [H, W],
          a: tensors.training_a.values,
          s: tensors.training_s.values,
          timesteps: tensors.training_timesteps.values,
          decoder: decoderOf(tensors) || context.record?.decoder || null,
          pixelNoise: gaussians(H * W * 3, 1),
        };
        slider.max = here.a.length - 1;
        status.textContent = "";
        context.draw();
        if (context.measuresLoss) measureAtOnce(picture);
      } catch (failure) {
        status.textContent = failure.message || say("ask.failed");
      }
    }

    function drawLevel() {
      const t = Number(slider.value);
      const { a, s, log_snr } = levelFacts(levelBetween(here, t));
      level.textContent = [
        say("level.timestep", { value: number(between(here.timesteps, t)) }),
        `a = ${number(a, 3)}`,
        `s = ${number(s, 3)}`,
        log_snr === null ? say("level.no_snr") : say("level.snr", { value: number(decibels(log_snr), 1) }),
      ].join("   ");
      // The picture in pixels, from -1 to 1, noised as latents are and clipped for the screen.
      const {
        size: [H, W],
        pixels: bytes,
        pixelNoise,
        z0,
        noise,
        shape,
      } = here;
      const noisy = new Float32Array(bytes.length);
      const colours = new Uint8ClampedArray(bytes.length);
      for (let k = 0; k < bytes.length; k++) {
        noisy[k] = a * (bytes[k] / 127.5 - 1) + s * pixelNoise[k];
        colours[k] = (noisy[k] + 1) * 127.5;
      }
      drawBytes(pixels.canvas, colours, [H, W]);
      const z = z0.map((value, k) => a * value + s * noise[k]);
      const gain = gainOfLevel({ a, s });
      if (here.decoder) context.painter.picture(latent.canvas, z, shape, here.decoder, { gain });
      latent.figure.hidden = !here.decoder;
      context.painter.tiles(tiles.canvas, z, shape, 3);
      for (const [one, values, how] of [
        [pixels, noisy, say("forward.pixels.how")],
        [latent, z, say(gain < 0.995 ? "how.calm" : "how.fast", { gain: number(gain, 2) })],
      ]) {
        const { mean, std } = moments(values);
        one.note.textContent = `${how}; ${say("latent.moments", { mean: number(mean, 2), std: number(std, 2) })}`;
        histogram(one.drawing, values);
      }
      tiles.note.textContent = say("how.channels", { channels: shape[0], range: "3.0" });
    }

    /** Where image to image begins with this run's scheduler, at a few strengths. */
    async function strengths() {
      const run = context.record?.run?.scheduler ? context.record.run : { ...DEFAULT, checkpoint: checkpoint() };
      const key = `${run.scheduler} ${run.noise_schedule} ${run.steps}`;
      if (startsOf === key) return;
      startsOf = key;
      try {
        const answer = await ask("schedule", {
          checkpoint: run.checkpoint,
          scheduler: run.scheduler,
          noise_schedule: run.noise_schedule,
          num_inference_steps: run.steps,
        });
        const steps = answer.evaluations.filter((e) => e.stage !== 2);
        positions = steps.map((e) => e.position);
        starts = STRENGTHS.map((strength) => {
          const first = firstStep(steps, strength);
          return first && { strength, position: first.position };
        }).filter(Boolean);
        drawMarks();
        drawDenoise();
      } catch {
        starts = positions = []; // the slider works without these marks
      }
    }
    function drawMarks() {
      marks.replaceChildren(
        ...starts.map(({ strength, position }) => {
          const to = () => {
            slider.value = String(position);
            slider.dispatchEvent(new Event("input"));
          };
          const mark = h(
            "button",
            { type: "button", class: "ls-tick", onclick: to, title: say("forward.strength", { strength }) },
            NARROW.matches ? String(strength) : say("forward.strength.short", { strength }),
          );
          mark.style.left = `${(position / Number(slider.max)) * 100}%`;
          mark.classList.toggle("ls-tick-start", position < Number(slider.max) * 0.08);
          return mark;
        }),
      );
    }

    const again = repeats();
    /** Steps of this run's scheduler from the slider's t on. */
    const count = () => stepsLeft(positions, Number(slider.value));
    function drawDenoise() {
      const steps = count();
      denoise.hidden = how.hidden = !positions.length || !!context.isReplay;
      denoise.disabled = !steps;
      denoise.textContent = say("forward.denoise", { steps });
    }
    /** Starts a run of image to image from here, with the right caption and this run's scheduler. A picture from
        disk is sent in the size of the panel, which is the checkpoint's own. */
    function from() {
      if (again(`${context.picture.key} ${caption.value} ${slider.value}`)) return;
      const many = positions.length;
      const strength = strengthFor(many, count());
      const question = {
        job: context.online ? context.record?.job : null,
        prompt: caption.value,
        steps: many,
        strength,
      };
      if (!context.picture.file) return context.trigger("denoise", { ...question, picture: context.picture.key });
      const pixelCanvas = document.createElement("canvas");
      drawBytes(pixelCanvas, here.pixels, here.size);
      context.trigger("denoise", { ...question, file: pixelCanvas.toDataURL("image/png") });
    }

    /** Measures the loss of a picture without being asked, where this checkpoint is quick enough here. */
    async function measureAtOnce(picture) {
      const isHere = () => pictureKey === picture.key && !lossesHere;
      const answer = await architectureOf(checkpoint(), isHere).catch(() => null);
      if (!isHere()) return;
      const duration = answer ? answer.parts.unet.milliseconds * CALLS : Infinity;
      if (duration <= AT_ONCE) losses();
      else if (answer) message.textContent = say("loss.slow", { seconds: Math.round(duration / 1000) });
    }

    async function losses() {
      const picture = context.picture;
      message.textContent = say("loss.measuring");
      measure.disabled = true;
      try {
        const answer = await ask(
          "losses",
          { ...picture.fields, checkpoint: checkpoint(), caption: caption.value, wrong_caption: wrongCaption.value },
          picture.file,
        );
        if (picture.key !== pictureKey) return;
        lossesHere = answer;
        context.tellLosses?.(answer);
        message.textContent = "";
        drawCurve();
        await errorMap();
      } catch (failure) {
        message.textContent = failure.message || say("ask.failed");
      } finally {
        measure.disabled = false;
      }
    }

    async function errorMap() {
      const picture = context.picture;
      const timestep = Math.round(Number(slider.value));
      error.note.textContent = say("loss.measuring");
      try {
        const answer = await newestError(() =>
          ask("error", { ...picture.fields, checkpoint: checkpoint(), caption: caption.value, timestep }, picture.file),
        );
        if (!answer || picture.key !== pictureKey) return;
        errorMapHere = answer;
        drawError();
      } catch (failure) {
        error.note.textContent = failure.message || say("ask.failed");
      }
    }
    function drawError() {
      error.figure.hidden = !errorMapHere;
      if (!errorMapHere) return;
      const cells = rmsOfCells(errorMapHere.tensors.error.values, errorMapHere.tensors.error.shape);
      context.painter.heat(error.canvas, cells, errorMapHere.tensors.error.shape.slice(1), 1.5);
      error.note.textContent = say("loss.map", {
        timestep: errorMapHere.run.timestep,
        loss: number(errorMapHere.run.loss, 4),
      });
    }

    function drawCurve() {
      curve.element.parentElement.hidden = !lossesHere;
      if (!lossesHere) return;
      const classes = { right: "ls-x0", empty: "ls-ghost", wrong: "ls-guide" };
      const t = Number(slider.value);
      curve.draw({
        lines: ["empty", "wrong", "right"].map((name) => ({
          points: lossesHere.timesteps.map((at, k) => [at, lossesHere.losses[name][k]]),
          class: classes[name],
          dots: true,
          label: say(`loss.line.${name}`),
          label_at: "start",
        })),
        x: { low: 0, high: Number(slider.max), label: "t" },
        y: { low: 0 },
        marker: { x: t, points: [] },
        pick: (x) => {
          slider.value = String(x);
          slider.dispatchEvent(new Event("input"));
        },
      });
    }

    return {
      element,
      draw() {
        const picture = source.draw();
        lossBox.hidden = !!context.isReplay; // measured by the model
        if (!picture) {
          pictureKey = null;
          here = null;
          body.hidden = true;
          status.textContent = "";
          return;
        }
        if (captionOf !== context.record && context.record?.run) {
          captionOf = context.record;
          caption.value = captionOf.run.prompt || "";
        }
        if (pictureKey !== picture.key) load(picture);
        body.hidden = !here;
        if (!here) return;
        strengths();
        drawMarks();
        drawDenoise();
        drawLevel();
        drawCurve();
        drawError();
      },
    };
  },
};
