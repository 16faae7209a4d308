"""Recordings for the noise viewer: their format, their memory, and that they are the lanes' own numbers."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from safetensors import deserialize
from safetensors.numpy import load

from studio.engine.engine import DiffusionEngine
from studio.engine.recorder import Recorded, Recorder
from studio.events import UnknownJob
from tests.engine.conftest import ask, outcome

FIELDS = {
    "index", "timestep", "sigma", "a", "s", "log_snr", "norm_x_t", "norm_denoised", "norm_noise_pred",
}  # fmt: skip


def header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    run: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["run"])
    return run


def evaluation(index: int, side: int = 8) -> Recorded:
    return Recorded(np.full((3, 4, side, side), index, np.float16), index, 999.0 - index, 1.0, 0.6, 0.8)


def test_a_run_is_recorded_evaluation_by_evaluation(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(num_images_per_prompt=2, num_inference_steps=5, scheduler="euler"), owner="anna")
    outcome(engine, job)
    data = engine.record(job, owner="anna", image=1)
    tensors, run = load(data), header(data)
    assert len(deserialize(data)) == 5
    for name in ("x_t", "denoised", "noise_pred"):
        assert tensors[name].shape == (5, 4, 8, 8)
        assert tensors[name].dtype == np.float16
    assert tensors["preview.weight"].shape == (192, 4, 3, 3)
    assert tensors["preview.bias"].shape == (192,)
    assert (run["job_id"], run["state"], run["total"], run["since"], run["seed"]) == (job, "finished", 5, 0, 6)
    assert (run["width"], run["height"], run["prompt"], run["scheduler"]) == (64, 64, "a red fox", "euler")
    assert [e["index"] for e in run["evaluations"]] == [0, 1, 2, 3, 4]
    for place, facts in enumerate(run["evaluations"]):
        assert set(facts) == FIELDS
        assert facts["a"] ** 2 + facts["s"] ** 2 == pytest.approx(1)
        assert facts["sigma"] == pytest.approx(facts["s"] / facts["a"])
        assert facts["log_snr"] == pytest.approx(-2 * np.log(facts["sigma"]), abs=1e-6)
        assert facts["norm_x_t"] == pytest.approx(float(np.linalg.norm(tensors["x_t"][place].astype(np.float32))))
        # x_t = a x0 + s noise, but for half precision: the random model's x0 goes up to 50
        again = facts["a"] * tensors["denoised"][place].astype(float) + facts["s"] * tensors["noise_pred"][place]
        assert np.abs(again - tensors["x_t"][place]).max() < 0.05


def test_a_reader_asks_for_what_is_new(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(num_inference_steps=5), owner="anna")
    outcome(engine, job)
    everything, later = (load(engine.record(job, owner="anna", since=since)) for since in (0, 3))
    assert (later["x_t"] == everything["x_t"][3:]).all()
    nothing = engine.record(job, owner="anna", since=99)
    assert load(nothing)["x_t"].shape == (0, 4, 8, 8)
    assert header(nothing)["evaluations"] == []


def test_what_was_not_recorded_is_unknown(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(), owner="anna")
    outcome(engine, job)
    for asked in ({"owner": "ben"}, {"owner": "anna", "image": 1}, {"owner": "anna", "image": -1}):
        with pytest.raises(UnknownJob):
            engine.record(job, **asked)  # type: ignore[arg-type]


def test_the_longest_unused_recording_goes_first() -> None:
    size = evaluation(0).arrays.nbytes
    recorder = Recorder(max_bytes=6 * size)
    for job in ("a", "b"):
        recorder.begin(job, 0, {})
        for index in range(3):
            recorder.add(job, 0, evaluation(index))
    assert recorder.get("a", 0, 0, "finished") is not None
    recorder.begin("c", 0, {})
    recorder.add("c", 0, evaluation(0))
    assert recorder.get("b", 0, 0, "finished") is None
    assert recorder.get("a", 0, 0, "finished") is not None
    recorder.add("b", 0, evaluation(3))
    assert recorder.get("b", 0, 0, "finished") is None, "a recording without its beginning would be a wrong one"


def test_recordings_that_hold_nothing_yet_are_bounded_too() -> None:
    recorder = Recorder()
    for number in range(600):
        recorder.begin(f"job {number}", 0, {})
    assert len(recorder._runs) == 512
    recorder.add("job 599", 0, evaluation(0))
    assert recorder.get("job 599", 0, 0, "running") is not None


def test_pure_noise_has_no_number_for_its_sigma() -> None:
    recorder = Recorder()
    recorder.begin("a", 0, {})
    recorder.add("a", 0, Recorded(np.zeros((3, 4, 8, 8), np.float16), 0, 999.0, float("inf"), 0.0, 1.0))
    data = recorder.get("a", 0, 0, "running")
    assert data is not None
    [facts] = header(data)["evaluations"]
    assert facts["sigma"] is None
    assert facts["log_snr"] is None
