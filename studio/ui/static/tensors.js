/* Files of tensors (safetensors), as the studio sends them, into typed arrays. */

/** A safetensors file => {run, tensors: {name: {shape, values, row(k)}}}. `values` is a Float32Array for F16 and
    F32, bytes for U8. row(k) returns a function that decodes entry k of the first axis alone. A U8 tensor with
    `<name>.range` beside it holds numbers between the least and the greatest of each entry and channel
    (docs/record.md). `lazy`: values are decoded at each access. */
export function readTensors(buffer, { lazy = false } = {}) {
  const view = new DataView(buffer);
  const length = Number(view.getBigUint64(0, true));
  const header = JSON.parse(new TextDecoder().decode(new Uint8Array(buffer, 8, length)));
  const as = {
    F16: (bytes) => halves(new Uint16Array(bytes)),
    F32: (bytes) => new Float32Array(bytes),
    U8: (bytes) => new Uint8Array(bytes),
  };
  const tensors = {};
  for (const [name, { dtype, shape, data_offsets }] of Object.entries(header)) {
    if (name === "__metadata__" || !as[dtype]) continue;
    const bytes = buffer.slice(8 + length + data_offsets[0], 8 + length + data_offsets[1]);
    const each = bytes.byteLength / Math.max(1, shape[0]);
    const row = (k) => () => {
      const values = as[dtype](bytes.slice(k * each, (k + 1) * each));
      const range = tensors[`${name}.range`];
      return range ? dequantize(values, range.row(k)()) : values;
    };
    const tensor = { shape, row };
    if (lazy) Object.defineProperty(tensor, "values", { get: () => as[dtype](bytes) });
    else tensor.values = as[dtype](bytes);
    tensors[name] = tensor;
  }
  return { run: JSON.parse(header.__metadata__?.run ?? "{}"), tensors };
}

/** Bytes of C channels => numbers between the least and the greatest of each channel, `range` (C 2). */
function dequantize(bytes, range) {
  const channels = range.length / 2;
  const many = bytes.length / channels;
  const out = new Float32Array(bytes.length);
  for (let c = 0; c < channels; c++) {
    const [low, step] = [range[2 * c], (range[2 * c + 1] - range[2 * c]) / 255];
    for (let k = c * many; k < (c + 1) * many; k++) out[k] = low + bytes[k] * step;
  }
  return out;
}

/** IEEE half floats => floats. */
function halves(bits) {
  const out = new Float32Array(bits.length);
  for (let k = 0; k < bits.length; k++) {
    const exponent = (bits[k] >> 10) & 31;
    const fraction = bits[k] & 1023;
    const size =
      exponent === 0
        ? fraction * 2 ** -24
        : exponent === 31
          ? fraction
            ? NaN
            : Infinity
          : (1 + fraction / 1024) * 2 ** (exponent - 15);
    out[k] = bits[k] & 32768 ? -size : size;
  }
  return out;
}

/** The fast decoder in an answer, or null. */
export function decoderOf(tensors) {
  const weight = tensors["preview.weight"];
  return weight
    ? { weight: weight.values, bias: tensors["preview.bias"].values, scale: Math.round(Math.sqrt(weight.shape[0] / 3)) }
    : null;
}
