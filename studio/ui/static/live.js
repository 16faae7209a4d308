/* Live mode of Text to image: letting go of a slider makes the picture again. One wish at a time is on its way to the
   studio, and the newest of those that came meanwhile follows it, so they cannot overtake each other. The run before is
   out of date as soon as the slider moves: it is stopped then, so that the machine is free when the slider is let go. */
"use strict";

(() => {
  const TAB = "text_to_image";
  const NO_ANSWER = 5000; // ms after which the next wish no longer waits for the one before
  let waiting = null; // the job that was shown when the wish on its way was sent
  let again = false;
  let timer = null;
  const moved = new Map(); // field => value of the sliders let go of since the last wish was sent
  let edited = false; // something else than a slider was touched since the shown run began
  let owed = false; // the run was stopped because a slider moved, and nothing was wished for since

  const desk = () => document.getElementById(`${TAB}-desk`);
  const isLive = () => !!document.querySelector(`#${TAB}-live input[type=checkbox]:checked`);

  function wish() {
    owed = false;
    if (waiting !== null) {
      again = true;
      return;
    }
    waiting = desk().dataset.job || "";
    again = false;
    clearTimeout(timer);
    timer = setTimeout(answered, NO_ANSWER);
    // What moved is told at once, past Gradio's queue, so that the run begins while the form is on its way; the form
    // finds it, or replaces it when something else was changed too.
    if (waiting && moved.size && !edited) fetch(`/again/${encodeURIComponent(waiting)}?${new URLSearchParams([...moved])}`, { method: "POST" }).catch(() => {});
    moved.clear();
    // Gradio's sliders tell their value on input; a frame later the click carries it.
    requestAnimationFrame(() => document.getElementById(`${TAB}-live-go`).click());
  }
  function answered() {
    clearTimeout(timer);
    waiting = null;
    if (again) wish();
  }

  document.addEventListener("input", (event) => {
    const { job, run } = desk() ? desk().dataset : {};
    if (!event.isTrusted || !event.target.matches("input[type=range]") || !event.target.closest(`#${TAB}-desk`)) return;
    if (!isLive() || owed || run !== "running" || !job || waiting !== null) return;
    owed = true;
    desk().dispatchEvent(new CustomEvent("ls-leave", { detail: job }));
    fetch(`/stop/${encodeURIComponent(job)}`, { method: "POST" }).catch(() => {}); // the wish stops it as well
  });
  for (const kind of ["input", "click"]) {
    document.addEventListener(kind, ({ target }) => {
      if (target instanceof Element && target.closest(`#${TAB}-desk .ls-controls`) && !target.closest(".ls-slider")) edited = true;
    });
  }
  // A slider that came back to where it was tells no change, but its run is gone.
  document.addEventListener("pointerup", () => setTimeout(() => owed && isLive() && wish(), 60));
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (!field.matches("input[type=range], .ls-slider input[type=number]") || !field.closest(`#${TAB}-desk`)) return;
    if (!isLive()) return;
    window.LatentStudio.letGo = performance.now(); // for the benchmark
    const slider = field.closest(".ls-slider");
    if (slider) moved.set(slider.id.slice(TAB.length + 1), field.value);
    wish();
  });
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      if (target.id !== `${TAB}-desk`) continue;
      edited = false;
      if (waiting !== null && target.dataset.job && target.dataset.job !== waiting) answered();
    }
  }).observe(document.documentElement, { subtree: true, attributes: true, attributeFilter: ["data-job"] });
})();
