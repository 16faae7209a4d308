/* Latents to pixels: WebGL 2 shaders over float textures, and the same three pictures in plain code where a browser has
   no WebGL. Nothing here knows what a quantity is.

   All three draw into a 2D canvas of the caller's. Shaders draw every picture of a step by one call (Painter.together).
   picture(canvas, latents, [C, H, W], decoder, {stride, gain, hasBias})  the fast decoder; stride n takes every n-th pixel
   tiles(canvas, latents, [C, H, W], range)                              channels side by side, -range .. range
   heat(canvas, values, [H, W], high)                                    one number per cell, 0 .. high */

import { Plain } from "./plain.js";
import { Shaders } from "./shaders.js";

/** True where the CPU computes WebGL. The pictures are then read back to their canvases, which takes longer than plain
    code does. */
function isSoftware(gl) {
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = String(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
}

/** The stride at which a picture is as large as a place of so many CSS pixels, and no larger than it must be. */
export function strideFor([, H, W], { scale }, place) {
  let stride = 1;
  const least = place * devicePixelRatio;
  while (scale % (stride * 2) === 0 && (Math.min(H, W) * scale) / (stride * 2) >= least) stride *= 2;
  return stride;
}

/** Shaders where a GPU runs them and they suffice (up to four channels); plain code elsewhere and after a lost
    context. */
export class Painter {
  constructor() {
    this.plain = new Plain();
    try {
      this.shaders = new Shaders();
    } catch {
      this.shaders = null;
    }
    this.isPlain = !this.shaders || isSoftware(this.shaders.gl);
    this.isTogether = true; // false draws each picture by a call of its own
    this.depth = 0; // of together()
  }

  /** Draws all pictures that `act` asks for by one call, at its end. What reads one of them before that asks for
      finish(). */
  together(act) {
    this.depth++;
    try {
      return act();
    } finally {
      this.depth--;
      if (!this.depth) this.finish();
    }
  }

  /** Draws what waits for the end of together(). */
  finish() {
    this.shaders?.finish();
    if (!this.depth) this.plain.finish();
  }

  draw(channels, how) {
    const isPlain = this.isPlain || this.shaders.lost || channels > 4;
    how(isPlain ? this.plain : this.shaders);
    if (!this.depth || !this.isTogether) this.finish();
  }
  picture(canvas, latents, shape, decoder, options) {
    this.draw(shape[0], (by) => by.picture(canvas, latents, shape, decoder, options));
  }
  tiles(canvas, latents, shape, range) {
    this.draw(shape[0], (by) => by.tiles(canvas, latents, shape, Math.max(range, 1e-6)));
  }
  heat(canvas, values, shape, high) {
    this.draw(1, (by) => by.heat(canvas, values, shape, Math.max(high, 1e-9)));
  }
}
