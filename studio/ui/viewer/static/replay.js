/* The entry of a replay page (studio/ui/replay_page.py): the viewer on the one record in the file. */

import { viewer } from "./viewer.js";

const bytes = Uint8Array.from(atob(document.getElementById("record").textContent), (c) => c.charCodeAt(0));
// The viewer fetches nothing but the record, which the file holds.
window.fetch = async (address) => {
  const there = String(address).startsWith("/record/") && String(address).endsWith("since=0");
  return there ? new Response(bytes.slice()) : new Response("", { status: 404 });
};
document.body.classList.toggle("dark", matchMedia("(prefers-color-scheme: dark)").matches);
const { value, languages } = JSON.parse(document.getElementById("props").textContent);
// The language that its switch has put into the address, or the browser's.
const wishes = [
  new URLSearchParams(location.search).get("language"),
  ...navigator.languages.map((tag) => tag.split("-")[0]),
];
const language = wishes.find((name) => name in languages) ?? "en";
document.documentElement.lang = languages[language].tag;
const props = { ...languages[language], value, language, languages: Object.keys(languages) };
viewer({ element: document.getElementById("viewer"), props, watch: () => {}, trigger: () => {}, events: [] });
