/* The buttons that start and stop a tab's run, with their keys: Ctrl+Enter starts, Escape stops. */

import { isVisible } from "./elements.js";
import { busy, free } from "./waiting.js";

const NO_ANSWER = 30000; // ms after which a click that nobody answered is called lost
const DOUBLE_CLICK = 600; // ms during which the button that became Stop takes no click

/** element: where the run is shown, keys act while it can be seen; working(): whether a run goes on; start(): a click
    has asked for one; sent(): the click goes to the studio, at once or after what a run has to wait for; undo(): it was
    taken back before; stop(): the run is to end. */
export function runButtons({ tab, element, working, start, sent, undo, stop }) {
  let since = 0;
  let waitingButton = null; // the button whose click waits
  let passing = false; // it comes again

  function startNow() {
    since = performance.now();
    start();
    if (element.getBoundingClientRect().top < 0) element.scrollIntoView({ block: "start" });
  }
  const stopNow = () => {
    if (!working() || performance.now() - since < DOUBLE_CLICK) return;
    if (!waitingButton) return stop();
    waitingButton = null;
    undo();
  };
  async function sendLater(button) {
    waitingButton = button;
    await free();
    if (waitingButton !== button) return;
    waitingButton = null;
    passing = true;
    button.click();
    passing = false;
  }

  document.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest(`#${tab}-generate`);
      if (button && !passing && working()) event.stopImmediatePropagation();
      else if (button) {
        if (!passing) startNow();
        if (busy()) {
          event.stopImmediatePropagation();
          sendLater(button);
        } else sent();
      }
      if (event.target.closest(`#${tab}-stop`)) stopNow();
    },
    true,
  );
  document.addEventListener("keydown", (event) => {
    if (!isVisible(element)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const button = document.getElementById(`${tab}-generate`);
      if (button && !working()) {
        event.preventDefault();
        // Gradio's fields tell their value on input; one frame later the click carries it.
        requestAnimationFrame(() => button.click());
      }
    } else if (event.key === "Escape" && working()) {
      event.preventDefault();
      stopNow();
    }
  });
}

/** Calls `lost` where `waiting` is still true once a click should have been answered. */
export function unanswered(waiting, lost) {
  setTimeout(() => waiting() && lost(), NO_ANSWER);
}
