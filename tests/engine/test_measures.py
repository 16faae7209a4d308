"""T4, T5, T11: a recording changes nothing, recombines exactly, and gives back the predicted x0 of its guidance."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from studio.asked.schedulers import SCHEDULERS
from studio.diffusion.lane import Lane
from studio.engine.recorded_evaluation import RecordedEvaluation
from studio.engine.viewer.measures import denoised, guided_output, model_input, spectrum
from studio.engine.viewer.recording import on_cpu, record_of
from tests.diffusion.test_predicted_x0 import KINDS, lane_of, nonlinear


def two_answers(lane: Lane) -> torch.Tensor:
    answer: torch.Tensor = nonlinear(lane) * torch.tensor([1.0, 0.5])[:, None, None, None]
    return answer


def run(name: str, prediction_type: str, recording: bool) -> tuple[Lane, list[RecordedEvaluation], list[torch.Tensor]]:
    """A whole run; what was recorded of it, and the lane's own predicted x0."""
    lane = lane_of(name, prediction_type, guidance_scale=7.5)
    kept, own = [], []
    while not lane.is_finished:
        evaluation = lane.advance(two_answers(lane))
        if recording:
            kept.append(record_of(evaluation, 0.0, 2))
            own.append(evaluation.denoised)
    return lane, kept, own


@pytest.mark.parametrize(("name", "prediction_type"), KINDS)
def test_a_recorded_run_is_the_same_and_its_recording_says_what_it_saw(name: str, prediction_type: str) -> None:
    with_it, kept, own = run(name, prediction_type, recording=True)
    without, _, _ = run(name, prediction_type, recording=False)
    assert torch.equal(with_it.latents, without.latents)
    for e, x0 in zip(kept, own):
        assert e.guided is None, "plain guidance is recombined from the two answers, bit for bit"
        guided = e.outputs[0] + np.float32(7.5) * (e.outputs[1] - e.outputs[0])
        assert (guided_output(e) == guided).all()
        again = denoised(e)
        assert again is not None
        assert np.abs(again - x0.numpy()).max() <= 1e-5 * max(1.0, float(x0.abs().max()))
        noise = (model_input(e) - e.a * again) / e.s
        assert np.abs(e.a * again + e.s * noise - model_input(e)).max() <= 1e-5 * np.abs(model_input(e)).max()


@pytest.mark.parametrize("name", SCHEDULERS)
def test_the_scale_leads_from_the_models_input_to_the_schedulers_latents(name: str) -> None:
    lane = lane_of(name, "epsilon")
    while not lane.is_finished:
        latents = lane.latents[0]
        evaluation = lane.advance(nonlinear(lane))
        assert torch.allclose(evaluation.x_t * evaluation.scale, latents, rtol=1e-5, atol=1e-5)


def test_the_spectrum_finds_a_wave_and_is_flat_for_white_noise() -> None:
    y, x = np.mgrid[0:32, 0:48]
    wave = np.stack([np.cos(2 * np.pi * 5 * y / 32)] * 4)
    found = spectrum(wave)
    assert found is not None
    assert len(found) == 16
    assert int(np.argmax(found)) == 5 - 1
    assert spectrum(np.stack([np.cos(2 * np.pi * 9 * x / 48)])) is not None  # 6 cycles along 32
    across = spectrum(np.stack([np.cos(2 * np.pi * 9 * x / 48)]))
    assert across is not None
    assert int(np.argmax(across)) == 6 - 1
    white = spectrum(np.random.default_rng(1).normal(size=(4, 64, 64)))
    assert white is not None
    assert np.abs(np.log10(white)).max() < 0.3
    assert spectrum(None) is None


def test_a_copy_shares_no_memory() -> None:
    for dtype in (torch.float32, torch.float16, torch.bfloat16):
        tensor = torch.ones(3, dtype=dtype)
        copy = on_cpu(tensor)
        tensor.zero_()
        assert (copy == 1).all()
        assert copy.dtype == (np.float16 if dtype == torch.float16 else np.float32)
