/* The buttons that start and stop a tab's run, and their keys: Ctrl+Enter starts, Escape stops. */

import { isVisible } from "./elements.js";
import { busy, free } from "./waiting.js";

const NO_ANSWER = 30000; // ms after which a click without an answer counts as lost
const DOUBLE_CLICK = 600; // ms during which Stop, which has replaced the button, takes no click

/** `element` shows the run; keys act while it is in sight. isActive() says whether a run goes on. start(): a click
    has asked for a run. onSend(): the click goes to the studio, at once or after what the run has to wait for.
    undo(): it was taken back before that. stop(): the run shall end. */
export function runButtons({ tab, element, isActive, start, onSend, undo, stop }) {
  let since = 0;
  let waitingButton = null; // the button whose click waits
  let isRepeat = false; // this click is the repeated one

  function startNow() {
    since = performance.now();
    start();
    if (element.getBoundingClientRect().top < 0) element.scrollIntoView({ block: "start" });
  }
  const stopNow = () => {
    if (!isActive() || performance.now() - since < DOUBLE_CLICK) return;
    if (!waitingButton) return stop();
    waitingButton = null;
    undo();
  };
  async function sendLater(button) {
    waitingButton = button;
    await free();
    if (waitingButton !== button) return;
    waitingButton = null;
    isRepeat = true;
    button.click();
    isRepeat = false;
  }

  document.addEventListener(
    "click",
    (event) => {
      const button = event.target.closest(`#${tab}-generate`);
      if (button && !isRepeat && isActive()) event.stopImmediatePropagation();
      else if (button) {
        if (!isRepeat) startNow();
        if (busy()) {
          event.stopImmediatePropagation();
          sendLater(button);
        } else onSend();
      }
      if (event.target.closest(`#${tab}-stop`)) stopNow();
    },
    true,
  );
  document.addEventListener("keydown", (event) => {
    if (!isVisible(element)) return;
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) {
      const button = document.getElementById(`${tab}-generate`);
      if (button && !isActive()) {
        event.preventDefault();
        // Gradio's fields report their value on input; one frame later the click sends it.
        requestAnimationFrame(() => button.click());
      }
    } else if (event.key === "Escape" && isActive()) {
      event.preventDefault();
      stopNow();
    }
  });
}

/** Writes the keys of a tab's buttons on them. `words`: the texts keys.generate and keys.stop. */
export function showKeys(tab, words) {
  for (const name of ["generate", "stop"]) {
    const button = document.getElementById(`${tab}-${name}`);
    if (button) button.dataset.keys = words[`keys.${name}`];
  }
}

/** Calls `act` if isWaiting() is still true when an answer should have come. */
export function afterNoAnswer(isWaiting, act) {
  setTimeout(() => isWaiting() && act(), NO_ANSWER);
}
