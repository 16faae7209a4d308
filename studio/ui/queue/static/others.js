/* What the studio does for this visitor besides the queue: runs of other tabs, windows and programs. */

import { h, isVisible } from "../../static/elements.js";

const LOOK = 2000; // ms between two looks, while the fold is open

/** `fold`: the details in which it stands. `own()`: the jobs of the queue. Returns the element. */
export function otherJobs({ say, fold, own }) {
  const list = h("ul", { class: "ls-queue-list", "aria-label": say("others") });
  const element = h("div", { hidden: true }, h("p", { class: "ls-queue-help" }, say("others")), list);
  let timer = null;

  async function look() {
    clearTimeout(timer);
    if (!fold.open) return;
    timer = setTimeout(look, LOOK);
    if (document.hidden || !isVisible(fold)) return;
    const answer = await fetch("/api/v1/jobs").catch(() => null);
    if (!answer?.ok) return;
    const { jobs } = await answer.json();
    draw(jobs.filter((job) => ["queued", "running"].includes(job.state) && !own().includes(job.job)).reverse());
  }
  function draw(jobs) {
    element.hidden = !jobs.length;
    const ids = jobs.map(({ job, state }) => `${job} ${state}`).join();
    if (list.dataset.ids === ids) return;
    list.dataset.ids = ids;
    list.replaceChildren(...jobs.map(row));
  }
  function row({ job, state, request }) {
    const name = request.prompt || say("no_prompt");
    const label = say("stop", { name: name.slice(0, 80) });
    const stop = async () => {
      await fetch(`/api/v1/jobs/${job}/cancel`, { method: "POST" }).catch(() => null);
      look();
    };
    return h(
      "li",
      { "data-state": state },
      h("span", { class: "ls-queue-name", dir: "auto" }, name, h("small", {}, say(state))),
      h(
        "span",
        { class: "ls-queue-tools" },
        h("button", { type: "button", "aria-label": label, title: label, onclick: stop }, "×"),
      ),
    );
  }
  fold.addEventListener("toggle", look);
  return element;
}
