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

const COARSE = 256; // pixels of the shorter side that plain code draws at most while the viewer moves

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
    this.isMoving = false; // in together(): whether the viewer moves
    this.wasCoarse = false; // whether a picture of the last together() has fewer pixels than it should
  }

  /** Draws all pictures that `act` asks for by one call, at its end. What reads one of them before that asks for
      finish(). `isMoving`: plain code draws large pictures that say `mayBeCoarse` with fewer pixels, so that a key is
      answered at once, and `wasCoarse` says to draw again at rest. */
  together(act, { isMoving = false } = {}) {
    if (!this.depth) [this.isMoving, this.wasCoarse] = [isMoving, false];
    this.depth++;
    try {
      return act();
    } finally {
      this.depth--;
      if (!this.depth) {
        this.isMoving = false;
        this.finish();
      }
    }
  }

  /** Draws what waits for the end of together(). */
  finish() {
    this.shaders?.finish();
    if (!this.depth) this.plain.finish();
  }

  drawsPlain(channels) {
    return this.isPlain || this.shaders.lost || channels > 4;
  }
  draw(channels, how) {
    const isPlain = this.drawsPlain(channels);
    how(isPlain ? this.plain : this.shaders);
    if (!this.depth || !this.isTogether) this.finish();
  }
  picture(canvas, latents, shape, decoder, { mayBeCoarse = false, ...options } = {}) {
    let { stride = 1 } = options;
    if (mayBeCoarse && this.isMoving && this.drawsPlain(shape[0])) {
      const side = Math.min(shape[1], shape[2]) * decoder.scale;
      while (side / stride > COARSE && decoder.scale % (stride * 2) === 0) stride *= 2;
      if (stride > (options.stride ?? 1)) this.wasCoarse = true;
    }
    this.draw(shape[0], (by) => by.picture(canvas, latents, shape, decoder, { ...options, stride }));
  }
  tiles(canvas, latents, shape, range) {
    this.draw(shape[0], (by) => by.tiles(canvas, latents, shape, Math.max(range, 1e-6)));
  }
  heat(canvas, values, shape, high) {
    this.draw(1, (by) => by.heat(canvas, values, shape, Math.max(high, 1e-9)));
  }
}
