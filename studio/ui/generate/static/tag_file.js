/* Tags to complete from a file of the person's own, as the extension a1111-sd-webui-tagcomplete has them (Danbooru's and
   others'): a CSV file with name, type, count and "aliases" in each row. The file stays in this browser (IndexedDB) and
   is never sent; searching it needs no request. */

import { fill, h } from "../../static/elements.js";

const MAX_BYTES = 20 * 2 ** 20;
const MAX_ROWS = 200_000;
const [DATABASE, STORE, KEY] = ["latent-studio", "tags", "file"];
const CHANGED = "ls-tags-changed";

let rows = []; // the most frequent first
let fileName = "";
let loading = null;

/** The tags of a CSV text, the most frequent first: [{name, count, key, aliases}…], `key` being what is searched. Rows
    without a name are left out, and those beyond MAX_ROWS. Pure. */
export function parseTags(text) {
  const tags = [];
  for (const line of text.split(/\r\n?|\n/)) {
    if (tags.length === MAX_ROWS) break;
    const fields = [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
      (match) => match[1]?.replaceAll('""', '"') ?? match[2],
    );
    const name = (fields[0] || "").trim();
    const count = Number(fields[2] || 0);
    // The line of headings has no number where others have one.
    if (!name || name.length > 200 || Number.isNaN(count)) continue;
    const aliases = (fields[3] || "").split(",").map(keyOf).filter(Boolean);
    tags.push({ name, count, key: keyOf(name), aliases });
  }
  return tags.sort((one, other) => other.count - one.count);
}

const keyOf = (text) => text.trim().toLowerCase().replaceAll("_", " ");

/** Up to `most` tags that begin with a text, then those with a word or an alias that does. Pure. */
export function matchingTags(tags, text, most) {
  const query = keyOf(text);
  const first = [];
  for (const tag of tags) {
    if (first.length === most) return first;
    if (tag.key.startsWith(query)) first.push(tag);
  }
  for (const tag of tags) {
    if (first.length === most) break;
    const isBegun = tag.key.startsWith(query);
    if (!isBegun && (tag.key.includes(` ${query}`) || tag.aliases.some((one) => one.startsWith(query))))
      first.push(tag);
  }
  return first;
}

/** A tag as a prompt has it: blanks for underscores but in short faces such as ^_^, brackets as words. */
export const written = ({ name }) =>
  (/[a-z0-9]{2}/i.test(name) ? name.replaceAll("_", " ") : name).replace(/[()[\]]/g, "\\$&");

/** The tags of the file; none until it has been read. */
export const tagRows = () => rows;

const request = (act) =>
  new Promise((resolve, reject) => {
    const opening = indexedDB.open(DATABASE, 1);
    opening.onupgradeneeded = () => opening.result.createObjectStore(STORE);
    opening.onerror = () => reject(opening.error);
    opening.onsuccess = () => {
      const transaction = opening.result.transaction(STORE, "readwrite");
      const asked = act(transaction.objectStore(STORE));
      transaction.onabort = () => reject(transaction.error);
      transaction.oncomplete = () => {
        opening.result.close();
        resolve(asked.result);
      };
    };
  });

/** Reads the file that this browser has, once. */
export function loadTags() {
  loading ||= request((store) => store.get(KEY)).then(
    (file) => file && set(file.name, parseTags(file.text)),
    () => {}, // a browser that keeps nothing has no tags
  );
  return loading;
}

function set(name, tags) {
  [fileName, rows] = [name, tags];
  window.dispatchEvent(new Event(CHANGED));
}

/** The line that says which file is there, takes another by drop or choice, and removes it. */
export function tagLine(words) {
  const note = h("span", { role: "status" });
  const field = h("input", { type: "file", accept: ".csv,text/csv", hidden: true });
  const choose = h("button", { type: "button", class: "ls-chip" }, words["tags.choose"]);
  const away = h("button", { type: "button", class: "ls-chip" }, words["tags.remove"]);
  const line = h("div", { class: "ls-tag-file" }, h("p", { class: "ls-help" }, note), choose, away, field);
  const say = (text) => {
    note.textContent = text;
  };
  function show() {
    say(fileName ? fill(words["tags.file"], { name: fileName, count: rows.length }) : words["tags.none"]);
    away.hidden = !fileName;
  }
  async function take(file) {
    if (file.size > MAX_BYTES) return say(fill(words["tags.large"], { name: file.name, most: MAX_BYTES / 2 ** 20 }));
    const text = await file.text();
    const tags = text.includes("\0") ? [] : parseTags(text);
    if (!tags.length) return say(fill(words["tags.bad"], { name: file.name }));
    set(file.name, tags);
    await request((store) => store.put({ name: file.name, text }, KEY)).catch(() => say(words["tags.unkept"]));
  }
  choose.addEventListener("click", () => field.click());
  field.addEventListener("change", () => {
    const [file] = field.files;
    field.value = "";
    if (file) take(file);
  });
  away.addEventListener("click", () => {
    set("", []);
    request((store) => store.delete(KEY)).catch(() => {});
    choose.focus();
  });
  line.addEventListener("dragover", (event) => {
    event.preventDefault(); // else the page takes it for a picture (picture_sheet/static/sheet.js)
    line.toggleAttribute("data-over", true);
  });
  line.addEventListener("dragleave", () => line.removeAttribute("data-over"));
  line.addEventListener("drop", (event) => {
    event.preventDefault();
    line.removeAttribute("data-over");
    const [file] = event.dataTransfer.files;
    if (file) take(file);
  });
  window.addEventListener(CHANGED, show);
  loadTags();
  show();
  return line;
}
