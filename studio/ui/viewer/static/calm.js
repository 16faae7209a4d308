/* How strongly noise is drawn. The decoder expects a picture; of noise it makes colours far outside of the screen's, which
   would be cut off. So noise is drawn with less contrast, unless a visitor wants it as the decoder makes it. */

import { quantities } from "./quantities.js";

const NOISE = 0.3; // the contrast of pure noise

/** The contrast of x_t at a level: 1 where it is all picture, NOISE where it is all noise. */
export const gainOfLevel = ({ a, s }) => (a * a + NOISE * s * s) / (a * a + s * s);

export const isNoise = (quantity) => quantities[quantity]?.colour === "noise";

/** The contrast with which a quantity of an evaluation is drawn. */
export function gainOf(quantity, evaluation) {
  if (isNoise(quantity)) return NOISE;
  return quantity === "x_t" ? gainOfLevel(evaluation) : 1;
}
