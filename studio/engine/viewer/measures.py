"""The numbers beside the pictures: what is computed of one recorded evaluation for the noise viewer. NumPy only."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from studio.diffusion.quantities import Terms, noise_terms, x0_terms
from studio.diffusion.step_equation import NAMES, step_equation
from studio.engine.recorded_evaluation import Array, RecordedEvaluation


def model_input(evaluation: RecordedEvaluation) -> Array:
    """x_t (C, h, w) as the U-Net was given it."""
    return evaluation.latents / np.float32(evaluation.scale)


def in_scale_of(evaluation: RecordedEvaluation, following: RecordedEvaluation) -> Array:
    """The latents (C, h, w) of the evaluation after this one in the scale of the scheduler that led to them, where
    another one took over with it."""
    scaled = evaluation.scale != 1.0  # x0 + sigma * noise, else a * x0 + s * noise
    return model_input(following) / np.float32(following.a if scaled else 1.0)


def guided_output(evaluation: RecordedEvaluation) -> Array:
    """The model output (C, h, w) that the scheduler was given: u + w (c - u), unless it was captured."""
    if evaluation.guided is not None:
        return evaluation.guided.astype(np.float32)
    outputs = evaluation.outputs.astype(np.float32)
    if len(outputs) == 1:
        return outputs[0]
    output: Array = outputs[0] + np.float32(evaluation.guidance_scale) * (outputs[1] - outputs[0])
    return output


def denoised(evaluation: RecordedEvaluation) -> Array | None:
    """Predicted x0 (C, h, w), guidance applied; None where it is undefined."""
    terms = x0_terms(evaluation.a, evaluation.s, evaluation.prediction_type)
    return None if terms is None else _apply(terms, model_input(evaluation), guided_output(evaluation))


def measures_of(last: Sequence[RecordedEvaluation], after: Array, *, adds_noise: bool) -> dict[str, object]:
    """What docs/record.md calls the evaluation's numbers, JSON-able: null for what has no value.

    `last` are up to three evaluations, the newest of which is measured; `after` the latents that its step led to.
    """
    e = last[-1]
    x_t = model_input(e)
    x0 = denoised(e)
    terms = noise_terms(e.a, e.s, e.prediction_type)
    noises = [] if terms is None else [_apply(terms, x_t, output) for output in (*e.outputs, guided_output(e))]
    noise = noises[-1] if noises else None
    numbers: dict[str, object] = {
        "index": e.index,
        "stage": e.stage,
        "step": e.step,
        "timestep": e.timestep,
        "sigma": _finite(e.sigma),
        "a": e.a,
        "s": e.s,
        "log_snr": _finite(2 * math.log(e.a / e.s)) if e.a and e.s else None,
        "scale": e.scale,
        "guidance_scale": e.guidance_scale,
        "captured": e.guided is not None,
        "ms": round(e.seconds * 1000, 3),
        "rows": e.rows,
        **({"forecast": True} if e.is_forecast else {}),
        "x0_defined": x0 is not None,
        "norm_x_t": _norm(x_t),
        "norm_denoised": _norm(x0),
        "norm_noise_pred": _norm(noise),
        "mean": {name: _per_channel(array, np.mean) for name, array in _quantities(x_t, x0, noise)},
        "std": {name: _per_channel(array, np.std) for name, array in _quantities(x_t, x0, noise)},
        "spectrum": {name: spectrum(array) for name, array in _quantities(x_t, x0, noise)},
    }
    if len(e.outputs) == 2 and noises:
        numbers |= _guidance(noises[0], noises[1])
    numbers["step_equation"] = _step(last, after, adds_noise)
    return numbers


def _guidance(uncond: Array, cond: Array) -> dict[str, object]:
    """The two predicted noises and their difference: Euclidean norms, cosine of the two, and the difference's share."""
    norm_uncond, norm_cond, norm_difference = _norm(uncond), _norm(cond), _norm(cond - uncond)
    assert norm_uncond is not None
    assert norm_cond is not None
    assert norm_difference is not None
    product = norm_uncond * norm_cond
    return {
        "norm_uncond": norm_uncond,
        "norm_cond": norm_cond,
        "norm_difference": norm_difference,
        "cosine": float(np.vdot(uncond.astype(np.float64), cond.astype(np.float64))) / product if product else None,
        "guidance_ratio": norm_difference / norm_uncond if norm_uncond else None,
    }


def _step(last: Sequence[RecordedEvaluation], after: Array, adds_noise: bool) -> dict[str, object] | None:
    predictions = [denoised(e) for e in reversed(last)]
    history = [x0 for x0 in predictions if x0 is not None]
    if predictions[0] is None:
        return None
    equation = step_equation(after, [last[-1].latents, *history])
    numbers: dict[str, object] = dict.fromkeys(NAMES)
    numbers |= {name: _finite(value) for name, value in zip(NAMES, equation.coefficients)}
    return numbers | {
        "residual": _finite(equation.residual),
        "relative_residual": _finite(equation.relative_residual),
        "fresh_noise": _finite(equation.residual) if adds_noise and not equation.exact else None,
        "exact": equation.exact,
    }


def _apply(terms: Terms, x_t: Array, output: Array) -> Array:
    return np.asarray(np.float32(terms.of_input) * x_t + np.float32(terms.of_output) * output.astype(np.float32))


def _quantities(x_t: Array, x0: Array | None, noise: Array | None) -> list[tuple[str, Array | None]]:
    return [("x_t", x_t), ("denoised", x0), ("noise_pred", noise)]


def spectrum(array: Array | None) -> list[float] | None:
    """Power at 1, 2, ... cycles along the shorter side, up to half its cells, mean over directions and channels of
    (C, h, w): 1 everywhere for white noise of variance 1. None for nothing."""
    if array is None:
        return None
    _, height, width = array.shape
    short = min(height, width)
    power = (np.abs(np.fft.fft2(array.astype(np.float64))) ** 2).mean(axis=0) / (height * width)
    rows, columns = np.abs(np.fft.fftfreq(height)), np.abs(np.fft.fftfreq(width))
    ring = np.floor(short * np.hypot(rows[:, None], columns[None, :]) + 0.5).astype(int).ravel()
    many = short // 2
    totals = np.bincount(ring, power.ravel(), minlength=many + 1)
    means = totals / np.maximum(np.bincount(ring, minlength=many + 1), 1)
    return [float(f"{value:.4g}") for value in means[1 : many + 1]]


def _norm(array: Array | None) -> float | None:
    return None if array is None else _finite(float(np.linalg.norm(array.astype(np.float64))))


def _per_channel(array: Array | None, measure: Any) -> list[float] | None:
    if array is None:
        return None
    return [float(v) for v in measure(array.astype(np.float64), axis=(1, 2)).round(6)]


def _finite(value: float) -> float | None:
    """JSON has no infinity: pure noise (a = 0) has no finite sigma, and says null."""
    return value if math.isfinite(value) else None
