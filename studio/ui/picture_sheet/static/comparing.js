/* Whether two pictures are the same, pixel for pixel. */

/** The pixels of a picture's file, as they stand in it: {width, height, data} with four bytes a pixel. */
async function pixelsOf(blob) {
  const bitmap = await createImageBitmap(blob, { colorSpaceConversion: "none", premultiplyAlpha: "none" });
  const { width, height } = bitmap;
  const canvas = new OffscreenCanvas(width, height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** How far two pictures of one size are apart: `most` and `mean` of 255 over the colours, and the `share` of pixels that
    differ, in percent. `one` and `other`: four bytes a pixel. */
export function difference(one, other) {
  let [sum, most, count] = [0, 0, 0];
  for (let k = 0; k < one.length; k += 4) {
    let here = 0;
    for (let colour = 0; colour < 3; colour++) {
      const apart = Math.abs(one[k + colour] - other[k + colour]);
      sum += apart;
      if (apart > here) here = apart;
    }
    if (here > most) most = here;
    if (here) count++;
  }
  const pixels = one.length / 4;
  return { most, mean: sum / (3 * pixels), share: (100 * count) / pixels };
}

const short = (value) => (value > 0 && value < 0.01 ? "< 0.01" : String(Number(value.toFixed(2))));

/** Compares a file with the picture at an address. `state` of the answer: "same", "differs", "another_size" or
    "unread". */
export async function compareFiles(file, address) {
  try {
    const response = await fetch(address);
    if (!response.ok) return { state: "unread" };
    const [before, now] = await Promise.all([pixelsOf(file), response.blob().then(pixelsOf)]);
    const { width, height } = now;
    if (before.width !== width || before.height !== height)
      return { state: "another_size", width, height, file_width: before.width, file_height: before.height };
    const { most, mean, share } = difference(before.data, now.data);
    return most ? { state: "differs", most, mean: short(mean), share: short(share) } : { state: "same" };
  } catch {
    return { state: "unread" };
  }
}
