/* The owner's panel for sharing, and a guest's link to another browser: dialogs that the header opens. */

import { board as decisions } from "./board.js";
import { copyText } from "./copying.js";
import { openDialog } from "./dialog.js";
import { fill, h } from "./elements.js";
import { jobList } from "./job_list.js";
import { programs } from "./programs.js";
import { wall, wallNotice } from "./wall.js";

const HOURS = [1, 8, 24, 168];
const POLL = 1500; // ms between two requests while the panel is open

/** A link in a field, with a button that copies it; where the browser does not let a page copy, the text is selected
    and the line below says why. */
function linkField(words, link, label) {
  const field = h("input", { readonly: true, value: link, "aria-label": label, onfocus: () => field.select() });
  const note = h("small", { role: "status" });
  const copy = async () => {
    note.textContent = (await copyText(link, () => field.select())) || words.copied;
  };
  const button = h("button", { type: "button", onclick: copy }, words.copy);
  return h("div", {}, h("label", {}, label), h("div", { class: "ls-sharing-link" }, field, button), note);
}

async function fetchJson(url, options) {
  const answer = await fetch(url, options);
  if (!answer.ok) throw new Error(await answer.text());
  return answer.json();
}

const postOptions = (values) => ({
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify(values),
});

/** The wall, for whoever may see it. */
export const openWall = (words) => wall(words, openDialog, fetchJson, postOptions);

/** A guest's notice of the wall. */
export const guestNotice = (onAnswer) => wallNotice(fetchJson, onAnswer);

/** The guest's own link. */
export async function personalLink(words) {
  const { body } = openDialog(words.mine, words.close);
  body.append(h("p", {}, words["mine.what"]));
  try {
    const { path } = await fetchJson("/personal-link", { method: "POST" });
    body.append(linkField(words, location.origin + path, words.mine));
    body.append(h("p", {}, h("a", { href: "/my-pictures.zip", download: "" }, words["mine.zip"])));
  } catch {
    body.append(h("p", { role: "alert" }, words.unreachable));
  }
}

/** The owner's panel. */
export function sharing(words) {
  const { box, body } = openDialog(words.title, words.close);
  const word = (key, values) => fill(words[key], values);
  const problem = h("p", { role: "alert" });
  const main = h("div", {});
  const board = h("div", {});
  const decide = (changes, address = "/share/board") =>
    fetchJson(address, changes === undefined ? undefined : postOptions(changes));
  const rules = decisions(words, decide, () => openWall(words));
  const jobs = jobList(words, async (id) =>
    draw(await fetchJson("/share", postOptions({ action: "stop_job", job: id }))),
  );
  body.append(problem, main, board, jobs.element, rules.element, programs(words, fetchJson, linkField));
  let screenKey = "";

  async function look(options) {
    try {
      const view = await fetchJson("/share", options);
      if (!isHeld() || options) problem.textContent = view.reason;
      draw(view, Boolean(options));
    } catch (failure) {
      problem.textContent = options && failure.message ? failure.message : words.unreachable;
    }
  }
  const act = async (action, more = {}) => {
    await look(postOptions({ action, ...more }));
    if (action === "end" || action === "begin") rules.refresh();
  };
  const button = (key, action, more, label) =>
    h("button", { type: "button", "aria-label": label, onclick: () => act(action, more?.()) }, words[key]);

  const isHeld = () => board.contains(document.activeElement); // its button keeps the focus from one look to the next

  /** Draws the guests and the jobs at each look, and the rest only when the share has changed. */
  function draw(view, isAnswer = false) {
    const key = [view.state, view.link, Math.round(view.ends)].join();
    if (key !== screenKey) {
      screenKey = key;
      main.replaceChildren(...(view.state === "open" ? open(view) : view.state === "opening" ? opening() : off(view)));
      box.dataset.state = view.state;
    }
    if (!isHeld() || isAnswer) board.replaceChildren(...people(view));
    jobs.element.hidden = !hasGuests(view);
    jobs.draw(view.jobs);
  }

  function choiceOfHours(first) {
    const times = HOURS.map((hours) =>
      h("option", { value: hours, selected: hours === first }, words[`hours.${hours}`]),
    );
    return h("select", { id: "ls-sharing-hours" }, ...times);
  }

  function off(view) {
    const hours = choiceOfHours(8);
    const begin = button("begin", "begin", () => ({ seconds: Number(hours.value) * 3600 }));
    begin.classList.add("ls-sharing-main");
    return [
      h("p", {}, words.what),
      h("p", {}, word("limits", view.allowed)),
      h("div", { class: "ls-sharing-link" }, h("label", { for: "ls-sharing-hours" }, words.time), hours),
      h("small", {}, words.week),
      begin,
    ];
  }

  const opening = () => [h("p", { role: "status" }, words.opening), button("end", "end")];

  function open(view) {
    const hours = choiceOfHours(0);
    hours.prepend(h("option", { value: "", selected: true, disabled: true }, words.choose));
    const change = button("change", "change_end", () => ({ seconds: Number(hours.value) * 3600 }));
    change.disabled = true;
    hours.onchange = () => {
      change.disabled = false;
    };
    const format = { dateStyle: "medium", timeStyle: "short" };
    const until = new Date(view.ends * 1000).toLocaleString(document.documentElement.lang, format);
    const picture = h("img", { src: `/share/qr.svg?${Date.now()}`, alt: words.qr });
    const end = h(
      "div",
      { class: "ls-sharing-link" },
      h("label", { for: "ls-sharing-hours" }, words.end_in),
      hours,
      change,
    );
    const way = h("div", {}, linkField(words, view.link, words.link), h("p", {}, word("until", { until })), end);
    return [
      h("div", { class: "ls-sharing-way" }, way, picture),
      h("p", {}, words.what),
      h("p", {}, word("limits", view.allowed)),
      h("div", { class: "ls-sharing-row" }, button("renew", "renew"), button("end", "end")),
    ];
  }

  const hasGuests = (view) => view.state === "open" || view.everybody || view.frozen || view.guests.length > 0;

  function people(view) {
    if (!hasGuests(view)) return [];
    const rows = view.guests.map((guest) => {
      const values = { name: guest.name };
      const who = () => ({ guest: guest.name });
      return h(
        "tr",
        {},
        h("th", { scope: "row" }, guest.name),
        h("td", {}, String(guest.jobs)),
        h("td", {}, word("seconds", { seconds: guest.seconds })),
        h(
          "td",
          { class: "ls-sharing-row" },
          button("stop", "stop", who, word("stop.of", values)),
          guest.can_be_shown_out ? button("show_out", "show_out", who, word("show_out.of", values)) : null,
        ),
      );
    });
    const heads = ["guest", "jobs", "device"].map((key) => h("th", { scope: "col" }, words[key]));
    const table = h("table", {}, h("thead", {}, h("tr", {}, ...heads, h("td", {}))), h("tbody", {}, ...rows));
    return [
      h("h3", {}, words.here),
      rows.length ? table : h("p", {}, words.nobody),
      view.guests.some((guest) => guest.can_be_shown_out) ? h("small", {}, words["show_out.what"]) : null,
      view.everybody ? h("small", {}, words["show_out.not"]) : null,
      button(view.frozen ? "thaw" : "freeze", view.frozen ? "thaw" : "freeze"),
    ].filter(Boolean);
  }

  look();
  const timer = setInterval(look, POLL);
  box.addEventListener("close", () => clearInterval(timer));
}
