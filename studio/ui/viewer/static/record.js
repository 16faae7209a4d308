/* A recorded run. It is fetched once and stays here; every quantity is computed from it without a request. */

import { decoderOf, readTensors } from "../../static/tensors.js";
import { cosineOf, rmsOf, rmsOfCells } from "./measures.js";
import { guidedOutput, predictedNoise, predictedX0, quantities } from "./quantities.js";

// Bytes of decoded and computed arrays; the recording itself stays in the form in which it came
const ROOM = 48 * 2 ** 20;

/** One evaluation. It has the fields of docs/record.md and, as Float32Arrays (C h w), the recorded x_t, model_cond,
    model_difference and model_uncond (both undefined without guidance) and model (with guidance). denoised and noise_pred
    follow from these. Arrays are decoded at the first access. `rough`: it came in eight bits. */
class Evaluation {
  constructor(record, numbers, parts, rough) {
    Object.assign(this, numbers);
    Object.defineProperty(this, "internals", { value: { record, parts } });
    this.rough = rough;
  }
  part(name) {
    const { record, parts } = this.internals;
    return parts[name] && record.remember(`part ${name} ${this.index}`, parts[name]);
  }
  derive(name, make) {
    return this.internals.record.remember(`part ${name} ${this.index}`, make);
  }
  get x_t() {
    return this.part("x_t");
  }
  get model_cond() {
    return this.part("model_cond");
  }
  get model_difference() {
    return this.part("model_difference");
  }
  get model_uncond() {
    // At a scale of 1 the network was not asked without the prompt, and the difference is zeros.
    const isThere = this.internals.parts.model_difference && this.guidance_scale !== 1;
    return isThere ? this.derive("model_uncond", () => guidedOutput(this, 0)) : undefined;
  }
  get model() {
    return this.internals.parts.model_guided
      ? this.part("model_guided")
      : this.derive("model", () => guidedOutput(this, this.guidance_scale));
  }
  get denoised() {
    return this.derive("denoised", () => predictedX0(this.internals.record.run.prediction_type, this, this.model));
  }
  get noise_pred() {
    return this.derive("noise_pred", () => predictedNoise(this.internals.record.run.prediction_type, this, this.model));
  }
}

/** Where the U-Net looked in one group: (rows height width), decoded at the first access. */
class Maps {
  constructor(record, size, decode) {
    Object.assign(this, size);
    Object.defineProperty(this, "internals", {
      value: { record, decode, key: `maps ${(Maps.count = (Maps.count || 0) + 1)}` },
    });
  }
  get values() {
    const { record, decode, key } = this.internals;
    return record.remember(key, decode);
  }
}

/** Bytes (height width 3) => a canvas. */
function pictureOf({ shape: [height, width], values }) {
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [width, height];
  const out = new ImageData(width, height);
  for (let k = 0; k < width * height; k++) {
    for (let c = 0; c < 3; c++) out.data[k * 4 + c] = values[k * 3 + c];
    out.data[k * 4 + 3] = 255;
  }
  canvas.getContext("2d").putImageData(out, 0, 0);
  return canvas;
}

export class Record {
  /** `job` and `image` name the run; grow() fetches it. */
  constructor(job, image) {
    this.job = job;
    this.image = image;
    this.run = null; // the run, as the file's header describes it
    this.evaluations = []; // of Evaluation
    this.clean = null; // the latents at the end, once the run is complete
    this.picture = null; // the finished one as a canvas, once the run has ended
    this.isSample = false; // of the page's own files: the studio knows no such run
    this.isFromPicture = false; // begun at a picture and not at pure noise, where the tab Learn knows it
    this.file = null; // the finished picture of the sample's run, as a file
    this.pictureId = null; // the finished picture of another run, where it is known
    this.decoder = null; // {weight, bias, scale}
    this.shape = null; // [channels, height, width] of the latents
    this.computed = new Map(); // quantities computed so far, the least recently used first
    this.bytes = 0; // of the arrays in `computed`
  }

  get ended() {
    return !!this.run && !["queued", "running"].includes(this.run.state);
  }

  /** Fetches what is new. Resolves to "new", "same" or "none" (no such record, or none yet). One request at a time:
      a call during a request gets the same answer. */
  grow() {
    if (!this.growth) {
      this.growth = this.fetchNew().finally(() => {
        this.growth = null;
      });
    }
    return this.growth;
  }

  async fetchNew() {
    // "lean": a large run comes in eight bits a number, and in full precision where the viewer stands still (sharpen).
    const since = this.evaluations.length;
    const answer = await fetch(`/record/${encodeURIComponent(this.job)}?image=${this.image}&lean=1&since=${since}`);
    if ([204, 404].includes(answer.status)) return "none";
    if (!answer.ok) throw new Error(String(answer.status));
    return this.take(await answer.arrayBuffer());
  }

  /** Fetches an evaluation that came in eight bits in full precision, and its neighbours, since changes are
      differences of two. Resolves to true when they are there. */
  async sharpen(index) {
    const answer = await fetch(
      `/record/${encodeURIComponent(this.job)}?image=${this.image}&until=${index + 2}&since=${Math.max(0, index - 1)}`,
    ).catch(() => null);
    if (answer?.status !== 200) return false;
    const { kept, state, total } = this.run; // of grow(): this answer describes only a part of the run
    this.take(await answer.arrayBuffer());
    Object.assign(this.run, { kept, state, total, bits: 8 });
    this.computed.clear();
    this.bytes = 0;
    return true;
  }

  /** Adds the evaluations of a file. */
  take(buffer) {
    const { tensors, run } = readTensors(buffer, { lazy: true });
    this.run = { ...this.run, ...run }; // later answers hold only what has changed
    if (tensors.latents) this.clean = tensors.latents.values;
    if (tensors.picture) this.picture = pictureOf(tensors.picture);
    this.decoder = this.decoder || decoderOf(tensors);
    const [count, ...shape] = tensors.x_t.shape;
    if (count) this.shape = shape;
    const groups = Object.keys(tensors).filter((name) => name.startsWith("attention.") && !name.endsWith(".range"));
    let guidedRow = 0;
    let attentionRow = 0;
    run.evaluations.slice(0, count).forEach((numbers, k) => {
      const parts = {};
      for (const name of ["x_t", "model_cond", "model_difference"])
        if (tensors[name]) parts[name] = tensors[name].row(k);
      if (numbers.captured) parts.model_guided = tensors.model_guided.row(guidedRow++);
      const entry = new Evaluation(this, numbers, parts, run.bits === 8);
      if (numbers.attention_text !== undefined) {
        entry.attention = {};
        for (const name of groups) {
          const [, rows, height, width] = tensors[name].shape;
          entry.attention[name.slice("attention.".length)] = new Maps(
            this,
            { rows, height, width },
            tensors[name].row(attentionRow),
          );
        }
        attentionRow++;
      }
      this.evaluations[numbers.index] = entry;
    });
    if (count) {
      // New evaluations may change a run's scale and its newest differences.
      for (const key of [...this.computed.keys()])
        if (
          key.startsWith("scale ") ||
          key.startsWith("change") ||
          key.startsWith("left") ||
          key.startsWith("attention scale")
        )
          this.forget(key);
    }
    return count ? "new" : "same";
  }

  remember(key, make) {
    let value = this.computed.get(key);
    if (value === undefined) {
      value = make();
      this.bytes += value?.byteLength || 0;
    } else this.computed.delete(key);
    this.computed.set(key, value);
    if (this.bytes > ROOM) {
      for (const [oldest, one] of this.computed) {
        if (this.bytes <= ROOM / 2 || oldest === key) break;
        if (!one?.byteLength) continue; // a number costs nothing
        this.forget(oldest);
      }
    }
    return value;
  }

  forget(key) {
    this.bytes -= this.computed.get(key)?.byteLength || 0;
    this.computed.delete(key);
  }

  /** Why a quantity does not exist at an evaluation: a key under `viewer.undefined`, or null where it exists. */
  why(index, quantity) {
    return quantities[quantity].why(this, index);
  }

  /** A quantity of one evaluation (Float32Array, C h w), or null where it is undefined. */
  latents(index, quantity) {
    if (!this.evaluations[index] || this.why(index, quantity)) return null;
    return this.remember(`${quantity} ${index}`, () => quantities[quantity].of(this, index));
  }

  /** Predicted x0 for another guidance scale, from the same x_t; null without both branches. */
  whatIf(index, guidance) {
    if (this.why(index, "x0_uncond")) return null;
    const entry = this.evaluations[index];
    return predictedX0(this.run.prediction_type, entry, guidedOutput(entry, guidance));
  }

  /** RMS over the channels at each cell (Float32Array, h w). */
  cells(index, quantity) {
    const latents = this.latents(index, quantity);
    return latents && this.remember(`cells ${quantity} ${index}`, () => rmsOfCells(latents, this.shape));
  }

  /** RMS of all numbers of a quantity at one evaluation. */
  rms(index, quantity) {
    const latents = this.latents(index, quantity);
    return latents && this.remember(`rms ${quantity} ${index}`, () => rmsOf(latents));
  }

  /** Cosine of the angle between two quantities of one evaluation; null where one is undefined. */
  cosine(index, one, other) {
    const [p, q] = [this.latents(index, one), this.latents(index, other)];
    return p && q && this.remember(`cosine ${one} ${other} ${index}`, () => cosineOf(p, q));
  }

  /** The greatest cell of a quantity in the run so far: one colour scale for all its evaluations. */
  scale(quantity) {
    return this.remember(`scale ${quantity}`, () => {
      let high = 0;
      for (let k = 0; k < this.evaluations.length; k++)
        for (const value of this.cells(k, quantity) || []) if (value > high) high = value;
      return high;
    });
  }
}
