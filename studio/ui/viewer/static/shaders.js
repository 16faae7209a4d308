/* Latents to pixels by WebGL 2: every picture of a step is a rectangle on one sheet, drawn by one call. Up to four
   channels. The three pictures are those of painter.js. */

import { columnsOf, RAMPS, resize } from "./colours.js";

// Every picture is a rectangle on one sheet. A rectangle has: its place there, in pixels from the top left; its first row
// in the texture of latents, and its cells; what it shows (0 the fast decoder, 1 and 2 a field by a row of the ramps) with
// the stride or the columns; and [gain, has a bias] or [low, high].
const VERTEX = `#version 300 es
precision highp float;
precision highp int;
layout(location = 0) in ivec4 place;
layout(location = 1) in ivec3 cells;
layout(location = 2) in ivec2 kind;
layout(location = 3) in vec2 amounts;
uniform ivec2 sheet;
flat out ivec4 place_;
flat out ivec3 cells_;
flat out ivec2 kind_;
flat out vec2 amounts_;
void main() {
  place_ = place;
  cells_ = cells;
  kind_ = kind;
  amounts_ = amounts;
  vec2 corner = vec2(gl_VertexID & 1, gl_VertexID >> 1);
  vec2 at = (vec2(place.xy) + corner * vec2(place.zw)) / vec2(sheet);
  gl_Position = vec4(at.x * 2.0 - 1.0, 1.0 - at.y * 2.0, 0.0, 1.0);
}`;

// gl_FragCoord counts from the bottom, pictures from the top.
const FRAGMENT = `#version 300 es
precision highp float;
precision highp int;
uniform sampler2D latents, weights, ramps;
uniform ivec2 sheet;
uniform int scale;
flat in ivec4 place_;
flat in ivec3 cells_;
flat in ivec2 kind_;
flat in vec2 amounts_;
out vec4 colour;
vec4 cell_at(ivec2 at) { return texelFetch(latents, at + ivec2(0, cells_.x), 0); }
vec4 decoded(ivec2 at, int stride, float gain, float hasBias) {
  ivec2 pixel = at * stride + stride / 2;
  ivec2 cell = pixel / scale, within = pixel - cell * scale;
  int patch_size = scale * scale, of = within.y * scale + within.x;
  vec4 near[9];
  for (int k = 0; k < 9; k++) near[k] = cell_at(clamp(cell + ivec2(k % 3 - 1, k / 3 - 1), ivec2(0), cells_.yz - 1));
  vec3 sum;
  for (int c = 0; c < 3; c++) {
    int row = c * patch_size + of;
    float total = texelFetch(weights, ivec2(9, row), 0).x * hasBias;
    for (int k = 0; k < 9; k++) total += gain * dot(texelFetch(weights, ivec2(k, row), 0), near[k]);
    sum[c] = total;
  }
  return vec4((sum + 1.0) * 0.5, 1.0);
}
vec4 field(ivec2 at, int columns, int row, float low, float high) {
  ivec2 tile = at / cells_.yz;
  float value = cell_at(at - tile * cells_.yz)[tile.y * columns + tile.x];
  float share = clamp((value - low) / (high - low), 0.0, 1.0);
  return texelFetch(ramps, ivec2(int(share * 255.0 + 0.5), row), 0);
}
void main() {
  ivec2 at = ivec2(int(gl_FragCoord.x), sheet.y - 1 - int(gl_FragCoord.y)) - place_.xy;
  colour = kind_.x == 0 ? decoded(at, kind_.y, amounts_.x, amounts_.y)
                        : field(at, kind_.y, kind_.x - 1, amounts_.x, amounts_.y);
}`;

const SHEET = 4096; // pixels a side of a sheet and of a texture at most

/** Shelves on a sheet of so many pixels a side: gives each [width, height] its [x, y]. Returns the places and the
    sheet's own size. */
function shelves(sizes, side) {
  let [x, y, high, wide] = [0, 0, 0, 0];
  const places = sizes.map(([width, height]) => {
    if (x && x + width > side) [x, y, high] = [0, y + high, 0];
    const place = [x, y];
    x += width;
    high = Math.max(high, height);
    wide = Math.max(wide, x);
    return place;
  });
  return { places, width: wide, height: y + high };
}

export class Shaders {
  /** Throws where there is no WebGL 2, or none outside of the page. */
  constructor() {
    this.canvas = new OffscreenCanvas(1, 1);
    const gl = this.canvas.getContext("webgl2", { alpha: false, antialias: false, depth: false });
    if (!gl) throw new Error("no WebGL 2");
    this.gl = gl;
    this.side = Math.min(SHEET, gl.getParameter(gl.MAX_TEXTURE_SIZE));
    this.program = this.link();
    this.latents = this.texture();
    this.weights = this.texture();
    this.loadedDecoder = null; // the decoder in the texture
    this.ramps = this.texture();
    const colours = [...RAMPS.signed, ...RAMPS.sequential];
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 2, 0, gl.RGBA, gl.UNSIGNED_BYTE, Uint8Array.from(colours));
    this.rectangles = gl.createBuffer();
    this.queue = []; // pictures that wait for the next pass
  }

  get lost() {
    return this.gl.isContextLost();
  }

  link() {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, FRAGMENT],
    ]) {
      const shader = gl.createShader(kind);
      gl.shaderSource(shader, source);
      gl.compileShader(shader);
      gl.attachShader(program, shader);
    }
    gl.linkProgram(program);
    if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error("the shaders do not link");
    return program;
  }

  texture() {
    const { gl } = this;
    const texture = gl.createTexture();
    gl.bindTexture(gl.TEXTURE_2D, texture);
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER])
      gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
    return texture;
  }

  /** Puts a picture into the queue: `size` in pixels; `kind` and `amounts` as above the shaders. Each decoder has a pass
      of its own, and so has what fits on no sheet with the others. */
  add(canvas, latents, shape, size, kind, amounts, decoder = null) {
    const all = [...this.queue.map((one) => one.size), size];
    const rows = this.queue.reduce((sum, one) => sum + one.shape[1], shape[1]);
    const other = this.queue.find((one) => one.decoder)?.decoder;
    const isFull = rows > this.side || shelves(all, this.side).height > this.side;
    if (this.queue.length && ((decoder && other && other !== decoder) || isFull)) this.finish();
    this.queue.push({ canvas, latents, shape, size, kind, amounts, decoder });
  }

  /** Draws all pictures of the queue by one call, and hands each to its canvas. */
  finish() {
    const { gl, queue } = this;
    if (!queue.length) return;
    this.queue = [];
    const sheet = shelves(
      queue.map((one) => one.size),
      this.side,
    );
    if (this.canvas.width < sheet.width || this.canvas.height < sheet.height) {
      this.canvas.width = Math.max(sheet.width, this.canvas.width);
      this.canvas.height = Math.max(sheet.height, this.canvas.height);
    }
    const decoder = queue.find((one) => one.decoder)?.decoder;
    if (decoder) this.load(decoder);
    gl.useProgram(this.program);
    const rows = this.upload(queue);
    this.place(
      queue.flatMap((one, k) => [...sheet.places[k], ...one.size, rows[k], one.shape[2], one.shape[1], ...one.kind]),
      queue.flatMap((one) => one.amounts),
    );
    const uniform = (name) => gl.getUniformLocation(this.program, name);
    [this.latents, this.weights, this.ramps].forEach((texture, k) => {
      gl.activeTexture(gl.TEXTURE0 + k);
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.uniform1i(uniform(["latents", "weights", "ramps"][k]), k);
    });
    gl.uniform2i(uniform("sheet"), this.canvas.width, this.canvas.height);
    gl.uniform1i(uniform("scale"), decoder?.scale ?? 1);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.drawArraysInstanced(gl.TRIANGLE_STRIP, 0, 4, queue.length);
    // The sheet is handed over whole: it stays with the GPU, and where there is none it is read back once.
    const bitmap = this.canvas.transferToImageBitmap();
    queue.forEach(({ canvas, size: [width, height] }, k) => {
      const [x, y] = sheet.places[k];
      resize(canvas, width, height).drawImage(bitmap, x, y, width, height, 0, 0, width, height);
    });
    bitmap.close();
  }

  /** The rectangles: nine whole numbers of each, then two others of each. */
  place(whole, amounts) {
    const { gl } = this;
    const many = amounts.length / 2;
    gl.bindBuffer(gl.ARRAY_BUFFER, this.rectangles);
    gl.bufferData(gl.ARRAY_BUFFER, many * 44, gl.STREAM_DRAW);
    gl.bufferSubData(gl.ARRAY_BUFFER, 0, Int32Array.from(whole));
    gl.bufferSubData(gl.ARRAY_BUFFER, many * 36, Float32Array.from(amounts));
    [4, 3, 2].reduce((from, size, at) => {
      gl.vertexAttribIPointer(at, size, gl.INT, 36, from);
      return from + size * 4;
    }, 0);
    gl.vertexAttribPointer(3, 2, gl.FLOAT, false, 8, many * 36);
    for (let at = 0; at < 4; at++) {
      gl.enableVertexAttribArray(at);
      gl.vertexAttribDivisor(at, 1);
    }
  }

  /** Every (C, H, W) of the queue, one below another, in one texture with a channel in each of r, g, b, a. The same array
      is there once. Returns the first row of each. */
  upload(queue) {
    const { gl } = this;
    const wide = Math.max(...queue.map(({ shape }) => shape[2]));
    const starts = new Map();
    let high = 0;
    for (const { latents, shape } of queue) {
      if (starts.has(latents)) continue;
      starts.set(latents, high);
      high += shape[1];
    }
    const cellValues = new Float32Array(wide * high * 4);
    const done = new Set();
    for (const {
      latents,
      shape: [C, H, W],
    } of queue) {
      if (done.has(latents)) continue;
      done.add(latents);
      for (let c = 0, from = 0; c < C; c++)
        for (let y = 0; y < H; y++)
          for (let x = 0, to = (starts.get(latents) + y) * wide * 4 + c; x < W; x++, to += 4)
            cellValues[to] = latents[from++];
    }
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.latents);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, wide, high, 0, gl.RGBA, gl.FLOAT, cellValues);
    return queue.map(({ latents }) => starts.get(latents));
  }

  /** Puts a decoder into its texture, unless it is there. */
  load(decoder) {
    const { gl } = this;
    if (this.loadedDecoder === decoder) return;
    const rows = decoder.bias.length;
    const C = decoder.weight.length / rows / 9;
    const cellValues = new Float32Array(rows * 10 * 4);
    for (let row = 0; row < rows; row++) {
      for (let c = 0; c < C; c++)
        for (let k = 0; k < 9; k++) cellValues[(row * 10 + k) * 4 + c] = decoder.weight[(row * C + c) * 9 + k];
      cellValues[(row * 10 + 9) * 4] = decoder.bias[row];
    }
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, this.weights);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, 10, rows, 0, gl.RGBA, gl.FLOAT, cellValues);
    this.loadedDecoder = decoder;
  }

  picture(canvas, latents, shape, decoder, { stride = 1, gain = 1, hasBias = true } = {}) {
    const size = [(shape[2] * decoder.scale) / stride, (shape[1] * decoder.scale) / stride];
    this.add(canvas, latents, shape, size, [0, stride], [gain, hasBias ? 1 : 0], decoder);
  }

  tiles(canvas, latents, shape, range) {
    const columns = columnsOf(shape[0]);
    const size = [shape[2] * columns, shape[1] * Math.ceil(shape[0] / columns)];
    this.add(canvas, latents, shape, size, [1, columns], [-range, range]);
  }

  heat(canvas, values, [H, W], high) {
    this.add(canvas, values, [1, H, W], [W, H], [2, 1], [0, high]);
  }
}
