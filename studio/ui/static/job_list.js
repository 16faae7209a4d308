/* The jobs that wait and run, a part of the owner's panel: whose each is, what it makes, how far it is, and a button
   that stops it alone. Rows stay in the page from one look to the next, so a button keeps its focus. */

import { fill, h } from "./elements.js";

/** The part as an element, and `draw(jobs)` for the view's jobs. `stop(id)` stops one and draws what is there then. */
export function jobList(words, stop) {
  const word = (key, values) => fill(words[key], values);
  const problem = h("p", { role: "alert" });
  const heads = ["whose", "what", "state"].map((key) => h("th", { scope: "col" }, words[`job.${key}`]));
  const body = h("tbody", {});
  const table = h("table", {}, h("thead", {}, h("tr", {}, ...heads, h("td", {}))), body);
  const count = h("p", { tabindex: -1 });
  const more = h("small", {});
  const element = h("div", { class: "ls-job-list" }, h("h3", {}, words["job.title"]), count, table, more, problem);
  const rows = new Map(); // by the job's id

  const whose = ({ whose: kind, name }) => word(`job.whose.${kind}`, { name });
  function state({ state: now, place, done, total }) {
    if (now === "running") return word("job.running", { done, total });
    return place === null ? words["job.waiting"] : word("job.place", { place });
  }

  function newRow(job) {
    const what = words[`job.kind.${job.kind}`];
    const label = word("job.stop.of", { what, whose: whose(job) });
    const button = h("button", { type: "button", "aria-label": label }, words.stop);
    button.addEventListener("click", async () => {
      try {
        problem.textContent = "";
        await stop(job.id);
      } catch (failure) {
        problem.textContent = failure.message || words.unreachable;
      }
    });
    const now = h("td", {});
    const model = h("small", {}, job.checkpoint);
    const row = h("tr", {}, h("th", { scope: "row" }, whose(job)), h("td", {}, what, h("br"), model), now);
    row.append(h("td", {}, button));
    return { row, now };
  }

  function draw({ rows: jobs, more: others }) {
    const focused = document.activeElement;
    const at = [...body.children].findIndex((row) => row.contains(focused));
    const ids = new Set(jobs.map((job) => job.id));
    for (const [id, { row }] of rows) {
      if (ids.has(id)) continue;
      row.remove();
      rows.delete(id);
    }
    jobs.forEach((job, place) => {
      if (!rows.has(job.id)) rows.set(job.id, newRow(job));
      const { row, now } = rows.get(job.id);
      if (now.textContent !== state(job)) now.textContent = state(job);
      if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
    });
    const text = word("queue", { count: jobs.length + others });
    if (count.textContent !== text) count.textContent = text;
    table.hidden = !jobs.length;
    more.hidden = !others;
    more.textContent = others ? word("job.more", { count: others }) : "";
    // The job whose button had the focus is over, or its row has moved.
    if (at < 0 || body.contains(document.activeElement)) return;
    const near = body.children[Math.min(at, jobs.length - 1)]?.querySelector("button");
    (body.contains(focused) ? focused : (near ?? count)).focus();
  }

  return { element, draw };
}
