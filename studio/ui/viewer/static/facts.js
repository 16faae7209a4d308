/* The lines at the head of the viewer about a run and the present evaluation. */

import { listText, sentencesText } from "../../static/elements.js";
import { number } from "./chart.js";
import { decibels } from "./levels.js";

/** What the recording of a large run lacks, and whether the run has a second pass; empty for any other run. */
export function recordingNote(record, index, say) {
  const { full, attention_every: every } = record.run.kept || {};
  const rough = record.run.bits === 8 ? say(record.evaluations[index].rough ? "kept.rough" : "kept.sharp") : "";
  const second = record.run.second_pass;
  return sentencesText([
    rough,
    second ? say("kept.second", second) : "",
    full ? say("kept.full", { kept: record.evaluations.length, total: record.run.total }) : "",
    every > 1 ? say("kept.attention", { every }) : "",
  ]);
}

/** Whether a run is the sample's, and its checkpoint, seed, schedulers guidance scale and how many evaluations
    are forecast, in one line. */
export function factsOf({ run, evaluations, isSample }, say, schedules) {
  const facts = isSample ? [say("fact.sample")] : [];
  if (run.checkpoint) facts.push(run.checkpoint);
  if (run.seed !== undefined) facts.push(say("fact.seed", { seed: run.seed }));
  // One scheduler, or several with the evaluation where each began.
  const [by, ...others] = run.schedulers || [{ scheduler_label: run.scheduler_label || run.scheduler }];
  if (by.scheduler_label)
    facts.push(
      listText([
        by.scheduler_label,
        ...others.map((one) =>
          say("fact.then", {
            index: one.evaluation + 1,
            name: one.scheduler_label,
            levels: one.noise_schedule ? ` ${schedules[one.noise_schedule]}` : "",
          }),
        ),
      ]),
    );
  if (run.guidance_scale !== undefined) facts.push(say("fact.guidance", { guidance: run.guidance_scale }));
  const { guidance_low: low, guidance_high: high, guidance_rescale: share, guidance_method: method } = run;
  if (low || high) facts.push(say("fact.band", { low: low || 0, high: high || "∞" }));
  if (share) facts.push(say("fact.rescale", { share }));
  if (method && method !== "cfg") facts.push(say(`guidance.method.${method}`));
  const count = evaluations.filter((e) => e.forecast).length;
  if (count) facts.push(say("fact.forecast", { count, total: evaluations.length }));
  return facts.join(" · ");
}

/** The noise level of an evaluation: timestep, sigma and signal-to-noise ratio in dB, and whether its
    answer is forecast. */
export function levelOf(now, say) {
  const finite = Number.isFinite(now.log_snr);
  return [
    say("level.timestep", { value: number(now.timestep) }),
    say("level.sigma", { value: Number.isFinite(now.sigma) ? number(now.sigma, now.sigma < 1 ? 3 : 2) : "∞" }),
    finite ? say("level.snr", { value: number(decibels(now.log_snr), 1) }) : say("level.no_snr"),
    ...(now.forecast ? [say("level.forecast")] : []),
  ].join("   ");
}
