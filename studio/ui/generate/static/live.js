/* Live mode of Text to image: the picture is made again whenever a slider is released. One request at a time is on
   its way to the studio. The newest of those that came meanwhile follows it, so requests cannot overtake each other.
   The earlier run is out of date when the slider moves: it is stopped then, so that the device is free at the
   release.

   Gradio takes some 80 ms of the browser's time to send the form, and on two cores this delays the U-Net too. So the
   moved sliders go in a request of their own, which answers with the new run's first frame. The form is sent when
   that frame is drawn, or after FORM_WAITS ms. The form decides: it finds this very run, or replaces it. */

export function liveMode() {
  const TAB = "text_to_image";
  const FORM_WAITS = 250; // ms to wait for the first frame before the form is sent
  const NO_ANSWER = 5000; // ms after which the next request no longer waits for this one
  let jobBefore = null; // the job on the stage when the present request was sent
  let hasNext = false;
  let timer = null;
  let requestCount = 0;
  const sliderValues = new Map(); // field => value of the sliders that were released since the last request
  let hasOtherEdits = false; // something other than a slider was changed since this run began
  let needsRun = false; // the run was stopped because a slider moved, and no new one was requested yet

  const workspace = () => document.getElementById(`${TAB}-workspace`);
  const isLive = () => !!document.querySelector(`#${TAB}-live input[type=checkbox]:checked`);

  function requestRun() {
    needsRun = false;
    if (jobBefore !== null) {
      hasNext = true;
      return;
    }
    jobBefore = workspace().dataset.job || "";
    hasNext = false;
    clearTimeout(timer);
    timer = setTimeout(endRequest, NO_ANSWER);
    const number = ++requestCount;
    // Gradio's sliders report their value on input; one frame later the click sends it. A newer request sends its own
    // form.
    const send = () =>
      requestAnimationFrame(() => number === requestCount && document.getElementById(`${TAB}-live-go`).click());
    const address =
      jobBefore && sliderValues.size && !hasOtherEdits
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
    if (hasNext) requestRun();
  }

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
