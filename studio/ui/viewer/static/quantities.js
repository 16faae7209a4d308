/* The viewer's quantities, each as one formula on the recording. All are in model-input coordinates, x_t = a x0 + s
   noise. why(record, index) names the reason (under `viewer.undefined`) where a quantity does not exist; of(record,
   index) gives it (Float32Array, C h w). Names, labels and kinds are those of studio/asked/quantities.py. */
/** The sum of factor * values. */
export function combine(...terms) {
  const out = new Float32Array(terms[0][1].length);
  for (const [factor, values] of terms) for (let k = 0; k < out.length; k++) out[k] += factor * values[k];
  return out;
}
/** Predicted x0 by prediction type, as factors [of x_t, of the model's output]: the formulas of
    studio/diffusion/quantities.py. Undefined (infinite) where a = 0 and the model predicts noise. */
const X0_TERMS = {
  epsilon: ({ a, s }) => [1 / a, -s / a],
  v_prediction: ({ a, s }) => [a, -s],
  sample: () => [0, 1],
  flow_prediction: ({ a, s }) => [1 / (a + s), -s / (a + s)],
  edm_epsilon: ({ a, s }) => [dataShare(s) ** 2 / a, (s * dataShare(s)) / a],
  edm_v_prediction: ({ a, s }) => [dataShare(s) ** 2 / a, (-s * dataShare(s)) / a],
};
/** Predicted noise in the same way; a x0 + s noise is x_t again. */
const NOISE_TERMS = {
  epsilon: () => [0, 1],
  v_prediction: ({ a, s }) => [s, a],
  sample: ({ a, s }) => [1 / s, -a / s],
  flow_prediction: ({ a, s }) => [1 / (a + s), a / (a + s)],
  edm_epsilon: ({ s }) => [s, -dataShare(s)],
  edm_v_prediction: ({ s }) => [s, dataShare(s)],
};
/** Standard deviation of the data's part in x_t of an EDM model, where that of x_t is 1. */
const dataShare = (s) => Math.sqrt(Math.max(0, 1 - s * s));

/** Predicted x0 of an evaluation as factors [of x_t, of the model's output]. */
export const x0Terms = (type, evaluation) => X0_TERMS[type](evaluation);

/** Predicted x0 from a model's output for an evaluation's x_t. */
export function predictedX0(type, evaluation, model) {
  return combineTerms(X0_TERMS[type](evaluation), evaluation.x_t, model);
}

/** Predicted noise from a model's output for an evaluation's x_t. */
export function predictedNoise(type, evaluation, model) {
  return combineTerms(NOISE_TERMS[type](evaluation), evaluation.x_t, model);
}

function combineTerms([ofInput, ofOutput], x_t, model) {
  return ofInput === 0 && ofOutput === 1 ? model : combine([ofInput, x_t], [ofOutput, model]);
}

/** The model's output at guidance scale w: u + w (c - u) = c + (w - 1) (c - u). */
export function guidedOutput({ model_cond, model_difference }, w) {
  return model_difference ? combine([1, model_cond], [w - 1, model_difference]) : model_cond;
}

const difference = (one, two) => combine([1, one], [-1, two]);

const type = (record) => record.run.prediction_type;
const at = (record, index) => record.evaluations[index];
const pureNoise = (record, index) => (at(record, index).x0_defined === false ? "pure_noise" : null);
/** Where the run's guidance acts at some noise levels alone, the network is asked without the prompt only there. */
const hasBand = (record) => !!(record.run.guidance_low || record.run.guidance_high);
const branch = (name) => (record, index) =>
  at(record, index)[name]
    ? null
    : hasBand(record) && record.run.guidance_scale !== 1
      ? "guidance_band"
      : "guidance_off";

export const quantities = {
  x_t: { colour: "x", why: () => null, of: (record, index) => at(record, index).x_t },
  denoised: { colour: "x0", why: pureNoise, of: (record, index) => at(record, index).denoised },
  x0_uncond: prediction(predictedX0, "model_uncond", "x0", pureNoise),
  x0_cond: prediction(predictedX0, "model_cond", "x0", pureNoise),
  noise_pred: { colour: "noise", why: () => null, of: (record, index) => at(record, index).noise_pred },
  eps_uncond: prediction(predictedNoise, "model_uncond", "noise", () => null),
  eps_cond: prediction(predictedNoise, "model_cond", "noise", () => null),
  guidance: {
    colour: "guidance",
    why: branch("model_uncond"),
    of: (record, index) => difference(record.latents(index, "eps_cond"), record.latents(index, "eps_uncond")),
  },
  change_x_t: {
    colour: "x",
    // After the last evaluation come the clean latents (a = 1).
    why: (record, index) =>
      at(record, index + 1) || record.clean
        ? null
        : record.run.kept?.full
          ? "full"
          : record.ended
            ? "stopped"
            : "not_yet",
    of: (record, index) => difference(at(record, index + 1)?.x_t ?? record.clean, at(record, index).x_t),
  },
  change_x0: {
    colour: "x0",
    why: (record, index) => (index === 0 ? "first" : pureNoise(record, index - 1)),
    of: (record, index) => difference(at(record, index).denoised, at(record, index - 1).denoised),
  },
  left_x0: {
    colour: "x0",
    why: (record, index) => (record.ended ? pureNoise(record, index) : "not_yet"),
    of: (record, index) => difference(at(record, index).denoised, at(record, record.evaluations.length - 1).denoised),
  },
};

function prediction(formula, output, colour, otherwise) {
  return {
    colour,
    why: (record, index) => branch(output)(record, index) || otherwise(record, index),
    of: (record, index) => formula(type(record), at(record, index), at(record, index)[output]),
  };
}

/** Which scheduler made an evaluation, as the header says (docs/record.md). */
export function schedulerAt({ run }, index) {
  const all = run.schedulers || [
    {
      evaluation: 0,
      scheduler: run.scheduler,
      scheduler_label: run.scheduler_label || run.scheduler,
      noise_schedule: run.noise_schedule,
    },
  ];
  return all.findLast((one) => one.evaluation <= index) || all[0];
}
