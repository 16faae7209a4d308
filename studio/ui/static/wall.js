/* The wall of a share: guests' new pictures for all guests and the owner, in a dialog; and what tells a guest of it before
   they make one. */

import { fill, h } from "./elements.js";

const POLL = 4000; // ms between two requests while the wall is open
const ASK = 15_000; // ms between two requests whether there is a wall

/** The wall in a dialog. `dialog` and `fetchJson` are those of the panel for sharing. */
export function wall(words, dialog, fetchJson, postOptions) {
  const { box, body } = dialog(words["wall.title"], words.close);
  box.classList.add("ls-wall");
  const note = h("p", { role: "status" });
  const grid = h("ul", { class: "ls-wall-grid" });
  body.append(note, grid);
  let screenKey = "";

  function draw({ on, owner, pictures }) {
    const key = JSON.stringify([owner, pictures.map((one) => one.id)]);
    if (key === screenKey) return;
    screenKey = key;
    note.textContent = pictures.length ? "" : words[on ? "wall.empty" : "wall.off"];
    grid.replaceChildren(...pictures.map((one) => card(one, owner)));
  }
  function card({ id, guest, prompt, mine }, owner) {
    const who = fill(words["wall.guest"], { number: guest }) + (mine ? ` · ${words["wall.you"]}` : "");
    const image = h("img", { src: `/wall/thumbnail/${id}`, alt: prompt || who, loading: "lazy" });
    const link = h("a", { href: `/wall/picture/${id}`, target: "_blank", rel: "noopener" }, image);
    const remove = h("button", { type: "button", onclick: () => look(postOptions({ picture: id }), "/share/wall") });
    remove.textContent = words["wall.remove"];
    remove.setAttribute("aria-label", fill(words["wall.remove.of"], { number: guest, prompt }));
    return h("li", {}, link, h("strong", {}, who), h("p", {}, prompt), owner ? remove : null);
  }
  async function look(options, address = "/wall") {
    try {
      draw(await fetchJson(address, options));
    } catch (failure) {
      note.textContent = (options && failure.message) || words.unreachable;
    }
  }
  look();
  const timer = setInterval(look, POLL);
  box.addEventListener("close", () => clearInterval(timer));
}

/** Tells a guest, again and again, whether their new pictures are seen by all; `onAnswer(isOn)` shows it. */
export function wallNotice(fetchJson, onAnswer) {
  const ask = async () => {
    if (document.hidden) return;
    try {
      onAnswer((await fetchJson("/invitation")).wall);
    } catch {
      // The line above says that the studio does not answer.
    }
  };
  ask();
  setInterval(ask, ASK);
  document.addEventListener("visibilitychange", ask);
}
