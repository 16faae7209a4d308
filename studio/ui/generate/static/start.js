/* What strength means: the noised picture that the U-Net starts from, while the slider moves. The latents and one fixed
   noise are fetched once for a picture and its settings; noising and the fast decoder run here. When the slider rests the
   VAE's own picture of the same latents takes its place. */

import { fill, h, isVisible } from "../../static/elements.js";
import { decoderOf } from "../../static/tensors.js";
import { ask, latest } from "../../viewer/static/ask.js";
import { alphaBar, stepsRun } from "../../viewer/static/levels.js";
import { Painter } from "../../viewer/static/painter.js";

export function start({ element, props, watch }) {
  const word = (key, values) => fill(props.words[key], values);
  const SETTLED = 300; // ms before a changed setting is asked about
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
  let here = null; // {latents, noise, shape, decoder, levels, width, height}
  let asked = ""; // what `here` is, or will be, the answer to
  let file = null; // the picture, as {src, blob}
  let waiting = null;
  let strength = null;

  const picture = () => document.querySelector(`#${props.tab}-image img`);
  const settings = () => props.value || {};
  const fields = () => {
    const { checkpoint, scheduler, noise_schedule, num_inference_steps, width, height, resize_mode, seed } = settings();
    const out = { checkpoint, scheduler, noise_schedule, num_inference_steps, resize_mode };
    if (/^\d+$/.test(seed || "")) out.seed = seed; // a random one: the noise of seed 0 stands for it
    if (width) out.width = width;
    if (height) out.height = height;
    return out;
  };
  const strengthNow = () => (strength === null ? settings().strength : strength);

  function changed() {
    const source = picture() ? picture().src : "";
    figure.hidden = !source;
    if (!source) {
      here = file = null;
      asked = "";
      return;
    }
    const wanted = JSON.stringify([source, fields()]);
    if (wanted !== asked) {
      asked = wanted;
      clearTimeout(waiting);
      waiting = setTimeout(() => fetchStart(source), SETTLED);
    } else draw();
  }

  async function fetchStart(source) {
    if (!settings().checkpoint || !isVisible(figure)) {
      asked = ""; // asked again when the tab is in sight
      return;
    }
    try {
      if (!file || file.src !== source) file = { src: source, blob: await (await fetch(source)).blob() };
      const answer = await newest(() => ask("start", fields(), file.blob));
      if (!answer) return;
      const { tensors, run } = answer;
      here = {
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
      here = null;
      meaning.textContent = "";
      note.textContent = failure.message || word("failed");
      figure.classList.add("ls-failed");
    }
  }

  function draw() {
    if (!here) return;
    const run = stepsRun(here.levels.length - 1, strengthNow());
    const [a, s] = here.levels[run];
    const mixed = new Float32Array(here.latents.length);
    for (let k = 0; k < mixed.length; k++) mixed[k] = a * here.latents[k] + s * here.noise[k];
    painter = painter || new Painter();
    if (here.decoder) painter.picture(canvas, mixed, here.shape, here.decoder);
    else painter.tiles(canvas, mixed, here.shape, 3);
    exact.hidden = true;
    figure.style.setProperty("--ratio", here.width / here.height);
    figure.dataset.steps = String(run);
    meaning.textContent = run
      ? word("meaning", {
          run,
          steps: here.levels.length - 1,
          noise: Math.round((1 - alphaBar({ a, s })) * 100),
          width: here.width,
          height: here.height,
        })
      : word("none", { width: here.width, height: here.height });
    figure.dataset.how = "fast";
  }

  /** The VAE's picture of these latents, once the slider rests. */
  async function settle() {
    if (!here || !file) return;
    const mine = asked;
    const at = strengthNow();
    try {
      const answer = await newestExact(() =>
        fetch(`/ask/decoded-start?${new URLSearchParams({ ...fields(), strength: at })}`, {
          method: "POST",
          body: file.blob,
        }),
      );
      if (!answer?.ok || asked !== mine || strengthNow() !== at) return;
      const url = URL.createObjectURL(await answer.blob());
      exact.onload = () => URL.revokeObjectURL(url);
      exact.src = url;
      await exact.decode();
      if (asked !== mine || strengthNow() !== at) return;
      exact.hidden = false;
      figure.dataset.how = "vae";
    } catch {
      return; // the fast picture stands
    }
  }

  document.addEventListener("input", (event) => {
    if (!event.target.closest?.(`#${props.tab}-strength`)) return;
    const typed = Number(event.target.value);
    if (!(typed >= 0 && typed <= 1)) return;
    strength = typed;
    draw();
  });
  document.addEventListener("change", (event) => {
    if (event.target.closest?.(`#${props.tab}-strength`)) settle();
  });
  const block = document.getElementById(`${props.tab}-image`);
  if (block)
    new MutationObserver(changed).observe(block, {
      subtree: true,
      childList: true,
      attributes: true,
      attributeFilter: ["src"],
    });
  new IntersectionObserver((entries) => entries.some((entry) => entry.isIntersecting) && changed()).observe(element);
  watch("value", () => {
    const before = strength;
    strength = null;
    changed();
    if (before !== strengthNow()) settle(); // a landmark was clicked, or settings came back
  });
  changed();
}
