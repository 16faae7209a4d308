/* Latents to pixels: WebGL 2 shaders over float textures, and the same three pictures in plain code where a browser has
   no WebGL. Nothing here knows what a quantity is.

   All three draw into a 2D canvas of the caller's:
   picture(canvas, latents, [C, H, W], decoder, {stride, gain, hasBias})  the fast decoder; stride n takes every n-th pixel
   tiles(canvas, latents, [C, H, W], range)                              channels side by side, -range .. range
   heat(canvas, values, [H, W], high)                                    one number per cell, 0 .. high */
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

export const columnsOf = (channels) => Math.min(2, channels);

function resize(canvas, width, height) {
  if (canvas.width !== width || canvas.height !== height) [canvas.width, canvas.height] = [width, height];
  return canvas.getContext("2d");
}

/* ---------------------------------------------------------------------------------------------------- shaders */

const VERTEX = `#version 300 es
void main() { gl_Position = vec4(vec2(gl_VertexID & 1, gl_VertexID >> 1) * 4.0 - 1.0, 0.0, 1.0); }`;

// gl_FragCoord counts from the bottom, pictures from the top.
const DECODE = `#version 300 es
precision highp float;
precision highp int;
uniform sampler2D latents, weights;
uniform ivec2 size;
uniform int scale, stride, height;
uniform float gain, hasBias;
out vec4 colour;
void main() {
  ivec2 out_at = ivec2(int(gl_FragCoord.x), height - 1 - int(gl_FragCoord.y));
  ivec2 pixel = out_at * stride + stride / 2;
  ivec2 cell = pixel / scale, within = pixel - cell * scale;
  int patch_size = scale * scale, at = within.y * scale + within.x;
  vec4 near[9];
  for (int k = 0; k < 9; k++) near[k] = texelFetch(latents, clamp(cell + ivec2(k % 3 - 1, k / 3 - 1), ivec2(0), size - 1), 0);
  vec3 sum;
  for (int c = 0; c < 3; c++) {
    int row = c * patch_size + at;
    float total = texelFetch(weights, ivec2(9, row), 0).x * hasBias;
    for (int k = 0; k < 9; k++) total += gain * dot(texelFetch(weights, ivec2(k, row), 0), near[k]);
    sum[c] = total;
  }
  colour = vec4((sum + 1.0) * 0.5, 1.0);
}`;

const FIELD = `#version 300 es
precision highp float;
precision highp int;
uniform sampler2D latents, colours;
uniform ivec2 size;
uniform int columns, height;
uniform float low, high;
out vec4 colour;
void main() {
  ivec2 at = ivec2(int(gl_FragCoord.x), height - 1 - int(gl_FragCoord.y));
  ivec2 tile = at / size;
  float value = texelFetch(latents, at - tile * size, 0)[tile.y * columns + tile.x];
  float share = clamp((value - low) / (high - low), 0.0, 1.0);
  colour = texelFetch(colours, ivec2(int(share * 255.0 + 0.5), 0), 0);
}`;

class Shaders {
  /** Throws where there is no WebGL 2. */
  constructor() {
    this.canvas = document.createElement("canvas");
    const gl = this.canvas.getContext("webgl2", {
      alpha: false,
      antialias: false,
      depth: false,
      preserveDrawingBuffer: true,
    });
    if (!gl) throw new Error("no WebGL 2");
    this.gl = gl;
    this.decode = this.program(DECODE);
    this.field = this.program(FIELD);
    this.latents = this.texture();
    this.weights = this.texture();
    this.loadedDecoder = null; // the decoder in the texture
    this.ramps = Object.fromEntries(
      Object.entries(RAMPS).map(([name, bytes]) => {
        const texture = this.texture();
        gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA8, 256, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, bytes);
        return [name, texture];
      }),
    );
    this.lost = false;
    this.canvas.addEventListener("webglcontextlost", () => {
      this.lost = true;
    });
  }

  program(fragment) {
    const { gl } = this;
    const program = gl.createProgram();
    for (const [kind, source] of [
      [gl.VERTEX_SHADER, VERTEX],
      [gl.FRAGMENT_SHADER, fragment],
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

  /** (C, H, W) => a texture with a channel in each of r, g, b, a. */
  upload(latents, [C, H, W]) {
    const { gl } = this;
    const cells = H * W;
    const cellValues = new Float32Array(cells * 4);
    for (let c = 0; c < C; c++) for (let k = 0; k < cells; k++) cellValues[k * 4 + c] = latents[c * cells + k];
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, this.latents);
    gl.texImage2D(gl.TEXTURE_2D, 0, gl.RGBA32F, W, H, 0, gl.RGBA, gl.FLOAT, cellValues);
  }

  run(canvas, width, height, program, second, uniforms) {
    const { gl } = this;
    if (this.canvas.width < width || this.canvas.height < height) {
      this.canvas.width = Math.max(width, this.canvas.width);
      this.canvas.height = Math.max(height, this.canvas.height);
    }
    gl.viewport(0, 0, width, height);
    gl.useProgram(program);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, second);
    const place = (name) => gl.getUniformLocation(program, name);
    gl.uniform1i(place("latents"), 0);
    gl.uniform1i(place("height"), height);
    for (const [name, [kind, ...values]] of Object.entries(uniforms)) gl[`uniform${kind}`](place(name), ...values);
    gl.drawArrays(gl.TRIANGLES, 0, 3);
    resize(canvas, width, height).drawImage(
      this.canvas,
      0,
      this.canvas.height - height,
      width,
      height,
      0,
      0,
      width,
      height,
    );
  }

  picture(canvas, latents, [C, H, W], decoder, { stride = 1, gain = 1, hasBias = true } = {}) {
    const { gl } = this;
    if (this.loadedDecoder !== decoder) {
      const rows = decoder.bias.length;
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
    this.upload(latents, [C, H, W]);
    this.run(canvas, (W * decoder.scale) / stride, (H * decoder.scale) / stride, this.decode, this.weights, {
      weights: ["1i", 1],
      size: ["2i", W, H],
      scale: ["1i", decoder.scale],
      stride: ["1i", stride],
      gain: ["1f", gain],
      hasBias: ["1f", hasBias ? 1 : 0],
    });
  }

  field_(canvas, values, shape, columns, low, high, colours) {
    const [C, H, W] = shape;
    this.upload(values, shape);
    this.run(canvas, W * columns, H * Math.ceil(C / columns), this.field, this.ramps[colours], {
      colours: ["1i", 1],
      size: ["2i", W, H],
      columns: ["1i", columns],
      low: ["1f", low],
      high: ["1f", high],
    });
  }

  tiles(canvas, latents, shape, range) {
    this.field_(canvas, latents, shape, columnsOf(shape[0]), -range, range, "signed");
  }

  heat(canvas, values, shape, high) {
    this.field_(canvas, values, [1, ...shape], 1, 0, high, "sequential");
  }
}

/* -------------------------------------------------------------------------------------------------- plain code */

class Plain {
  picture(canvas, latents, [C, H, W], { weight, bias, scale }, { stride = 1, gain = 1, hasBias = true } = {}) {
    const out = new ImageData((W * scale) / stride, (H * scale) / stride);
    const near = new Float32Array(C * 9);
    let cell = -1;
    for (let y = 0, p = 0; y < out.height; y++) {
      for (let x = 0; x < out.width; x++, p += 4) {
        const [px, py] = [x * stride + (stride >> 1), y * stride + (stride >> 1)];
        const [cx, cy] = [Math.floor(px / scale), Math.floor(py / scale)];
        if (cell !== cy * W + cx) {
          cell = cy * W + cx;
          for (let c = 0, n = 0; c < C; c++) {
            for (let k = 0; k < 9; k++) {
              const row = Math.min(H - 1, Math.max(0, cy + Math.floor(k / 3) - 1));
              near[n++] = latents[(c * H + row) * W + Math.min(W - 1, Math.max(0, cx + (k % 3) - 1))];
            }
          }
        }
        for (let c = 0; c < 3; c++) {
          const o = c * scale * scale + (py % scale) * scale + (px % scale);
          let sum = 0;
          for (let n = 0, w = o * C * 9; n < C * 9; n++, w++) sum += weight[w] * near[n];
          out.data[p + c] = (sum * gain + (hasBias ? bias[o] : 0) + 1) * 127.5;
        }
        out.data[p + 3] = 255;
      }
    }
    resize(canvas, out.width, out.height).putImageData(out, 0, 0);
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

/** True where the CPU computes WebGL. Every picture is then read back to its canvas, which takes longer than plain code
    does. */
function isSoftware(gl) {
  const names = gl.getExtension("WEBGL_debug_renderer_info");
  const renderer = String(gl.getParameter(names ? names.UNMASKED_RENDERER_WEBGL : gl.RENDERER));
  return /swiftshader|llvmpipe|softpipe|software|basic render/i.test(renderer);
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
  }

  with(channels) {
    return !this.isPlain && !this.shaders.lost && channels <= 4 ? this.shaders : this.plain;
  }
  picture(canvas, latents, shape, decoder, options) {
    this.with(shape[0]).picture(canvas, latents, shape, decoder, options);
  }
  tiles(canvas, latents, shape, range) {
    this.with(shape[0]).tiles(canvas, latents, shape, Math.max(range, 1e-6));
  }
  heat(canvas, values, shape, high) {
    this.with(1).heat(canvas, values, shape, Math.max(high, 1e-9));
  }
}
