/* Noise levels, in model-input coordinates (x_t = a x0 + s noise), and the place of a run on its way from noise to
   picture. The formulas are those of studio/diffusion/levels.py, paths.py and studio/asked/schedulers.py. */

/** ᾱ of a level: the share of x0 in a² + s², from 0 to 1. It is a² on a path that preserves variance. */
export const alphaBar = ({ a, s }) => a ** 2 / (a ** 2 + s ** 2);

/** A level in the studio's measures: sigma = s / a and log-SNR, null where they have no value. */
export const levelFacts = ({ a, s }) => ({
  a,
  s,
  sigma: a > 0 ? s / a : null,
  log_snr: a > 0 && s > 0 ? 2 * Math.log(a / s) : null,
});

/** A log-SNR in decibels. */
export const decibels = (logSnr) => (logSnr * 10) / Math.LN10;

/** The value at `t` between two of `values`, interpolated linearly. */
export function between(values, t) {
  const low = Math.min(values.length - 1, Math.floor(t));
  const high = Math.min(values.length - 1, low + 1);
  return values[low] + (values[high] - values[low]) * (t - low);
}

/** The level at `t` between two training timesteps. a² and s² are interpolated linearly, so that a preserved
    variance stays so. */
export function levelBetween({ a, s }, t) {
  const squares = (values) =>
    [Math.floor(t), Math.floor(t) + 1].map((k) => values[Math.min(values.length - 1, k)] ** 2);
  const at = (values) => Math.sqrt(between(squares(values), t - Math.floor(t)));
  return { a: at(a), s: at(s) };
}

/** The position of a level on the training curve, counted from 0. It is interpolated linearly in the logarithm of
    noise between two timesteps, and clamped to the curve's two ends. */
export function positionOf(training, level) {
  const noise = ({ a, s }) => Math.log(s / (a + s)); // rising, and finite for pure noise too
  const at = (t) => noise({ a: training.a[t], s: training.s[t] });
  const above = training.a.findIndex((_, t) => at(t) >= noise(level));
  if (above === 0) return 0;
  if (above < 0) return training.a.length - 1;
  return above - 1 + (noise(level) - at(above - 1)) / (at(above) - at(above - 1));
}

/** How many of `steps` steps image to image runs: diffusers' rule. */
export const stepsRun = (steps, strength) => Math.min(steps, Math.floor(steps * strength));

/** The first step that image to image runs at a strength, counted in a whole run; undefined where it runs none. */
export const firstStep = (steps, strength) => steps[steps.length - stepsRun(steps.length, strength)];

/** The strength at which so many of `steps` steps run. It adds a quarter of a step, so that rounding loses none. */
export const strengthFor = (steps, run) => Math.min(1, (run + 0.25) / steps);

/** How many steps are left from training timestep `t` on: those at or below it. */
export function stepsLeft(positions, t) {
  const first = positions.findIndex((position) => position <= t + 0.5);
  return first < 0 ? 0 : positions.length - first;
}
