/* The visitor's other runs that stand beside the present one, on every panel that compares runs. They are aligned by
   log-SNR, the one axis that runs of all schedulers and step counts share. */

import { combine } from "./quantities.js";
import { Record } from "./record.js";

export const MOST = 4; // runs at once, with the present one

/** The runs of a viewer, the same for all its panels: add(job, its Record where it is here), remove(job), there() =>
    Records, problem() => a sentence. */
export function otherRuns(context) {
  if (context.otherRuns) return context.otherRuns;
  const records = new Map(); // job => Record
  let jobs = []; // beside the present one
  let problem = "";

  function add(job, record = null) {
    if (record) records.set(job, record);
    jobs = [...jobs.filter((one) => one !== job), job].slice(-(MOST - 1));
    problem = "";
    context.draw();
    fetchOne(job);
  }
  async function fetchOne(job) {
    if (records.has(job)) return;
    const record = new Record(job, 0);
    records.set(job, record);
    const news = await record.grow().catch(() => "none");
    if (news === "none") {
      records.delete(job);
      jobs = jobs.filter((one) => one !== job);
      problem = context.say("gone");
    }
    context.draw();
  }
  context.otherRuns = {
    add,
    remove(job) {
      jobs = jobs.filter((one) => one !== job);
      context.draw();
    },
    jobs: () => jobs.filter((job) => job !== context.record?.job),
    there: () =>
      jobs
        .filter((job) => job !== context.record?.job)
        .map((job) => records.get(job))
        .filter((one) => one?.evaluations.length),
    problem: () => problem,
  };
  return context.otherRuns;
}

/** A list to choose another run from: {element, draw()}. */
export function runChoice(context, runs) {
  const { h, say } = context;
  const element = h("select", {
    class: "ls-choice",
    "aria-label": say("runs.add"),
    onchange: () => {
      const job = element.value;
      element.value = "";
      if (job) runs.add(job);
    },
  });
  return {
    element,
    draw() {
      const jobs = runs.jobs();
      const choices = (context.props.value?.runs || []).filter(
        (one) => one.job !== context.record.job && !jobs.includes(one.job),
      );
      element.replaceChildren(
        h("option", { value: "" }, say(jobs.length + 1 < MOST ? "runs.add" : "runs.swap")),
        ...choices.map((one) => h("option", { value: one.job }, one.label)),
      );
      element.disabled = !choices.length;
    },
  };
}

/** The evaluation of a run whose log-SNR is nearest to a level. */
export function nearest(record, level) {
  let best = 0;
  record.evaluations.forEach((entry, k) => {
    if (Math.abs((entry.log_snr ?? -1e9) - level) < Math.abs((record.evaluations[best].log_snr ?? -1e9) - level))
      best = k;
  });
  return best;
}

/** A quantity of a run at a log-SNR, interpolated linearly between the two evaluations around it; null outside of its
    levels. */
export function between(record, level, quantity) {
  const all = record.evaluations;
  for (let k = 0; k + 1 < all.length; k++) {
    const [low, high] = [all[k].log_snr, all[k + 1].log_snr];
    if (!Number.isFinite(low) || !Number.isFinite(high) || level < low || level > high || low === high) continue;
    const [from, to] = [record.latents(k, quantity), record.latents(k + 1, quantity)];
    const share = (level - low) / (high - low);
    return from && to && combine([1 - share, from], [share, to]);
  }
  return null;
}
