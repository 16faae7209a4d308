/* Live mode of Text to image: letting go of a slider makes the picture again. One wish at a time is on its way to the
   studio, and the newest of those that came meanwhile follows it, so they cannot overtake each other. The run before is
   out of date as soon as the slider moves: it is stopped then, so that the machine is free when the slider is let go.

   Gradio takes some 80 ms of the browser's time to send the form, and on two cores the U-Net's as well. So what moved is
   told in a request of its own, which answers with the new run's first frame; the form is sent when that is drawn, or
   after a moment without. The form has the last word: it finds this very run, or replaces it. */

export function liveMode() {
  const TAB = "text_to_image";
  const FORM_WAITS = 250; // ms for the first frame; a slower model does not notice
  const NO_ANSWER = 5000; // ms after which the next wish no longer waits for the one before
  let waiting = null; // the job that was shown when the wish on its way was sent
  let again = false;
  let timer = null;
  let wishes = 0;
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
    const number = ++wishes;
    // Gradio's sliders tell their value on input; a frame later the click carries it. A newer wish sends its own form.
    const send = () =>
      requestAnimationFrame(() => number === wishes && document.getElementById(`${TAB}-live-go`).click());
    const told =
      waiting && moved.size && !edited
        ? `/again/${encodeURIComponent(waiting)}?${new URLSearchParams([...moved])}`
        : "";
    moved.clear();
    if (told) firstFrame(told, number, send);
    else send();
  }
  async function firstFrame(address, number, send) {
    let sent = false;
    const once = () => sent || ((sent = true), send());
    setTimeout(once, FORM_WAITS);
    const view = await fetch(address, { method: "POST" })
      .then((answer) => (answer.status === 200 ? answer.json() : null))
      .catch(() => null);
    if (view && number === wishes) desk().dispatchEvent(new CustomEvent("ls-view", { detail: view }));
    requestAnimationFrame(() => setTimeout(once)); // when the frame is on the screen
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
      if (target instanceof Element && target.closest(`#${TAB}-desk .ls-controls`) && !target.closest(".ls-slider"))
        edited = true;
    });
  }
  // A slider that came back to where it was tells no change, but its run is gone.
  document.addEventListener("pointerup", () => setTimeout(() => owed && isLive() && wish(), 60));
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (!field.matches("input[type=range], .ls-slider input[type=number]") || !field.closest(`#${TAB}-desk`)) return;
    if (!isLive()) return;
    performance.mark("ls-let-go"); // for the benchmark
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
}
