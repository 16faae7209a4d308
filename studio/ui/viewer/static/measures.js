/* Measures of latents and pictures: the formulas of studio/engine/viewer/measures.py. */

/** Root mean square. */
export function rmsOf(values) {
  let sum = 0;
  for (const value of values) sum += value * value;
  return Math.sqrt(sum / values.length);
}

/** Root mean square over the channels of each cell: latents (C h w) => (h w). */
export function rmsOfCells(latents, [C, H, W]) {
  const out = new Float32Array(H * W);
  for (let c = 0; c < C; c++) for (let k = 0; k < out.length; k++) out[k] += latents[c * out.length + k] ** 2 / C;
  return out.map(Math.sqrt);
}

/** Cosine of the angle between two. */
export function cosineOf(one, other) {
  let dot = 0;
  for (let k = 0; k < one.length; k++) dot += one[k] * other[k];
  return dot / (one.length * rmsOf(one) * rmsOf(other) || 1);
}

/** Mean and standard deviation. */
export function moments(values) {
  let [sum, squares] = [0, 0];
  for (const value of values) {
    sum += value;
    squares += value * value;
  }
  const mean = sum / values.length;
  return { mean, std: Math.sqrt(Math.max(0, squares / values.length - mean * mean)) };
}

/** Peak signal-to-noise ratio of two pictures in dB, from the sum of the squared differences of `count` bytes. */
export const psnrOf = (squares, count) => 10 * Math.log10((255 * 255) / (squares / count));

/** Power by spatial frequency: [cycles along the shorter side, power], the mean over directions and channels of (C H
    W). It is 1 for white noise of variance 1. */
export function spectrumOf(latents, [C, H, W]) {
  const short = Math.min(H, W);
  const many = Math.floor(short / 2);
  const sums = new Float64Array(many + 1);
  const counts = new Float64Array(many + 1);
  // Separable discrete Fourier transform: rows, then columns.
  const cosine = (n) => Array.from({ length: n }, (_, k) => Math.cos((2 * Math.PI * k) / n));
  const sine = (n) => Array.from({ length: n }, (_, k) => Math.sin((2 * Math.PI * k) / n));
  const [cw, sw, ch, sh] = [cosine(W), sine(W), cosine(H), sine(H)];
  for (let c = 0; c < C; c++) {
    const re = new Float64Array(H * W);
    const im = new Float64Array(H * W);
    for (let y = 0; y < H; y++)
      for (let u = 0; u < W; u++)
        for (let x = 0; x < W; x++) {
          const value = latents[(c * H + y) * W + x];
          re[y * W + u] += value * cw[(u * x) % W];
          im[y * W + u] -= value * sw[(u * x) % W];
        }
    for (let u = 0; u < W; u++)
      for (let v = 0; v < H; v++) {
        let [a, b] = [0, 0];
        for (let y = 0; y < H; y++) {
          const [p, q] = [ch[(v * y) % H], sh[(v * y) % H]];
          a += re[y * W + u] * p + im[y * W + u] * q;
          b += im[y * W + u] * p - re[y * W + u] * q;
        }
        const r = Math.round(short * Math.hypot(Math.min(u, W - u) / W, Math.min(v, H - v) / H));
        if (r > many) continue;
        sums[r] += (a * a + b * b) / (H * W);
        counts[r]++;
      }
  }
  return Array.from({ length: many + 1 }, (_, r) => [r, sums[r] / (counts[r] || 1)]).slice(1);
}
