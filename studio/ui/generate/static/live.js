/* Live mode of a tab: the picture is made again whenever a slider is released, at each pause in typing, and after each
   stroke on a canvas (live_canvas.js, paint_map.js). One request at a time is on its way to the studio. The newest of those that came meanwhile follows it, so requests cannot
   overtake each other, and the last is never lost. The earlier run is out of date when the slider moves: it is stopped
   then, so that the device is free at the release.

   Gradio takes some 80 ms of the browser's time to send the form, and on two cores this delays the U-Net too. So the
   moved sliders go in a request of their own, which answers with the new run's first frame. The form is sent when
   that frame is drawn, or after FORM_WAITS ms. The form decides: it finds this very run, or replaces it. */

export function liveMode(TAB) {
  const IS_REPEATED = TAB === "text_to_image"; // whether a run can be begun again without its form
  const FORM_WAITS = 250; // ms to wait for the first frame before the form is sent
  const TYPING_PAUSE = 150; // ms without a key after which the picture is made
  const CLICK_SHOWS = 1500; // ms within which a click on a chip or a seed's button has changed a text
  const NO_ANSWER = 5000; // ms after which the next request no longer waits for this one
  let jobBefore = null; // the job on the stage when the present request was sent
  let hasNext = false;
  let timer = null;
  let requestCount = 0;
  let pause = null; // the timer of the pause in typing
  let textsBefore = null; // the texts when the field was entered, or when a request was last made of them
  const sliderValues = new Map(); // field => value of the sliders that were released since the last request
  let hasOtherEdits = false; // something other than a slider was changed since this run began
  let needsRun = false; // the run was stopped because a slider moved, and no new one was requested yet

  const workspace = () => document.getElementById(`${TAB}-workspace`);
  const TYPED = ["prompt", "negative_prompt", "seed"].map((n) => `#${TAB}-${n} :is(textarea, input)`).join();
  const texts = () => [...document.querySelectorAll(TYPED)].map((field) => field.value).join("\0");
  const isTyped = (target) => target instanceof Element && target.matches(TYPED);
  const isLive = () => !!document.querySelector(`#${TAB}-live input[type=checkbox]:checked`);

  function requestRun() {
    needsRun = false;
    if (jobBefore !== null) {
      hasNext = true;
      return;
    }
    jobBefore = workspace().dataset.job || "";
    workspace().dataset.asking = "true";
    hasNext = false;
    clearTimeout(timer);
    timer = setTimeout(endRequest, NO_ANSWER);
    const number = ++requestCount;
    // Gradio's sliders report their value on input; one frame later the click sends it. A newer request sends its own
    // form.
    const send = () =>
      requestAnimationFrame(() => number === requestCount && document.getElementById(`${TAB}-live-go`).click());
    const address =
      IS_REPEATED && jobBefore && sliderValues.size && !hasOtherEdits
        ? `/again/${encodeURIComponent(jobBefore)}?${new URLSearchParams([...sliderValues])}`
        : "";
    sliderValues.clear();
    if (address) firstFrame(address, number, send);
    else send();
  }
  async function firstFrame(address, number, send) {
    let isSent = false;
    const once = () => isSent || ((isSent = true), send());
    setTimeout(once, FORM_WAITS);
    const view = await fetch(address, { method: "POST" })
      .then((answer) => (answer.status === 200 ? answer.json() : null))
      .catch(() => null);
    if (view && number === requestCount) workspace().dispatchEvent(new CustomEvent("ls-view", { detail: view }));
    requestAnimationFrame(() => setTimeout(once)); // when the frame is on the screen
  }
  function endRequest() {
    clearTimeout(timer);
    jobBefore = null;
    delete workspace().dataset.asking;
    if (hasNext) requestRun();
  }

  function waitForPause() {
    clearTimeout(pause);
    if (isLive()) pause = setTimeout(typed, TYPING_PAUSE);
  }
  function typed() {
    if (!isLive() || texts() === textsBefore) return;
    textsBefore = texts();
    hasOtherEdits = true;
    performance.mark("ls-typed"); // for the benchmark
    requestRun();
  }
  document.addEventListener("focusin", ({ target }) => isTyped(target) && (textsBefore ??= texts()));
  // The scripts that type for a person (a chip of the prompt helper, an example) send the same event.
  document.addEventListener("input", ({ target, isComposing }) => isTyped(target) && !isComposing && waitForPause());
  document.addEventListener("compositionend", ({ target }) => isTyped(target) && waitForPause());
  // The studio itself writes into a field after some clicks (New seed, Fast), which sends no event.
  document.addEventListener("click", ({ target }) => {
    if (!isLive() || !(target instanceof Element) || target.closest(`#${TAB}-live, .ls-go, ${TYPED}`)) return;
    if (!target.closest(`#${TAB}-workspace .ls-controls`)) return;
    const [before, end] = [texts(), performance.now() + CLICK_SHOWS];
    const look = () => {
      if (texts() !== before) waitForPause();
      else if (performance.now() < end) setTimeout(look, TYPING_PAUSE / 2);
    };
    look();
  });

  document.addEventListener(
    "ls-painted",
    ({ target }) => {
      if (target !== workspace() || !isLive()) return;
      hasOtherEdits = true;
      performance.mark("ls-painted"); // for the benchmark
      requestRun();
    },
    true,
  );

  document.addEventListener("input", (event) => {
    const { job, run } = workspace() ? workspace().dataset : {};
    if (!event.isTrusted || !event.target.matches("input[type=range]") || !event.target.closest(`#${TAB}-workspace`))
      return;
    if (!isLive() || needsRun || run !== "running" || !job || jobBefore !== null) return;
    needsRun = true;
    workspace().dispatchEvent(new CustomEvent("ls-replace-run", { detail: job }));
    fetch(`/stop/${encodeURIComponent(job)}`, { method: "POST" }).catch(() => {}); // the next request stops it too
  });
  for (const kind of ["input", "click"]) {
    document.addEventListener(kind, ({ target }) => {
      if (
        target instanceof Element &&
        target.closest(`#${TAB}-workspace .ls-controls`) &&
        !target.closest(".ls-slider")
      )
        hasOtherEdits = true;
    });
  }
  // A slider that returns to its old value reports no change, but its run was stopped.
  document.addEventListener("pointerup", () => setTimeout(() => needsRun && isLive() && requestRun(), 60));
  document.addEventListener("change", (event) => {
    const field = event.target;
    if (!field.matches("input[type=range], .ls-slider input[type=number]") || !field.closest(`#${TAB}-workspace`))
      return;
    if (!isLive()) return;
    performance.mark("ls-slider-release"); // for the benchmark
    const slider = field.closest(".ls-slider");
    if (slider) sliderValues.set(slider.id.slice(TAB.length + 1), field.value);
    requestRun();
  });
  new MutationObserver((changes) => {
    for (const { target } of changes) {
      if (target.id !== `${TAB}-workspace`) continue;
      hasOtherEdits = false;
      if (jobBefore !== null && target.dataset.job && target.dataset.job !== jobBefore) endRequest();
    }
  }).observe(document.documentElement, { subtree: true, attributes: true, attributeFilter: ["data-job"] });
}
