/* What strength means: the noised picture that the U-Net starts from, drawn while the slider moves. The latents and
   one fixed noise are fetched once for a picture and its settings. Noising and the fast decoder run here. When the
   slider stands still, the VAE's picture of the same latents replaces the fast one. */

import { fill, h, isVisible } from "../../static/elements.js";
import { decoderOf } from "../../static/tensors.js";
import { ask, latest } from "../../viewer/static/ask.js";
import { alphaBar, stepsRun } from "../../viewer/static/levels.js";
import { Painter } from "../../viewer/static/painter.js";

export function start({ element, props, watch }) {
  const word = (key, values) => fill(props.words[key], values);
  const PAUSE = 300; // ms after a change before the studio is asked
  const canvas = h("canvas", { role: "img", "aria-label": word("label") });
  const exact = h("img", { class: "ls-start-exact", alt: "", hidden: true });
  const title = h("strong", {}, word("label"));
  const meaning = h("span", {});
  const note = h("small", { role: "status" });
  const figure = h(
    "figure",
    { class: "ls-start-view", hidden: true },
    h("div", { class: "ls-start-frame" }, canvas, exact),
    h("figcaption", {}, title, meaning, note),
  );
  element.replaceChildren(figure);

  const newest = latest();
  const newestExact = latest();
  let painter = null;
  let startData = null; // {latents, noise, shape, decoder, levels, width, height}
  let query = ""; // the question that `startData` answers, or will answer
  let file = null; // the picture, as {src, blob}
  let timer = null;
  let strength = null;

  const picture = () => document.querySelector(`#${props.tab}-image img`);
  const settings = () => props.value || {};
  const fields = () => {
    const { checkpoint, scheduler, noise_schedule, num_inference_steps, width, height, resize_mode, seed } = settings();
    const out = { checkpoint, scheduler, noise_schedule, num_inference_steps, resize_mode };
    if (/^\d+$/.test(seed || "")) out.seed = seed; // a random seed is shown with the noise of seed 0
    if (width) out.width = width;
    if (height) out.height = height;
    return out;
  };
  const strengthNow = () => (strength === null ? settings().strength : strength);

  function update() {
    const source = picture() ? picture().src : "";
    figure.hidden = !source;
    if (!source) {
      startData = file = null;
      query = "";
      return;
    }
    const nextQuery = JSON.stringify([source, fields()]);
    if (nextQuery !== query) {
      query = nextQuery;
      clearTimeout(timer);
      timer = setTimeout(() => fetchStart(source), PAUSE);
    } else draw();
  }

  async function fetchStart(source) {
    if (!settings().checkpoint || !isVisible(figure)) {
      query = ""; // the studio is asked when the tab is in sight
      return;
    }
    try {
      if (!file || file.src !== source) file = { src: source, blob: await (await fetch(source)).blob() };
      const answer = await newest(() => ask("start", fields(), file.blob));
      if (!answer) return;
      const { tensors, run } = answer;
      startData = {
        latents: tensors.latents.values,
        noise: tensors.noise.values,
        shape: tensors.latents.shape,
        decoder: decoderOf(tensors),
        ...run,
      };
      note.textContent = "";
      figure.classList.remove("ls-failed");
      draw();
      settle();
    } catch (failure) {
      startData = null;
      meaning.textContent = "";
      note.textContent = failure.message || word("failed");
      figure.classList.add("ls-failed");
    }
  }

  function draw() {
    if (!startData) return;
    const run = stepsRun(startData.levels.length - 1, strengthNow());
    const [a, s] = startData.levels[run];
    const noisy = new Float32Array(startData.latents.length);
    for (let k = 0; k < noisy.length; k++) noisy[k] = a * startData.latents[k] + s * startData.noise[k];
    painter = painter || new Painter();
    if (startData.decoder) painter.picture(canvas, noisy, startData.shape, startData.decoder);
    else painter.tiles(canvas, noisy, startData.shape, 3);
    exact.hidden = true;
    figure.style.setProperty("--ratio", startData.width / startData.height);
    figure.dataset.steps = String(run);
    meaning.textContent = run
      ? word("meaning", {
          run,
          steps: startData.levels.length - 1,
          noise: Math.round((1 - alphaBar({ a, s })) * 100),
          width: startData.width,
          height: startData.height,
        })
      : word("none", { width: startData.width, height: startData.height });
    figure.dataset.how = "fast";
  }

  /** Fetches the VAE's picture of these latents, when the slider stands still. */
  async function settle() {
    if (!startData || !file) return;
    const queryBefore = query;
    const at = strengthNow();
    try {
      const answer = await newestExact(() =>
        fetch(`/ask/decoded-start?${new URLSearchParams({ ...fields(), strength: at })}`, {
          method: "POST",
          body: file.blob,
        }),
      );
      if (!answer?.ok || query !== queryBefore || strengthNow() !== at) return;
      const url = URL.createObjectURL(await answer.blob());
      exact.onload = () => URL.revokeObjectURL(url);
      exact.src = url;
      await exact.decode();
      if (query !== queryBefore || strengthNow() !== at) return;
      exact.hidden = false;
      figure.dataset.how = "vae";
    } catch {
      return; // the fast picture stays
    }
  }

  document.addEventListener("input", (event) => {
    if (!event.target.closest?.(`#${props.tab}-strength`)) return;
    const value = Number(event.target.value);
    if (!(value >= 0 && value <= 1)) return;
    strength = value;
    draw();
  });
  document.addEventListener("change", (event) => {
    if (event.target.closest?.(`#${props.tab}-strength`)) settle();
  });
  const block = document.getElementById(`${props.tab}-image`);
  if (block)
    new MutationObserver(update).observe(block, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ["src"],
    });
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && update()).observe(element);
  watch("value", () => {
    const before = strength;
    strength = null;
    update();
    if (before !== strengthNow()) settle(); // a landmark was clicked, or settings were restored
  });
  update();
}
