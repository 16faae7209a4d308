/* The ways of guidance (docs/guidance.md) at one evaluation alone, without APG's momentum: the formulas of
   studio/diffusion/guidance_methods.py. c and u are the model's outputs with and without the prompt, w the scale. */
import { combine, guidedOutput, predictedX0, x0Terms } from "./quantities.js";

export const METHODS = ["cfg", "rescale", "apg", "cfgpp"];
export const USUAL = { rescale: 0.7, eta: 0, norm: 15 };
const CFGPP_FULL = 12.5; // w at which the scale of CFG++, from 0 to 1, is 1

const dot = (one, other) => one.reduce((sum, value, k) => sum + value * other[k], 0);
const lengthOf = (values) => Math.sqrt(dot(values, values)) || 1e-12;
const deviation = (values) => {
  const mean = values.reduce((sum, value) => sum + value, 0) / values.length;
  return Math.sqrt(values.reduce((sum, value) => sum + (value - mean) ** 2, 0) / (values.length - 1));
};

/** The guided output of an evaluation {x_t, model_cond, model_difference, a, s} by one of METHODS. */
export function guidedBy(method, type, evaluation, w, { rescale, eta, norm } = USUAL) {
  if (method === "cfgpp") return guidedOutput(evaluation, w / CFGPP_FULL);
  const guided = guidedOutput(evaluation, w);
  if (method === "rescale") {
    const ratio = deviation(evaluation.model_cond) / deviation(guided);
    return combine([rescale * ratio + 1 - rescale, guided]);
  }
  if (method !== "apg") return guided;
  const [, ofOutput] = x0Terms(type, evaluation);
  if (!Number.isFinite(ofOutput)) return guided;
  const x0 = predictedX0(type, evaluation, evaluation.model_cond);
  // D = x0(c) - x0(u) is the difference of the outputs times this number, which is divided by again
  const length = lengthOf(evaluation.model_difference) * Math.abs(ofOutput);
  const shorter = norm ? Math.min(1, norm / length) : 1;
  const along = (shorter * dot(evaluation.model_difference, x0)) / dot(x0, x0);
  return combine(
    [1, evaluation.model_cond],
    [(w - 1) * shorter, evaluation.model_difference],
    [(w - 1) * (eta - 1) * along, x0],
  );
}

/** Predicted x0 of outputs, as [along, across] from x0(c): along x0(c), and along the part of x0(c) - x0(u) that is at
    right angles to it. */
export function inPlane(type, evaluation, outputs) {
  const x0 = predictedX0(type, evaluation, evaluation.model_cond);
  const [, ofOutput] = x0Terms(type, evaluation);
  const first = combine([1 / lengthOf(x0), x0]);
  const difference = combine([ofOutput, evaluation.model_difference]);
  const rest = combine([1, difference], [-dot(difference, first), first]);
  const second = combine([1 / lengthOf(rest), rest]);
  return outputs.map((output) => {
    const way = combine([ofOutput, output], [-ofOutput, evaluation.model_cond]);
    return [dot(way, first), dot(way, second)];
  });
}
