/* A recorded run: fetched once, kept here, and turned into pixels without asking the server again. */
"use strict";

(() => {
window.LatentStudio.Record = class {
  /** `job` and `image` name the run; nothing is fetched before `grow`. */
  constructor(job, image) {
    this.job = job;
    this.image = image;
    this.run = null; // what the file's header says of the run
    // {index, timestep, sigma, a, s, log_snr, ...} of docs/record.md, with Float32Arrays (C h w): x_t, model_cond, model_difference
    // and model_uncond (both undefined without guidance), model (guided), and what follows from them: denoised, noise_pred.
    this.evaluations = [];
    this.decoder = null; // {weight, bias, scale}
    this.shape = null; // [channels, height, width] of the latents
    this.pixels = new Map();
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
    const { tensors, run } = read(await answer.arrayBuffer());
    this.run = { ...this.run, ...run }; // later answers say only what has changed
    if (tensors.latents) this.latents = tensors.latents.values; // clean ones, once the run is complete
    if (tensors["preview.weight"] && !this.decoder) {
      const weight = tensors["preview.weight"];
      this.decoder = { weight: weight.values, bias: tensors["preview.bias"].values, scale: Math.round(Math.sqrt(weight.shape[0] / 3)) };
    }
    const [count, ...shape] = tensors.x_t.shape;
    if (count) this.shape = shape;
    const size = shape.reduce((a, b) => a * b, 1);
    let captured = 0;
    run.evaluations.slice(0, count).forEach((numbers, k) => {
      const part = (name, at) => tensors[name] && tensors[name].values.subarray(at * size, (at + 1) * size);
      const entry = { ...numbers, x_t: part("x_t", k), model_cond: part("model_cond", k), model_difference: part("model_difference", k) };
      entry.model_uncond = entry.model_difference && guided(entry, 0);
      entry.model = numbers.captured ? part("model_guided", captured++) : guided(entry, numbers.guidance_scale);
      entry.denoised = this.x0(entry, entry.model);
      entry.noise_pred = this.noise(entry, entry.model);
      this.evaluations.push(entry);
    });
    return count ? "new" : "same";
  }

  /** Predicted x0 from a model output (model, model_cond, model_uncond, or `guided` of another scale) of an evaluation;
      zeros where it is undefined (x0_defined is false: a = 0 and the model predicts noise). */
  x0({ a, s, x_t }, model) {
    const type = this.run.prediction_type;
    if (type === "epsilon") return a === 0 ? new Float32Array(x_t.length) : x_t.map((x, i) => (x - s * model[i]) / a);
    return type === "v_prediction" ? x_t.map((x, i) => a * x - s * model[i]) : model;
  }

  /** Predicted noise from a model output of an evaluation, so that a x0 + s noise is x_t again. */
  noise({ a, s, x_t }, model) {
    const type = this.run.prediction_type;
    if (type === "epsilon") return model;
    return x_t.map((x, i) => (type === "v_prediction" ? s * x + a * model[i] : (x - a * model[i]) / s));
  }

  /** The model output of an evaluation with guidance scale w: u + w (c - u). */
  guided(entry, w) {
    return guided(entry, w);
  }

  /** One quantity of one evaluation as an image, through the fast decoder or as its channels side by side. */
  picture(index, quantity, how) {
    const key = `${index} ${quantity} ${how}`;
    if (!this.pixels.has(key)) {
      if (this.pixels.size > 900) this.pixels.clear();
      const latents = this.evaluations[index][quantity];
      this.pixels.set(key, how === "fast" && this.decoder ? decode(latents, this.shape, this.decoder) : channels(latents, this.shape));
    }
    return this.pixels.get(key);

    /** Latents => pixels by one 3x3 convolution (edges repeated) and a pixel shuffle; values in -1 .. 1. */
    function decode(latents, [C, H, W], { weight, bias, scale }) {
      const out = new ImageData(W * scale, H * scale);
      const near = new Float32Array(C * 9);
      const patch = scale * scale;
      for (let y = 0; y < H; y++) {
        for (let x = 0; x < W; x++) {
          for (let c = 0, n = 0; c < C; c++) {
            for (let dy = -1; dy <= 1; dy++) {
              const row = (c * H + Math.min(H - 1, Math.max(0, y + dy))) * W;
              for (let dx = -1; dx <= 1; dx++) near[n++] = latents[row + Math.min(W - 1, Math.max(0, x + dx))];
            }
          }
          for (let o = 0; o < 3 * patch; o++) {
            let sum = bias[o];
            for (let n = 0, w = o * C * 9; n < C * 9; n++, w++) sum += weight[w] * near[n];
            const colour = Math.floor(o / patch);
            const at = o % patch;
            const pixel = (y * scale + Math.floor(at / scale)) * W * scale + x * scale + (at % scale);
            out.data[pixel * 4 + colour] = (sum + 1) * 127.5;
          }
        }
      }
      for (let p = 3; p < out.data.length; p += 4) out.data[p] = 255;
      return out;
    }

    /** Latents => grey tiles, -3 .. 3 as black .. white, two channels a row. */
    function channels(latents, [C, H, W]) {
      const columns = Math.min(2, C);
      const out = new ImageData(W * columns, H * Math.ceil(C / columns));
      for (let c = 0; c < C; c++) {
        for (let y = 0; y < H; y++) {
          for (let x = 0; x < W; x++) {
            const grey = ((latents[(c * H + y) * W + x] + 3) / 6) * 255;
            const pixel = (Math.floor(c / columns) * H + y) * W * columns + (c % columns) * W + x;
            out.data.set([grey, grey, grey, 255], pixel * 4);
          }
        }
      }
      return out;
    }
  }

  /** The predicted picture at one pixel per latent, for the timeline. */
  thumbnail(index) {
    const key = `${index} thumbnail`;
    if (!this.pixels.has(key)) {
      const full = this.picture(index, "denoised", this.decoder ? "fast" : "channels");
      const step = this.decoder ? this.decoder.scale : 1;
      const out = new ImageData(full.width / step, full.height / step);
      for (let y = 0; y < out.height; y++) {
        for (let x = 0; x < out.width; x++) {
          const from = ((y * step + (step >> 1)) * full.width + x * step + (step >> 1)) * 4;
          out.data.set(full.data.subarray(from, from + 4), (y * out.width + x) * 4);
        }
      }
      this.pixels.set(key, out);
    }
    return this.pixels.get(key);
  }
};

function guided({ model_cond, model_difference }, w) {
  return model_difference ? model_cond.map((c, i) => c + (w - 1) * model_difference[i]) : model_cond;
}

/** A safetensors file => {run, tensors: {name: {shape, values}}}; F16 and F32 become Float32Array. */
function read(buffer) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const tensors = {};
  for (const [name, entry] of Object.entries(header)) {
    if (name === "__metadata__") continue;
    const bytes = buffer.slice(8 + length + entry.data_offsets[0], 8 + length + entry.data_offsets[1]);
    tensors[name] = { shape: entry.shape, values: entry.dtype === "F16" ? halves(new Uint16Array(bytes)) : new Float32Array(bytes) };
  }
  return { run: JSON.parse(header.__metadata__.run), tensors };
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
})();
