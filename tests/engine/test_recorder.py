"""Recordings for the noise viewer: their format, their memory, and that they are the lanes' own numbers."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from safetensors.numpy import load

from studio.answered.engine import UnknownJob
from studio.answered.events import Finished
from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.engine.engine import DiffusionEngine
from studio.engine.recorded_evaluation import RecordedAttention, RecordedEvaluation
from studio.engine.viewer.overflow import Overflow
from studio.engine.viewer.record_format import LEAN_BYTES
from studio.engine.viewer.recorder import (
    AWAY_SECONDS,
    GROWING_SECONDS,
    IDLE_SECONDS,
    Recorder,
)
from tests.engine.conftest import EngineFactory, ask, outcome, pixels

FIELDS = {
    "index", "stage", "step", "timestep", "sigma", "a", "s", "log_snr", "scale", "guidance_scale", "captured", "ms",
    "rows", "x0_defined", "norm_x_t", "norm_denoised", "norm_noise_pred", "mean", "std", "spectrum", "step_equation",
}  # fmt: skip
GUIDANCE = {"norm_uncond", "norm_cond", "norm_difference", "cosine", "guidance_ratio"}
EQUATION = {"x_t", "x0", "x0_prev", "x0_prev2", "residual", "relative_residual", "fresh_noise", "exact"}


def header(data: bytes) -> dict[str, Any]:
    length = int.from_bytes(data[:8], "little")
    run: dict[str, Any] = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["run"])
    return run


def evaluation(index: int, side: int = 8, **changed: Any) -> RecordedEvaluation:
    values = np.random.default_rng(index).normal(size=(4, side, side)).astype(np.float32)
    known: dict[str, Any] = {
        "index": index, "stage": 1, "step": index, "timestep": 999.0 - index, "sigma": 4 / 3, "a": 0.6, "s": 0.8,
        "scale": 1.0, "prediction_type": "epsilon", "guidance_scale": 1.0, "latents": values, "outputs": values[None],
    }  # fmt: skip
    return RecordedEvaluation(**(known | changed))


GROUPS = {"down.8x8": (8, 8), "mid.4x4": (4, 4), "up.8x8": (8, 8)}
AFTER = np.zeros((4, 8, 8), np.float32)


def test_a_run_is_recorded_evaluation_by_evaluation(engine: DiffusionEngine) -> None:
    request = ask(num_images_per_prompt=2, num_inference_steps=5, scheduler="euler", guidance_scale=5.0)
    job = engine.submit(request, owner="anna")
    finished = outcome(engine, job)
    data = engine.record(job, owner="anna", image=1)
    tensors, run = load(data), header(data)
    assert set(tensors) == {
        "x_t",
        "model_cond",
        "model_difference",
        "latents",
        "picture",
        "preview.weight",
        "preview.bias",
    }
    for name in ("x_t", "model_cond", "model_difference"):
        assert tensors[name].shape == (5, 4, 8, 8)
        assert tensors[name].dtype == np.float16
    assert tensors["latents"].shape == (4, 8, 8)
    assert tensors["picture"].dtype == np.uint8
    assert (tensors["picture"] == pixels(engine, finished, 1)).all()
    assert tensors["preview.weight"].shape == (192, 4, 3, 3)
    assert tensors["preview.bias"].shape == (192,)
    assert (run["job_id"], run["state"], run["total"], run["since"], run["seed"]) == (job, "finished", 5, 0, 6)
    assert (run["width"], run["height"], run["prompt"], run["scheduler"]) == (64, 64, "a red fox", "euler")
    assert (run["prediction_type"], run["noise_schedule"], run["adds_noise"]) == ("epsilon", "normal", False)
    assert [e["index"] for e in run["evaluations"]] == [0, 1, 2, 3, 4]
    for place, facts in enumerate(run["evaluations"]):
        assert set(facts) == FIELDS | GUIDANCE
        assert set(facts["step_equation"]) == EQUATION
        assert facts["a"] ** 2 + facts["s"] ** 2 == pytest.approx(1)
        assert facts["sigma"] == pytest.approx(facts["s"] / facts["a"])
        assert facts["scale"] == pytest.approx(np.sqrt(1 + facts["sigma"] ** 2))
        assert facts["log_snr"] == pytest.approx(-2 * np.log(facts["sigma"]), abs=1e-6)
        x_t, cond, difference = (tensors[n][place].astype(float) for n in ("x_t", "model_cond", "model_difference"))
        guided = cond + (facts["guidance_scale"] - 1) * difference
        denoised = (x_t - facts["s"] * guided) / facts["a"]
        assert facts["norm_x_t"] == pytest.approx(np.linalg.norm(x_t), rel=1e-3)
        assert facts["norm_noise_pred"] == pytest.approx(np.linalg.norm(guided), rel=2e-3)
        assert facts["norm_denoised"] == pytest.approx(np.linalg.norm(denoised), rel=0.02)
        assert facts["norm_difference"] == pytest.approx(np.linalg.norm(difference), rel=2e-3)
        assert facts["mean"]["x_t"] == pytest.approx(x_t.mean(axis=(1, 2)), abs=1e-3)
        assert facts["std"]["noise_pred"] == pytest.approx(guided.std(axis=(1, 2)), rel=5e-3)
        # Euler goes straight: x_{t-1} = (sigma' / sigma) x_t + (1 - sigma' / sigma) x0
        equation = facts["step_equation"]
        following = run["evaluations"][place + 1]["sigma"] if place < 4 else 0.0
        assert equation["x_t"] == pytest.approx(following / facts["sigma"], abs=1e-4)
        assert equation["x0"] == pytest.approx(1 - following / facts["sigma"], abs=1e-4)
        assert equation["exact"]
        assert equation["x0_prev"] is None
        assert equation["fresh_noise"] is None
    last = tensors["latents"].astype(float)
    assert np.abs(last - denoised).max() < 0.1, "the last step of Euler ends at predicted x0"


def test_without_guidance_there_is_one_answer(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(guidance_scale=1.0), owner="anna")
    outcome(engine, job)
    data = engine.record(job, owner="anna")
    assert "model_difference" not in load(data)
    assert "negative_prompt" not in header(data)["tokens"]
    for facts in header(data)["evaluations"]:
        assert facts["guidance_scale"] == 1.0
        assert not GUIDANCE & set(facts)


def test_the_recording_holds_the_tokens(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(prompt="a (red:1.5) [fox:cat:2]"), owner="anna")
    outcome(engine, job)
    first, second = header(engine.record(job, owner="anna"))["tokens"]["prompt"]
    assert (first["until"], second["until"]) == (2, 4)
    [chunk] = first["chunks"]
    assert {len(values) for name, values in chunk.items() if name != "others"} == {77}
    assert chunk["text"][1:4] == ["a", "red", "fox"]
    assert chunk["pieces"][2] == "red</w>"
    assert chunk["words"][:5] == [None, 0, 1, 2, None]
    assert chunk["weights"][:4] == [1.0, 1.0, 1.5, 1.0]
    assert chunk["kinds"][0] == "begin"
    assert chunk["kinds"][4:6] == ["end", "padding"]
    assert second["chunks"][0]["text"][3] == "cat"


def test_a_reader_asks_for_what_is_new(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(num_inference_steps=5), owner="anna")
    outcome(engine, job)
    everything, later = (load(engine.record(job, owner="anna", since=since)) for since in (0, 3))
    assert (later["x_t"] == everything["x_t"][3:]).all()
    assert "preview.weight" not in later, "sent once"
    nothing = engine.record(job, owner="anna", since=99)
    assert load(nothing)["x_t"].shape == (0, 4, 8, 8)
    assert header(nothing)["evaluations"] == []


def test_what_was_not_recorded_is_unknown(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(), owner="anna")
    outcome(engine, job)
    for asked in ({"owner": "ben"}, {"owner": "anna", "image": 1}, {"owner": "anna", "image": -1}):
        with pytest.raises(UnknownJob):
            engine.record(job, **asked)  # type: ignore[arg-type]


def test_without_room_on_disk_the_longest_unused_recording_goes_first() -> None:
    size = evaluation(0).nbytes
    recorder = Recorder(max_bytes=6 * size + 3 * AFTER.nbytes, overflow=Overflow(max_bytes=0))
    for job in ("a", "b"):
        recorder.begin(job, 0, {})
        for index in range(3):
            recorder.add(job, 0, evaluation(index), AFTER)
    assert recorder.get("a", 0, 0, "finished") is not None
    recorder.begin("c", 0, {})
    recorder.add("c", 0, evaluation(0), AFTER)
    assert recorder.get("b", 0, 0, "finished") is None
    assert recorder.get("a", 0, 0, "finished") is not None
    recorder.add("b", 0, evaluation(3), AFTER)
    assert recorder.get("b", 0, 0, "finished") is None, "a recording without its beginning would be a wrong one"


def full_run(recorder: Recorder, job: str, owner: str = "", evaluations: int = 3) -> bytes:
    """A complete recording with all that one can hold, as its reader gets it."""
    maps = {"attention.down.8x8": np.random.default_rng(3).random((9, 8, 8)).astype(np.float16)}
    recorder.begin(job, 0, {"total": evaluations}, owner=owner)
    for index in range(evaluations):
        guided = np.full((4, 8, 8), index, np.float32) if index % 2 else None
        made = evaluation(index, attention=RecordedAttention(maps, 0, ()), guided=guided)
        recorder.add(job, 0, made, AFTER)
    data = recorder.get(job, 0, 0, "finished")
    assert data is not None
    return data


def folder(overflow: Overflow) -> Path:
    assert overflow._folder is not None
    return Path(overflow._folder.name)


def test_the_longest_unused_recording_goes_to_disk_and_comes_back_as_it_was() -> None:
    overflow = Overflow(left_free=0)
    whole = Recorder()
    full_run(whole, "a")
    recorder = Recorder(max_bytes=int(2.5 * whole._bytes), overflow=overflow)
    known = {job: full_run(recorder, job) for job in ("a", "b", "c", "d")}
    assert recorder._bytes <= recorder._max_bytes
    assert [run.away for run in recorder._runs.values()] == [True, True, False, False]
    assert len(list(folder(overflow).iterdir())) == 2
    for job in ("a", "b", "c", "d", "a"):
        assert recorder.get(job, 0, 0, "finished") == known[job]
        assert recorder._bytes <= recorder._max_bytes
    recorder.get("b", 0, 0, "finished")
    written = sorted(one.stat().st_mtime_ns for one in folder(overflow).iterdir())
    recorder.get("c", 0, 0, "finished")
    assert sorted(one.stat().st_mtime_ns for one in folder(overflow).iterdir()) == written, "nothing is written twice"
    place = folder(overflow)
    recorder.close()
    assert not place.exists()


def test_a_branch_finds_its_run_on_disk(make_engine: EngineFactory) -> None:
    engine = make_engine()
    jobs = [engine.submit(ask(seed=seed, exact=True), owner="anna") for seed in (1, 2)]
    for job in jobs:
        assert isinstance(outcome(engine, job), Finished)
    known = load(engine.record(jobs[0], owner="anna"))
    engine.record(jobs[1], owner="anna")
    with engine._recorder._lock:
        assert engine._recorder._put_away(engine._recorder._runs[jobs[0], 0])
    child = engine.branch(jobs[0], Branch(evaluation=2), owner="anna")
    assert isinstance(outcome(engine, child), Finished)
    again = load(engine.record(child, owner="anna"))
    assert all((again[name] == values).all() for name, values in known.items())
    place = folder(engine._recorder._overflow)
    assert place.exists()
    engine.close()
    assert not place.exists()


def test_what_is_on_disk_goes_with_its_visitor_and_is_bounded() -> None:
    now = 0.0
    probe = Recorder()
    full_run(probe, "a")
    size = probe._bytes
    overflow = Overflow(max_bytes=2 * size + size // 2, left_free=0)
    recorder = Recorder(max_bytes=int(1.5 * size), overflow=overflow, clock=lambda: now)
    for job in ("a", "b", "c", "d"):
        full_run(recorder, job, owner=job)
    assert recorder.get("a", 0, 0, "finished") is None, "the oldest makes room on disk too"
    assert overflow.bytes <= 2.5 * size
    recorder.visitor("b", here=True)
    recorder.visitor("b", here=False)
    now = AWAY_SECONDS + 1
    recorder.sweep()
    assert recorder.get("b", 0, 0, "finished") is None
    assert recorder.get("c", 0, 0, "finished") is not None
    now += IDLE_SECONDS + 1
    recorder.sweep()
    assert not list(folder(overflow).iterdir())
    assert (recorder._bytes, overflow.bytes) == (0, 0)


def test_a_recording_that_grows_is_not_put_on_disk_at_every_step() -> None:
    now = 0.0
    size = evaluation(0).nbytes
    recorder = Recorder(max_bytes=3 * size + 2 * AFTER.nbytes, overflow=Overflow(left_free=0), clock=lambda: now)
    for job in ("a", "b"):
        recorder.begin(job, 0, {"total": 9})
    recorder.add("a", 0, evaluation(0), AFTER)
    for index in range(4):
        recorder.add("b", 0, evaluation(index), AFTER)
    assert recorder.get("a", 0, 0, "running") is None
    recorder.begin("c", 0, {"total": 9})
    now += GROWING_SECONDS + 1
    for index in range(3):
        recorder.add("c", 0, evaluation(index), AFTER)
    assert recorder._runs["b", 0].away, "it was stopped, or waits: it comes back when it goes on"
    now += GROWING_SECONDS + 1
    recorder.add("b", 0, evaluation(len(recorder._runs["b", 0].evaluations)), AFTER)
    assert not recorder._runs["b", 0].away
    recorder.close()


@pytest.mark.parametrize("gone", ["deleted", "damaged"])
def test_a_file_that_somebody_took_away_is_a_recording_that_is_gone(gone: str) -> None:
    recorder = Recorder(overflow=Overflow(left_free=0))
    full_run(recorder, "a")
    assert recorder._put_away(recorder._runs["a", 0])
    [file] = folder(recorder._overflow).iterdir()
    if gone == "deleted":
        file.unlink()
    else:
        file.write_bytes(b"nonsense")
    assert recorder.get("a", 0, 0, "finished") is None
    assert recorder._bytes == 0


def test_a_large_run_is_sent_in_eight_bits_to_whoever_agrees_and_one_evaluation_in_full() -> None:
    recorder = Recorder(max_bytes=2**30)
    side = int((LEAN_BYTES / (3 * 2 * 4 * 60)) ** 0.5) + 2
    recorder.begin("a", 0, {"total": 60})
    after = np.zeros((4, side, side), np.float32)
    maps = {"attention.down.8x8": np.random.default_rng(3).random((9, 8, 8)).astype(np.float16)}
    for index in range(2):
        two = np.random.default_rng(index).normal(size=(2, 4, side, side)).astype(np.float32)
        seen = RecordedAttention(maps, 0, ())
        recorder.add("a", 0, evaluation(index, side, outputs=two, guidance_scale=5.0, attention=seen), after)
    full, lean = (recorder.get("a", 0, 0, "running", lean=lean) for lean in (False, True))
    assert full is not None
    assert lean is not None
    assert (header(full)["bits"], header(lean)["bits"]) == (16, 8)
    assert len(lean) < 0.52 * len(full)
    exact, small = load(full), load(lean)
    assert {name for name in small if not name.endswith(".range")} == set(exact)
    for name, values in exact.items():
        low, high = (small[f"{name}.range"][..., k][..., None, None] for k in (0, 1))
        found = low + small[name] / 255 * (high - low)
        wanted = values.astype(float)
        error = np.sqrt(((found - wanted) ** 2).mean())
        assert error < 1.2e-2 * wanted.std(), name  # a 255th of about eight standard deviations, over sqrt(12)
    one = recorder.get("a", 0, 1, "running", until=2)
    assert one is not None
    assert [e["index"] for e in header(one)["evaluations"]] == [1]
    assert (load(one)["x_t"][0] == exact["x_t"][1]).all()
    empty = recorder.get("a", 0, 2, "running", lean=True)
    assert empty is not None
    assert load(empty)["x_t"].shape == (0, 4, side, side)
    recorder.begin("b", 0, {"total": 2})
    recorder.add("b", 0, evaluation(0), AFTER)
    ordinary = recorder.get("b", 0, 0, "running", lean=True)
    assert ordinary is not None
    assert (header(ordinary)["bits"], load(ordinary)["x_t"].dtype) == (16, np.float16)


def test_a_recording_goes_when_its_visitor_has_left() -> None:
    now = 0.0
    recorder = Recorder(clock=lambda: now)
    for job in ("a", "b"):
        recorder.begin(job, 0, {})
        recorder.add(job, 0, evaluation(0), AFTER)
    now = IDLE_SECONDS
    assert recorder.get("a", 0, 0, "finished") is not None
    now += 1
    recorder.sweep()
    assert recorder.get("b", 0, 0, "finished") is None
    assert recorder.get("a", 0, 0, "finished") is not None
    assert recorder._bytes == evaluation(0).nbytes + AFTER.nbytes
    now += IDLE_SECONDS + 1
    recorder.sweep()
    assert recorder._bytes == 0


def test_a_visitor_who_closes_the_page_takes_the_recordings_along() -> None:
    now = 0.0
    recorder = Recorder(clock=lambda: now)
    for job, owner in (("a", "ann"), ("b", "ben"), ("c", "api")):
        recorder.begin(job, 0, {}, owner=owner)
        recorder.add(job, 0, evaluation(0), AFTER)
    for owner in ("ann", "ben"):
        recorder.visitor(owner, here=True)
        recorder.visitor(owner, here=False)
    now = AWAY_SECONDS - 1
    recorder.visitor("ann", here=True)  # a reload
    recorder.sweep()
    assert [recorder.get(job, 0, 0, "finished") is not None for job in ("a", "c")] == [True, True]
    now = AWAY_SECONDS + 1
    recorder.sweep()
    there = [recorder.get(job, 0, 0, "finished") is not None for job in ("a", "b", "c")]
    assert there == [True, False, True], "an API has no page that could be closed"
    recorder.visitor("ann", here=False)
    now += AWAY_SECONDS + 1
    recorder.sweep()
    assert recorder.get("a", 0, 0, "finished") is None
    assert not recorder._away
    assert recorder._bytes == evaluation(0).nbytes + AFTER.nbytes


def test_a_run_that_is_too_large_alone_keeps_what_fits_and_says_so() -> None:
    maps = {"attention.down.8x8": np.ones((9, 8, 8), np.float16)}
    looked = [evaluation(k, attention=RecordedAttention(maps, 0, ())) for k in range(20)]
    plain, whole = evaluation(0).nbytes, looked[0].nbytes
    recorder = Recorder(max_bytes=2 * whole + 7 * plain + AFTER.nbytes, overflow=Overflow(max_bytes=0))
    recorder.begin("other", 0, {"total": 1})
    recorder.add("other", 0, evaluation(0), AFTER)
    recorder.begin("a", 0, {"total": 20})
    afters = [np.full((4, 8, 8), k, np.float32) for k in range(20)]
    for k in range(7):
        recorder.add("a", 0, looked[k], afters[k])
    data = recorder.get("a", 0, 0, "running")
    assert data is not None
    assert header(data)["kept"] == {"evaluations": 7, "attention_every": 2, "full": False}
    for k in range(7, 20):
        recorder.add("a", 0, looked[k], afters[k])
        assert recorder._bytes <= recorder._max_bytes
    assert recorder.get("other", 0, 0, "finished") is None, "others make room first"
    data = recorder.get("a", 0, 0, "finished")
    assert data is not None
    run, tensors = header(data), load(data)
    many = len(run["evaluations"])
    assert run["kept"] == {"evaluations": 9, "attention_every": run["kept"]["attention_every"], "full": True}
    assert many == 9
    seen = [e["index"] for e in run["evaluations"] if "attention_text" in e]
    assert seen == list(range(0, many, run["kept"]["attention_every"]))
    assert tensors["attention.down.8x8"].shape == (len(seen), 9, 8, 8)
    assert "latents" not in tensors, "its end is not known"
    for index in range(many):
        assert (tensors["x_t"][index] == looked[index].latents.astype(np.float16)).all()
    held = recorder._runs["a", 0]
    assert held.after is not None
    assert (held.after == afters[many - 1]).all()


def test_recordings_that_hold_nothing_yet_are_bounded_too() -> None:
    recorder = Recorder()
    for number in range(600):
        recorder.begin(f"job {number}", 0, {})
    assert len(recorder._runs) == 512
    recorder.add("job 599", 0, evaluation(0), AFTER)
    assert recorder.get("job 599", 0, 0, "running") is not None


def test_pure_noise_has_no_number_for_its_sigma_and_says_nothing_of_x0() -> None:
    recorder = Recorder()
    recorder.begin("a", 0, {})
    recorder.add("a", 0, evaluation(0, sigma=float("inf"), a=0.0, s=1.0), AFTER)
    data = recorder.get("a", 0, 0, "running")
    assert data is not None
    [facts] = header(data)["evaluations"]
    for name in ("sigma", "log_snr", "norm_denoised", "step_equation"):
        assert facts[name] is None, name
    assert facts["x0_defined"] is False
    assert facts["norm_noise_pred"] == pytest.approx(facts["norm_x_t"])


def test_a_guided_output_that_is_no_plain_guidance_is_kept() -> None:
    recorder = Recorder()
    recorder.begin("a", 0, {})
    guided = np.ones((4, 8, 8), np.float32)
    recorder.add("a", 0, evaluation(0), AFTER)
    recorder.add("a", 0, evaluation(1, guided=guided), AFTER)
    data = recorder.get("a", 0, 0, "running")
    assert data is not None
    assert [e["captured"] for e in header(data)["evaluations"]] == [False, True]
    assert (load(data)["model_guided"] == guided[None]).all()
    assert header(data)["evaluations"][1]["norm_noise_pred"] == pytest.approx(16.0)


def test_fifty_evaluations_of_the_built_in_size_are_less_than_two_megabytes() -> None:
    recorder = Recorder()
    recorder.begin("a", 0, {"total": 50}, (np.zeros((192, 4, 3, 3), np.float32), np.zeros(192, np.float32)))
    two = np.random.default_rng(0).normal(size=(2, 4, 16, 16)).astype(np.float32)
    # The built-in model's groups, and a prompt that fills its 77 places.
    maps = {f"attention.{group}": np.zeros((77, *size), np.float16) for group, size in GROUPS.items()}
    for index in range(50):
        seen = RecordedAttention(maps, 0, ())
        made = evaluation(index, side=16, outputs=two, guidance_scale=5.0, attention=seen)
        recorder.add("a", 0, made, two[0])
    data = recorder.get("a", 0, 0, "finished")
    assert data is not None
    assert len(data) < 2 * 10**6


def test_attention_is_recorded_and_changes_nothing(engine: DiffusionEngine) -> None:
    request = ask(prompt="a (red:1.2) [fox:cat sea:2]", negative_prompt="snow " * 80, width=96, height=64)
    job = engine.submit(request, owner="anna", attention=True)
    watched = outcome(engine, job)
    plain_job = engine.submit(ask(**(request.__dict__ | {"exact": True})), owner="anna")
    outcome(engine, plain_job)
    data, plain = engine.record(job, owner="anna"), engine.record(plain_job, owner="anna")
    tensors, run = load(data), header(data)
    assert isinstance(watched, Finished)
    assert watched.exact
    for name, values in load(plain).items():
        assert (tensors[name] == values).all(), name
    assert header(plain)["attention_rows"] is None
    assert (header(plain)["attention_most_places"], run["attention_most_places"]) == (None, 1024), "this is a CPU"
    names = [n for n in tensors if n.startswith("attention.")]
    assert sorted(names) == ["attention.down.4x6", "attention.mid.4x6", "attention.up.4x6"]
    rows = run["attention_rows"]
    assert [len(r) for r in rows] == [3 + 3 + 3, 3 + 4 + 3], "begin, content, end, padding, and an empty chunk's three"
    assert rows[0][4:7] == [{"chunk": 0, "position": 4}, {"chunk": 0, "position": None}, {"chunk": 1, "position": 0}]
    assert [e["attention_text"] for e in run["evaluations"]] == [0, 0, 1, 1]
    for name in names:
        assert tensors[name].shape == (4, 10, 4, 6)
        assert np.abs(tensors[name].astype(float).sum(axis=1) - 1).max() < 2e-3
        assert not tensors[name][0, 9].any()
        assert tensors[name][2, 9].all()
    layer = run["attention_layers"][0]
    assert (layer["height"], layer["width"], layer["tokens"], layer["heads"]) == (4, 6, 154, 2)


def test_nothing_is_recorded_of_a_run_that_nobody_can_come_back_to(make_engine: EngineFactory) -> None:
    engine = make_engine()
    comparison = Comparison.parse(
        {"prompt": "a fox", "checkpoint": "tiny", "width": 64, "height": 64, "num_inference_steps": 2, "seed": 1}
        | {"preview": "fast", "x": "seed", "x_values": "1, 2", "y": "", "y_values": ""}
    )
    for n in range(10):
        job = engine.submit(ask(num_inference_steps=2), owner=f"caller {n}", ephemeral=True)
        assert isinstance(outcome(engine, job, f"caller {n}"), Finished)
        with pytest.raises(UnknownJob):
            engine.record(job, owner=f"caller {n}")
    job = engine.submit_comparison(comparison, owner="a caller", ephemeral=True)
    asyncio.run(_end(engine, job))
    assert not engine._recorder._runs
    assert engine._recorder._bytes == 0
    hers = engine.submit(ask(num_inference_steps=2), owner="anna")
    outcome(engine, hers)
    assert list(engine._recorder._runs) == [(hers, 0)]


async def _end(engine: DiffusionEngine, job: str) -> None:
    async for _ in engine.watch_any(job, owner="a caller"):
        pass


def test_the_finished_picture_counts_goes_to_disk_and_comes_back_and_is_sent_once_the_job_has_ended() -> None:
    picture = np.random.default_rng(1).integers(0, 256, (64, 64, 3), dtype=np.uint8)
    each = evaluation(0).nbytes + AFTER.nbytes + picture.nbytes
    recorder = Recorder(max_bytes=each)
    for job in ("a", "b"):
        recorder.begin(job, 0, {"total": 1})
        recorder.add(job, 0, evaluation(0), AFTER)
        recorder.finish(job, 0, picture)  # b's puts a on disk, and reading a puts b there
    for job in ("a", "b"):
        data = recorder.get(job, 0, 0, "finished")
        assert data is not None
        assert (load(data)["picture"] == picture).all()
    running = recorder.get("a", 0, 0, "running")
    assert running is not None
    assert "picture" not in load(running), "another image of its job is being made"
    recorder.finish("gone", 0, picture)
    small = Recorder(max_bytes=each - 1)
    small.begin("a", 0, {"total": 1})
    small.add("a", 0, evaluation(0), AFTER)
    small.finish("a", 0, picture)
    left_out = small.get("a", 0, 0, "finished")
    assert left_out is not None
    assert "picture" not in load(left_out)
    recorder.close()
