/* Plays through the evaluations of a run at the chosen speed, once or in a loop. */

import { icon } from "../../static/elements.js";

const FRAME = 160; // ms per evaluation at speed 1

/** `button` starts and stops, and shows which of the two it will do. */
export function buildPlayer({ context, button }) {
  const { say, state } = context;
  let playing = null;

  function play() {
    if (playing) return pause();
    if (!state.loop && context.index >= context.record.evaluations.length - 1) context.go(0);
    const tick = () => {
      const last = context.record.evaluations.length - 1;
      if (context.index < last) context.go(context.index + 1);
      else if (state.loop) context.go(0);
      else return pause();
      playing = setTimeout(tick, FRAME / state.speed);
    };
    playing = setTimeout(tick, FRAME / state.speed);
    drawPlay();
  }
  function pause() {
    clearTimeout(playing);
    playing = null;
    drawPlay();
  }
  function drawPlay() {
    const word = say(playing ? "pause" : "play");
    button.replaceChildren(icon(playing ? "pause" : "play"));
    button.setAttribute("aria-label", word);
    button.title = word;
  }

  return { play, pause, playing: () => playing !== null };
}
