/* Latents to pixels in plain code, for any number of channels. The three pictures are those of painter.js. */

import { columnsOf, RAMPS, resize } from "./colours.js";

/** A decoder's weights as doubles, which plain code multiplies without converting them again and again. */
const doubles = new WeakMap();
function doublesOf({ weight }) {
  if (!doubles.has(weight)) doubles.set(weight, Float64Array.from(weight));
  return doubles.get(weight);
}

/** Latents through the fast decoder. `stride` divides the decoder's scale. The three colours are summed side by side:
    a sum waits for its own last term, and a processor adds to the two others meanwhile. */
function decode(latents, [C, H, W], decoder, { stride, gain, hasBias }) {
  const { bias, scale } = decoder;
  const image = new ImageData((W * scale) / stride, (H * scale) / stride);
  const { data, width } = image;
  const weight = doublesOf(decoder);
  const many = C * 9;
  const patch = scale * scale;
  const [toGreen, toBlue] = [patch * many, 2 * patch * many];
  const ofBias = hasBias ? 1 : 0;
  const near = new Float64Array(many);
  const first = stride >> 1; // the pixel of a patch that is drawn first
  for (let cy = 0; cy < H; cy++) {
    for (let cx = 0; cx < W; cx++) {
      for (let c = 0, n = 0; c < C; c++) {
        for (let k = 0; k < 9; k++) {
          const row = Math.min(H - 1, Math.max(0, cy + Math.floor(k / 3) - 1));
          near[n++] = gain * latents[(c * H + row) * W + Math.min(W - 1, Math.max(0, cx + (k % 3) - 1))];
        }
      }
      for (let py = first; py < scale; py += stride) {
        let p = (((cy * scale + py - first) / stride) * width + (cx * scale) / stride) * 4;
        for (let px = first; px < scale; px += stride, p += 4) {
          const at = py * scale + px;
          let red = ofBias * bias[at];
          let green = ofBias * bias[at + patch];
          let blue = ofBias * bias[at + 2 * patch];
          for (let n = 0, w = at * many; n < many; n++, w++) {
            const value = near[n];
            red += weight[w] * value;
            green += weight[w + toGreen] * value;
            blue += weight[w + toBlue] * value;
          }
          data[p] = (red + 1) * 127.5;
          data[p + 1] = (green + 1) * 127.5;
          data[p + 2] = (blue + 1) * 127.5;
          data[p + 3] = 255;
        }
      }
    }
  }
  return image;
}

export class Plain {
  constructor() {
    this.decoded = new Map(); // latents => what this step has decoded of them: {decoder, options, image}
  }

  /** The end of a step: what was decoded in it is let go. */
  finish() {
    this.decoded.clear();
  }

  picture(canvas, latents, shape, decoder, { stride = 1, gain = 1, hasBias = true } = {}) {
    const options = `${stride} ${gain} ${hasBias}`;
    const all = this.decoded.get(latents) ?? [];
    this.decoded.set(latents, all);
    let one = all.find((other) => other.decoder === decoder && other.options === options);
    if (!one) all.push((one = { decoder, options, image: decode(latents, shape, decoder, { stride, gain, hasBias }) }));
    resize(canvas, one.image.width, one.image.height).putImageData(one.image, 0, 0);
  }

  field_(canvas, values, [C, H, W], columns, low, high, colours) {
    const out = new ImageData(W * columns, H * Math.ceil(C / columns));
    for (let c = 0; c < C; c++) {
      for (let y = 0; y < H; y++) {
        for (let x = 0; x < W; x++) {
          const share = Math.min(1, Math.max(0, (values[(c * H + y) * W + x] - low) / (high - low)));
          const from = Math.round(share * 255) * 4;
          const pixel = (Math.floor(c / columns) * H + y) * out.width + (c % columns) * W + x;
          out.data.set(RAMPS[colours].subarray(from, from + 4), pixel * 4);
        }
      }
    }
    resize(canvas, out.width, out.height).putImageData(out, 0, 0);
  }

  tiles(canvas, latents, shape, range) {
    this.field_(canvas, latents, shape, columnsOf(shape[0]), -range, range, "signed");
  }

  heat(canvas, values, shape, high) {
    this.field_(canvas, values, [1, ...shape], 1, 0, high, "sequential");
  }
}
