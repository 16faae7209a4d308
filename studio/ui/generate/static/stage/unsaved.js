/* Pictures of live mode that are not saved yet: the button that keeps one, and the pause after which the newest are
   kept. The studio itself counts the pause too, so that nothing is lost where this page is closed. */

import { h } from "../../../static/elements.js";

export function unsavedPictures({ say, pictures, onKept }) {
  const PAUSE = 3000; // ms, as studio/picture/live_pictures.py
  let timer = null;
  let here = null; // the picture on the stage
  const button = h(
    "button",
    { class: "ls-button ls-keep", type: "button", hidden: true, title: say("keep.help"), onclick: () => keep(here) },
    say("keep"),
  );
  const note = h("small", { class: "ls-keep-note", role: "status" });

  /** Saves a picture. It is kept at once or after the pause, whichever comes first; twice is once. */
  async function keep(picture) {
    if (!picture?.unsaved) return;
    const answer = await fetch(`/keep/${picture.id}`, { method: "POST" }).catch(() => null);
    note.textContent = answer?.ok ? "" : answer?.status === 404 ? say("gone") : (await answer?.text()) || say("lost");
    if (!answer?.ok) return;
    for (const one of pictures()) if (one.id === picture.id) one.unsaved = false;
    const hadFocus = document.activeElement === button;
    onKept();
    if (hadFocus) button.parentElement?.querySelector("a.ls-button")?.focus(); // Save stands beside it
  }
  function draw(picture) {
    if (here?.id !== picture?.id) note.textContent = "";
    here = picture;
    button.hidden = !picture?.unsaved;
  }
  /** The pause begins when a run of live mode has ended, and ends with the next run. */
  function wait(finished) {
    clearTimeout(timer);
    if (finished.some((one) => one.unsaved)) timer = setTimeout(() => finished.forEach(keep), PAUSE);
  }
  return { button, note, draw, wait, keep };
}
