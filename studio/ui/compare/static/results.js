/* What a comparison leaves: a picture to save or to keep, the sheet of all of them, their values, and a link to it. */

import { h, icon } from "../../static/elements.js";

/** view(): what is compared; index(): the cell that is looked at; `pictures`: cell -> finished picture; `said`: where
    answers are said. */
export function compareResults({ words, button, view, cellAt, index, pictures, said, trigger }) {
  const pictureIds = new Set(); // ids of pictures that the gallery has
  const link = (name, text, name_of_icon) =>
    h("a", { class: "ls-button", role: "button", "data-act": name }, icon(name_of_icon), text);
  const save = link("save", words.save, "save");
  const sheet = link("sheet", words.sheet, "save");
  const csv = link("csv", words.csv, "save");
  const keep = button("keep", words.keep, () => keepCells([index()]));
  const keepAll = button("keep-all", words.keep_all, () => keepCells([...pictures.keys()]));
  const copy = button("link", words.link, copyLink);
  const actions = h("div", { class: "ls-actions" }, save, keep, keepAll, sheet, csv, copy);

  function draw() {
    const cell = cellAt(index());
    const done = pictures.size > 0;
    save.hidden = keep.hidden = cell.state !== "finished";
    if (cell.id) save.href = `/picture/${cell.id}?download=1`;
    keep.disabled = pictureIds.has(cell.id);
    keepAll.hidden = sheet.hidden = csv.hidden = !done;
    if (view().job) {
      sheet.href = `/sheet/${view().job}.png`;
      csv.href = `/sheet/${view().job}.csv`;
    }
    copy.hidden = !view().link;
  }

  function keepCells(cells) {
    const ids = cells.map((k) => cellAt(k).id).filter((id) => id && !pictureIds.has(id));
    if (ids.length) trigger("keep", { pictures: ids });
  }
  /** The server's answer to a wish: what is kept now, and what there is to say. */
  function hear(answer) {
    for (const id of answer.kept || []) pictureIds.add(id);
    if (answer.message) said.textContent = answer.message;
  }
  async function copyLink() {
    const address = `${location.origin}${location.pathname}?${new URLSearchParams(view().link)}`;
    try {
      await navigator.clipboard.writeText(address);
      said.textContent = words.linked;
    } catch {
      said.replaceChildren(h("a", { href: address }, address)); // no clipboard on plain http: the link itself, to be copied by hand
    }
    said.dataset.address = address;
  }

  return { element: actions, draw, hear };
}
