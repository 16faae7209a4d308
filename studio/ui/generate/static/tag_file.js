/* Tags to complete from a file of the person's own, as the extension a1111-sd-webui-tagcomplete has them (Danbooru's and
   others'): a CSV file with name, type, count and "aliases" in each row. The file stays in this browser (IndexedDB) and
   is never sent; searching it needs no request. */

import { fill, h } from "../../static/elements.js";

const MAX_BYTES = 20 * 2 ** 20;
const MAX_ROWS = 200_000;
// A database of its own: in that of stored_picture.js whoever opens it first would leave out the store of the other.
const [DATABASE, STORE, KEY] = ["latent-studio-tags", "tags", "file"];
const CHANGED = "ls-tags-changed";

let index = { tags: [], haystack: "", starts: new Uint32Array(0) };
let fileName = "";
let loading = null;

/** The tags of a CSV text, the most frequent first: [{name, count, aliases}…], `aliases` as one text. Rows without a
    name are left out, and those beyond MAX_ROWS. Pure. */
export function parseTags(text) {
  const tags = [];
  for (const line of text.split(/\r\n?|\n/)) {
    if (tags.length === MAX_ROWS) break;
    const [first, , third, ...rest] = line[0] === '"' ? quotedFields(line) : line.split(",");
    const name = (first || "").trim();
    const count = Number(third || 0);
    // The line of headings has no number where others have one.
    if (!name || name.length > 200 || Number.isNaN(count)) continue;
    tags.push({ name, count, aliases: rest.join(",").replaceAll('"', "") });
  }
  return tags.sort((one, other) => other.count - one.count);
}

const quotedFields = (line) =>
  [...line.matchAll(/(?:^|,)(?:"((?:[^"]|"")*)"|([^,]*))/g)].map(
    (match) => match[1]?.replaceAll('""', '"') ?? match[2],
  );

/** Tags with one text to search, which has a line for each: its name, then its aliases behind tabs. A search through
    200,000 of them takes a few milliseconds. */
export function indexOf(tags) {
  const lines = tags.map(({ name, aliases }) => `\n${name}\t${aliases.replaceAll(",", "\t")}`);
  const haystack = searched(lines.join(""));
  const starts = new Uint32Array(tags.length);
  for (let k = 0, at = -1; k < tags.length; k++) starts[k] = at = haystack.indexOf("\n", at + 1);
  return { tags, haystack, starts };
}

const searched = (text) => text.toLowerCase().replaceAll("_", " ");

/** Up to `most` tags that begin with a text, then those with a word or an alias that does. Pure. */
export function matchingTags({ tags, haystack, starts }, text, most) {
  const query = searched(text.trim());
  const matches = new Set();
  for (const before of ["\n", " ", "\t"]) {
    let at = haystack.indexOf(before + query);
    while (at >= 0 && matches.size < most) {
      let [low, high] = [0, starts.length]; // the last line that begins at this place or before
      while (high - low > 1) {
        const middle = (low + high) >> 1;
        if (starts[middle] <= at) low = middle;
        else high = middle;
      }
      matches.add(tags[low]);
      at = haystack.indexOf(before + query, at + 1);
    }
  }
  return [...matches];
}

/** A tag as a prompt has it: blanks for underscores but in short faces such as ^_^, brackets as words. */
export const written = ({ name }) =>
  (/[a-z0-9]{2}/i.test(name) ? name.replaceAll("_", " ") : name).replace(/[()[\]]/g, "\\$&");

/** The tags of the file, to search; none until it has been read. */
export const tagIndex = () => index;

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
  [fileName, index] = [name, indexOf(tags)];
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
    say(fileName ? fill(words["tags.file"], { name: fileName, count: index.tags.length }) : words["tags.none"]);
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
