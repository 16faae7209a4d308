/* Pictures of few steps, and places for them, of the figures of the tab Learn. */

import { h } from "../../static/elements.js";
import { askUntilLoaded, refusalOf } from "../../viewer/static/ask.js";

const ROOM = 24; // pictures of few steps that stay

const AT_ONCE = 3; // questions of these figures; the studio takes four of one visitor
let asked = 0;
const waiting = [];
/** What act() resolves to, once fewer than AT_ONCE others are on their way. */
async function inTurn(act) {
  if (asked >= AT_ONCE) await new Promise((go) => waiting.push(go));
  else asked++;
  try {
    return await act();
  } finally {
    const next = waiting.shift();
    if (next) next();
    else asked--;
  }
}

const pictures = new Map(); // fields => a promise of the picture's address
/** The picture of a run of few steps: a promise of its address. `from` is a picture as pictureSource has it; without one
    the run begins at the noise of its seed. `name`: the question (docs/viewer.md). */
export function fewSteps(fields, from = null, name = from ? "few-steps-from-picture" : "few-steps") {
  const query = new URLSearchParams({ ...fields, ...from?.fields }).toString();
  const key = `${name} ${query} ${from?.key ?? ""}`;
  if (!pictures.has(key)) {
    const request = from?.file ? { method: "POST", body: from.file } : {};
    const address = inTurn(() =>
      askUntilLoaded(async () => {
        const answer = await fetch(`/ask/${name}?${query}`, request);
        if (!answer.ok) throw await refusalOf(answer);
        return URL.createObjectURL(await answer.blob());
      }),
    );
    address.catch(() => pictures.delete(key)); // asked again the next time
    pictures.set(key, address);
    if (pictures.size > ROOM) {
      const [oldest, one] = pictures.entries().next().value;
      pictures.delete(oldest);
      one.then(URL.revokeObjectURL, () => {});
    }
  }
  return pictures.get(key);
}

/** The fields of the run that is shown, for few steps of it; null for one that does not begin at pure noise. */
export function fieldsOf({ run, isFromPicture }) {
  if (isFromPicture || run.negative_prompt) return null;
  const { checkpoint, prompt, guidance_scale, scheduler, noise_schedule, seed } = run;
  return { checkpoint, prompt, guidance_scale, scheduler, noise_schedule, seed };
}

/** A place for a picture with its caption. show(address) takes an address, a promise of one, or a canvas. */
export function slot(say, name) {
  const image = h("img", { alt: name, hidden: true });
  const canvas = h("canvas", { role: "img", "aria-label": name, hidden: true });
  const note = h("small", { role: "status" });
  const element = h(
    "figure",
    { class: "ls-pane" },
    h("div", { class: "ls-pane-table" }, h("div", { class: "ls-frame" }, image, canvas)),
    h("figcaption", {}, h("span", { class: "ls-pane-name" }, name), note),
  );
  let newest = null;
  return {
    element,
    async show(source) {
      if (newest === source) return;
      newest = source;
      const isCanvas = source instanceof HTMLCanvasElement;
      canvas.hidden = !isCanvas;
      image.hidden = isCanvas || !source;
      note.textContent = "";
      if (isCanvas) {
        [canvas.width, canvas.height] = [source.width, source.height];
        canvas.getContext("2d").drawImage(source, 0, 0);
      } else if (source) {
        note.textContent = say("figure.made");
        image.hidden = true;
        try {
          const address = await source;
          if (newest !== source) return;
          image.src = address;
          image.hidden = false;
          note.textContent = "";
        } catch (failure) {
          if (newest !== source) return;
          note.textContent = failure.message || say("figure.failed");
          newest = null; // the next drawing asks again
        }
      }
    },
  };
}
