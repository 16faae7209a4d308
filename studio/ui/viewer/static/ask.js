/* Questions of the panels to the studio that do not belong to a run (docs/viewer.md), and the picture they are
   about. */

import { readTensors } from "../../static/tensors.js";
import { svg } from "./chart.js";

/** The answer to a question: parsed JSON, or {tensors, run} of a safetensors file. Throws an error with a sentence
    to show. */
export async function ask(name, fields, file = null) {
  const answer = await fetch(`/ask/${name}?${new URLSearchParams(fields)}`, file ? { method: "POST", body: file } : {});
  if (!answer.ok) throw await refusalOf(answer);
  const json = (answer.headers.get("content-type") || "").includes("json");
  return json ? answer.json() : readTensors(await answer.arrayBuffer());
}

/** The error of an answer that is none: its sentence, and whether the same question may be answered `later`. */
export async function refusalOf(answer) {
  return Object.assign(new Error(await answer.text()), { later: answer.headers.has("retry-after") });
}

/** What act() resolves to. A question that the studio cannot answer yet, as while the model is loading, is asked again once
    a second, at most `times` times in all; `stays()` says whether anybody still waits. */
export async function askUntilLoaded(act, stays = () => true, times = 20) {
  for (let k = 1; ; k++) {
    try {
      return await act();
    } catch (failure) {
      if (!failure.later || k >= times || !stays()) throw failure;
      await new Promise((done) => setTimeout(done, 1000));
    }
  }
}

const architectures = new Map(); // checkpoint => a promise of its answer

/** The blocks of a checkpoint (the question `architecture`), which is asked once for the page. `stays()` says whether anybody
    still waits. */
export function architectureOf(checkpoint, stays) {
  if (!architectures.has(checkpoint)) {
    const answer = askUntilLoaded(() => ask("architecture", { checkpoint }), stays);
    answer.catch(() => architectures.delete(checkpoint));
    architectures.set(checkpoint, answer);
  }
  return architectures.get(checkpoint);
}

/** The newest answer wins: `latest(job)` runs an async job and returns undefined if a newer one has begun. */
export function latest() {
  let callCount = 0;
  return async (job) => {
    const ownTurn = ++callCount;
    const answer = await job();
    return ownTurn === callCount ? answer : undefined;
  };
}

/** The picture that all panels use: this run's, or one from disk. It is in `context.picture` as {key, fields, file,
    name}, or null while there is none. */
export function pictureSource(context) {
  const { h, say } = context;
  const ownFile = h("button", { class: "ls-pick", type: "button", onclick: () => choose(null) }, say("source.run"));
  const file = h("input", {
    type: "file",
    accept: "image/png,image/jpeg,image/webp,image/gif",
    class: "ls-file",
    onchange: () => file.files[0] && choose(file.files[0]),
  });
  const open = h("label", { class: "ls-pick" }, say("source.file"), file);
  const name = h("span", { class: "ls-note" });
  const element = h("div", { class: "ls-source", role: "group", "aria-label": say("source") }, ownFile, open, name);
  element.addEventListener("dragover", (event) => event.preventDefault());
  element.addEventListener("drop", (event) => {
    event.preventDefault();
    if (event.dataTransfer.files[0]) choose(event.dataTransfer.files[0]);
  });

  function choose(newFile) {
    context.file = newFile;
    file.value = "";
    context.draw();
  }
  return {
    element,
    draw() {
      const id = context.value().picture;
      const file = context.file;
      if (file)
        context.picture = {
          key: `${file.name} ${file.size} ${file.lastModified}`,
          fields: {},
          file,
          name: file.name,
        };
      else context.picture = id ? { key: id, fields: { picture: id }, file: null, name: "" } : null;
      ownFile.setAttribute("aria-pressed", String(!file && !!id));
      ownFile.disabled = !id;
      element.hidden = !!context.isReplay; // the answers in its file are about the run's picture alone
      open.classList.toggle("ls-chosen", !!file); // a label has no pressed state
      name.textContent = file ? file.name : id ? "" : say("source.none");
      return context.picture;
    },
  };
}

/** Standard normal numbers, the same for the same seed: mulberry32 and Box-Muller. */
export function gaussians(count, seed) {
  let state = seed >>> 0;
  const uniform = () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let t = Math.imul(state ^ (state >>> 15), 1 | state);
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t;
    return ((t ^ (t >>> 14)) >>> 0) / 4294967296;
  };
  const out = new Float32Array(count);
  for (let k = 0; k < count; k += 2) {
    const radius = Math.sqrt(-2 * Math.log(1 - uniform()));
    const angle = 2 * Math.PI * uniform();
    out[k] = radius * Math.cos(angle);
    if (k + 1 < count) out[k + 1] = radius * Math.sin(angle);
  }
  return out;
}

/** Draws bars of values from -span to span, and the standard normal as a line, into an SVG of 160 x 44. */
export function histogram(drawing, values, { bins = 41, span = 4 } = {}) {
  const bars = new Array(bins).fill(0);
  for (const value of values) bars[Math.min(bins - 1, Math.max(0, Math.floor(((value + span) / (2 * span)) * bins)))]++;
  const width = (2 * span) / bins;
  const density = (z) => Math.exp((-z * z) / 2) / Math.sqrt(2 * Math.PI);
  const peak = Math.max(0.5, ...bars.map((bar) => bar / values.length / width));
  const parts = bars.map((bar, k) => {
    const tall = (bar / values.length / width / peak) * 40;
    return svg("rect", { x: (k * 160) / bins, width: 160 / bins - 0.5, y: 44 - tall, height: tall, class: "ls-hist" });
  });
  const points = Array.from({ length: 81 }, (_, k) => [
    (k / 80) * 160,
    44 - (density(-span + (k / 80) * 2 * span) / peak) * 40,
  ]);
  parts.push(
    svg("polyline", {
      points: points.map((p) => p.map((n) => n.toFixed(1)).join(",")).join(" "),
      class: "ls-curve ls-normal",
    }),
  );
  drawing.replaceChildren(...parts);
}

/** RGB bytes (H, W, 3) into a canvas. */
export function drawBytes(canvas, bytes, [H, W]) {
  const image = new ImageData(W, H);
  for (let k = 0; k < H * W; k++) {
    for (let c = 0; c < 3; c++) image.data[k * 4 + c] = bytes[k * 3 + c];
    image.data[k * 4 + 3] = 255;
  }
  if (canvas.width !== W || canvas.height !== H) [canvas.width, canvas.height] = [W, H];
  canvas.getContext("2d").putImageData(image, 0, 0);
}
