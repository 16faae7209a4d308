/* A recorded run: fetched once, kept here, and every quantity of it computed without asking the server again. */
"use strict";

(() => {
window.LatentStudio.Record = class {
  /** `job` and `image` name the run; nothing is fetched before `grow`. */
  constructor(job, image) {
    this.job = job;
    this.image = image;
    this.run = null; // what the file's header says of the run
    // What docs/record.md says of each evaluation, with Float32Arrays (C h w): x_t, model_cond, model_difference and
    // model_uncond (both absent without guidance), model (guided), and what follows from it: denoised, noise_pred.
    this.evaluations = [];
    this.clean = null; // the latents at the end, once the run is complete
    this.decoder = null; // {weight, bias, scale}
    this.shape = null; // [channels, height, width] of the latents
    this.found = new Map(); // quantities computed so far
  }

  get ended() {
    return !!this.run && !["queued", "running"].includes(this.run.state);
  }

  /** Fetch what is new. Answers "new", "same" or "none" (no such record, or none yet). One at a time: whoever asks
      while an answer is on its way gets that one. */
  grow() {
    if (!this.growing) {
      this.growing = this.fetched().finally(() => {
        this.growing = null;
      });
    }
    return this.growing;
  }

  async fetched() {
    const since = this.evaluations.length;
    const answer = await fetch(`/record/${encodeURIComponent(this.job)}?image=${this.image}&since=${since}`);
    if (answer.status === 404) return "none";
    if (!answer.ok) throw new Error(String(answer.status));
    return this.take(await answer.arrayBuffer());
  }

  /** Append what a file of evaluations holds. */
  take(buffer) {
    const { tensors, run } = window.LatentStudio.readTensors(buffer);
    this.run = { ...this.run, ...run }; // later answers say only what has changed
    if (tensors.latents) this.clean = tensors.latents.values;
    this.decoder = this.decoder || window.LatentStudio.decoderOf(tensors);
    const [count, ...shape] = tensors.x_t.shape;
    if (count) this.shape = shape;
    const size = shape.reduce((a, b) => a * b, 1);
    const part = (name, at) => tensors[name] && tensors[name].values.subarray(at * size, (at + 1) * size);
    const { predictedX0, predictedNoise, guided } = window.LatentStudio;
    const groups = Object.keys(tensors).filter((name) => name.startsWith("attention."));
    let captured = 0;
    let looked = 0;
    run.evaluations.slice(0, count).forEach((numbers, k) => {
      const entry = { ...numbers, x_t: part("x_t", k), model_cond: part("model_cond", k), model_difference: part("model_difference", k) };
      entry.model_uncond = entry.model_difference && guided(entry, 0);
      entry.model = numbers.captured ? part("model_guided", captured++) : guided(entry, numbers.guidance_scale);
      entry.denoised = predictedX0(this.run.prediction_type, entry, entry.model);
      entry.noise_pred = predictedNoise(this.run.prediction_type, entry, entry.model);
      if (numbers.attention_text !== undefined) {
        entry.attention = {};
        for (const name of groups) {
          const [, rows, height, width] = tensors[name].shape;
          const many = rows * height * width;
          entry.attention[name.slice("attention.".length)] = { rows, height, width, values: tensors[name].values.subarray(looked * many, (looked + 1) * many) };
        }
        looked++;
      }
      this.evaluations.push(entry);
    });
    if (count) {
      // A run's scale and its newest differences may be others now.
      for (const key of [...this.found.keys()]) if (key.startsWith("scale ") || key.startsWith("change") || key.startsWith("left") || key.startsWith("attention scale")) this.found.delete(key);
    }
    return count ? "new" : "same";
  }

  remember(key, make) {
    if (!this.found.has(key)) {
      if (this.found.size > 4000) this.found.clear();
      this.found.set(key, make());
    }
    return this.found.get(key);
  }

  /** Why a quantity is not there at an evaluation: a key under `viewer.undefined`, or null where it is there. */
  why(index, quantity) {
    return window.LatentStudio.quantities[quantity].why(this, index);
  }

  /** A quantity of one evaluation (Float32Array, C h w), or null where it is undefined. */
  latents(index, quantity) {
    if (!this.evaluations[index] || this.why(index, quantity)) return null;
    return this.remember(`${quantity} ${index}`, () => window.LatentStudio.quantities[quantity].of(this, index));
  }

  /** Predicted x0 as it would be with another guidance scale, from the same x_t; null without both branches. */
  whatIf(index, guidance) {
    if (this.why(index, "x0_uncond")) return null;
    const entry = this.evaluations[index];
    return window.LatentStudio.predictedX0(this.run.prediction_type, entry, window.LatentStudio.guided(entry, guidance));
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
    return p && q && this.remember(`cosine ${one} ${other} ${index}`, () => {
      let dot = 0;
      for (let k = 0; k < p.length; k++) dot += p[k] * q[k];
      return dot / (p.length * rmsOf(p) * rmsOf(q) || 1);
    });
  }

  /** The greatest cell of a quantity in the whole run so far: one colour scale for all its evaluations. */
  scale(quantity) {
    return this.remember(`scale ${quantity}`, () => {
      let high = 0;
      for (let k = 0; k < this.evaluations.length; k++) for (const value of this.cells(k, quantity) || []) if (value > high) high = value;
      return high;
    });
  }
};

function rmsOf(values) {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum / values.length);
}

function rmsOfCells(latents, [C, H, W]) {
  const out = new Float32Array(H * W);
  for (let c = 0; c < C; c++) for (let k = 0; k < out.length; k++) out[k] += latents[c * out.length + k] ** 2 / C;
  return out.map(Math.sqrt);
}

/** A safetensors file => {run, tensors: {name: {shape, values}}}; F16 and F32 become Float32Array, U8 stays bytes. */
function readTensors(buffer) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const as = { F16: (bytes) => halves(new Uint16Array(bytes)), F32: (bytes) => new Float32Array(bytes), U8: (bytes) => new Uint8Array(bytes) };
  const tensors = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__" || !as[entry.dtype]) continue;
    const bytes = buffer.slice(8 + length + entry.data_offsets[0], 8 + length + entry.data_offsets[1]);
    tensors[name] = { shape: entry.shape, values: as[entry.dtype](bytes) };
  }
  return { run: JSON.parse(header.__metadata__?.run ?? "{}"), tensors };
}

/** IEEE half floats => floats. */
function halves(bits) {
  const out = new Float32Array(bits.length);
  for (let k = 0; k < bits.length; k++) {
    const exponent = (bits[k] >> 10) & 31;
    const fraction = bits[k] & 1023;
    const size = exponent === 0 ? fraction * 2 ** -24 : exponent === 31 ? (fraction ? NaN : Infinity) : (1 + fraction / 1024) * 2 ** (exponent - 15);
    out[k] = bits[k] & 32768 ? -size : size;
  }
  return out;
}

Object.assign(window.LatentStudio, { readTensors, rmsOf, rmsOfCells });
})();
