/* What can be taken from a comparison: a picture to save or keep, the sheet of all cells, their values, and a link. */

import { copyText, selectIn } from "../../static/copying.js";
import { h, icon } from "../../static/elements.js";
import { saveAs } from "../../static/save_as.js";

/** view() is the comparison, index() the cell under the sliders. `pictures`: cell -> finished picture. `status`
    shows the answers. runAgain() asks again for a comparison that the studio's end has interrupted. */
export function compareResults({ words, button, view, cellAt, index, pictures, status, trigger, runAgain }) {
  const pictureIds = new Set(); // ids of pictures in the gallery
  const link = (name, text, name_of_icon) =>
    h("a", { class: "ls-button", role: "button", "data-act": name }, icon(name_of_icon), text);
  const save = link("save", words.save, "save");
  const sheet = link("sheet", words.sheet, "save");
  const csv = link("csv", words.csv, "save");
  const keep = button("keep", words.keep, () => keepCells([index()]));
  const keepAll = button("keep-all", words.keep_all, () => keepCells([...pictures.keys()]));
  const copy = button("link", words.link, copyLink);
  const again = button("again", words.again, runAgain);
  const actions = h("div", { class: "ls-actions" }, again, saveAs(save), keep, keepAll, sheet, csv, copy);

  function draw() {
    const cell = cellAt(index());
    const done = pictures.size > 0 && view().job;
    save.hidden = keep.hidden = !cell.id;
    if (cell.id) save.href = `/picture/${cell.id}?download=1`;
    keep.disabled = pictureIds.has(cell.id);
    keepAll.hidden = sheet.hidden = csv.hidden = !done;
    if (view().job) {
      sheet.href = `/sheet/${view().job}.png`;
      csv.href = `/sheet/${view().job}.csv`;
    }
    copy.hidden = !view().link;
    again.hidden = !view().interrupted;
  }

  function keepCells(cells) {
    const ids = cells.map((k) => cellAt(k).id).filter((id) => id && !pictureIds.has(id));
    if (ids.length) trigger("keep", { pictures: ids });
  }
  /** The server's answer: which pictures are in the gallery now, and a message. */
  function showAnswer(answer) {
    for (const id of answer.pictures || []) pictureIds.add(id);
    if (answer.message) status.textContent = answer.message;
  }
  async function copyLink() {
    const address = `${location.origin}${location.pathname}?${new URLSearchParams(view().link)}`;
    const link = h("a", { href: address }, address);
    status.replaceChildren(link);
    status.dataset.address = address;
    const why = await copyText(address, () => selectIn(link));
    if (why) status.append(h("br"), why);
    else status.textContent = words.linked;
  }

  return { element: actions, draw, showAnswer };
}
