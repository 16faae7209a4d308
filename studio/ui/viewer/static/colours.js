/* The colours of fields, and the size of a canvas that shows one. */

/* A signed field: blue below, amber above, pale at zero. And a sequential one (viridis, Smith and van der Walt
   2015). Both work for any colour vision. */
const SIGNED = ["#12306f", "#3a67b5", "#93b4dc", "#f2f1ec", "#edb877", "#c26d1f", "#6f3307"];
const VIRIDIS = ["#440154", "#472d7b", "#3b528b", "#2c728e", "#21918c", "#28ae80", "#5ec962", "#addc30", "#fde725"];

/** 256 colours interpolated between these, as RGBA bytes. */
function ramp(stops) {
  const parts = stops.map((stop) => [1, 3, 5].map((at) => parseInt(stop.slice(at, at + 2), 16)));
  const out = new Uint8Array(256 * 4);
  for (let k = 0; k < 256; k++) {
    const at = (k / 255) * (parts.length - 1);
    const low = Math.min(parts.length - 2, Math.floor(at));
    for (let c = 0; c < 3; c++)
      out[k * 4 + c] = Math.round(parts[low][c] + (parts[low + 1][c] - parts[low][c]) * (at - low));
    out[k * 4 + 3] = 255;
  }
  return out;
}
export const RAMPS = { signed: ramp(SIGNED), sequential: ramp(VIRIDIS) };

/** Into how many columns channels are put side by side. */
export const columnsOf = (channels) => Math.min(2, channels);

/** Gives a canvas its size, where it has another; returns its pen. */
export function resize(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  return canvas.getContext("2d");
}
