/* What can be done with a picture of the library: the actions of the sheet of dropped pictures (picture_sheet), for one
   whose settings the studio reads from its file. */

import { fill, h, icon } from "../../static/elements.js";
import { openUpscaling } from "../../static/upscaling.js";
import { pictureActions } from "./sheet.js";

/** A picture of the library for the dialog that enlarges it. */
export const inLibrary = ({ id, width, height }, name) => ({ library: id, width, height, name });

/** `words`: the sheet's. `attempt(act)` shows a failure; `close()` closes the large view before something opens;
    `onNewPicture()` hears of one that was made of it here. Returns the elements `buttons` and `notes`, and `show(picture)`. */
export function actionsOf({ words, attempt, fetchJson, close, onNewPicture }) {
  const say = (key, values) => fill(words[key], values);
  const buttons = h("div", { class: "ls-library-bar", role: "group", "aria-label": say("actions") });
  const notes = h("div", { class: "ls-library-notes" });
  let one = null;

  const button = (key, sign, act, isMain) =>
    h("button", { type: "button", class: isMain ? "ls-sharing-main" : null, onclick: act }, icon(sign), say(key));
  const closeAndDo = (act) => () => attempt(async () => (close(), await act()));

  async function fileOf(picture, name) {
    const response = await fetch(`/library/picture/${picture.id}?lossless=1`);
    if (!response.ok) throw new Error(await response.text());
    const type = /\.png$/i.test(name) ? "image/png" : "image/jpeg"; // of what the program has saved
    return new File([await response.blob()], name, { type });
  }

  async function show(picture) {
    one = picture;
    buttons.replaceChildren();
    notes.replaceChildren();
    const answer = await attempt(() => fetchJson(`/library/settings/${picture.id}`));
    if (!answer || one !== picture) return;
    const { says, name } = answer;
    const to = (tab) => closeAndDo(async () => pictureActions().toTab(tab, await fileOf(picture, name)));
    const whole = says && Object.keys(says.settings).length ? { settings: says.settings, whole: true } : null;
    if (whole) {
      const target = says.from_picture ? "image_to_image" : "text_to_image";
      buttons.append(
        button(
          "all",
          "reuse",
          closeAndDo(() => pictureActions().put(target, whole)),
          true,
        ),
      );
    }
    const enlarge = closeAndDo(() => openUpscaling({ pictures: [inLibrary(picture, name)], onSaved: onNewPicture }));
    buttons.append(
      button("image_to_image", "edit", to("image_to_image")),
      button("inpaint", "inpaint", to("inpaint")),
      button("upscale", "upscale", enlarge),
    );
    if (whole && !says.from_picture) {
      const look = closeAndDo(async () => pictureActions().look(whole, await fileOf(picture, name), says));
      const compare = closeAndDo(() => pictureActions().compare(whole));
      buttons.append(button("viewer", "noise", look), button("compare", "compare", compare));
    }
    if (says) drawNotes(says);
  }
  function drawNotes(says) {
    const list = (key) =>
      says[key].length ? [h("h3", {}, say(key)), h("ul", {}, ...says[key].map((text) => h("li", {}, text)))] : [];
    notes.replaceChildren(
      ...(says.from_picture ? [h("p", {}, say("from_picture"))] : []),
      ...["missing", "left_out", "notes"].flatMap(list),
    );
  }
  return { buttons, notes, show };
}
