/* The entry of a replay page (studio/ui/viewer/replay_page.py): the viewer on the one record in the file. */

import { viewer } from "./viewer.js";

const bytes = Uint8Array.from(atob(document.getElementById("record").textContent), (c) => c.charCodeAt(0));
const answers = JSON.parse(document.getElementById("answers").textContent);
/** The answer of the studio that the file holds, or undefined. */
function enclosed(address) {
  const { pathname, searchParams } = new URL(address, "http://replay/");
  const fields = Object.fromEntries(searchParams);
  const same = (one) =>
    pathname === `/ask/${one.name}` &&
    Object.keys(fields).length === Object.keys(one.fields).length &&
    Object.entries(one.fields).every(([name, value]) => fields[name] === value);
  return answers.find(same);
}
// The viewer fetches nothing but the record and the answers, which the file holds.
window.fetch = async (address) => {
  if (String(address).startsWith("/record/") && String(address).endsWith("since=0")) return new Response(bytes.slice());
  const answer = enclosed(String(address));
  if (!answer) return new Response("", { status: 404 });
  const content = Uint8Array.from(atob(answer.content), (c) => c.charCodeAt(0));
  return new Response(content, { headers: { "content-type": answer.type } });
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
