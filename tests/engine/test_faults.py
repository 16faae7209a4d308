"""What goes wrong ends at the job it belongs to, with a sentence, and the next job works."""

from __future__ import annotations

import errno
import json
import logging
import os
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from studio.answered.events import Event, Failed, Finished, Started
from studio.asked.problems import InvalidRequest
from studio.diffusion import denoisers, vae
from studio.diffusion.lane import Lane
from studio.engine import conditioning, executor, live_previews, presenter
from studio.engine.engine import DiffusionEngine
from studio.engine.previews import Frame, PreviewDecoders
from studio.engine.viewer.recorder import Recorder
from studio.picture.gallery import Gallery
from tests.engine.conftest import Calls, EngineFactory, OneThread, ask, finish, outcome, pixels, run
from tests.engine.test_engine import together
from tests.tiny import save_tiny_checkpoint


class Broken(Exception):
    """Nobody expects this one."""


def raising(error: BaseException, when: Callable[[int], bool] = lambda number: True) -> Callable[..., Any]:
    """A function that counts its calls and raises at those."""
    seen = iter(range(10**9))

    def wrap(real: Callable[..., Any]) -> Callable[..., Any]:
        def call(*arguments: Any, **named: Any) -> Any:
            if when(next(seen)):
                raise error
            return real(*arguments, **named)

        return call

    return wrap


PLACES: list[tuple[object, str]] = [
    (conditioning, "encode_prompts"),
    (executor, "start_lane"),
    (denoisers, "call_unet"),
    (Lane, "call"),
    (Lane, "advance"),
    (PreviewDecoders, "decode"),
    (Frame, "preview"),
    (Recorder, "begin"),
    (Recorder, "add"),
    (vae, "to_pictures"),
    (presenter.metadata, "picture_info"),
    (Gallery, "save"),
]


@pytest.mark.parametrize(("owner", "name"), PLACES, ids=[name for _, name in PLACES])
@pytest.mark.parametrize("number", [0, 2])
def test_an_error_at_any_stage_fails_that_job_alone(
    engine: DiffusionEngine,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
    owner: object,
    name: str,
    number: int,
) -> None:
    monkeypatch.setattr(live_previews, "PREVIEW_SECONDS", 0.0)  # a frame at a time: none waits for the next
    golden = pixels(engine, finish(engine, ask(seed=77)))
    engine_prompts = ask(prompt=f"a fox {name} {number}", num_images_per_prompt=3)  # not in the prompt cache
    broken = raising(Broken(f"in {name}"), lambda call: call == number)(getattr(owner, name))
    with monkeypatch.context() as patch:
        patch.setattr(owner, name, broken)
        first = run(engine, engine_prompts)[-1]
    if name == "encode_prompts" and number == 2:  # encoded once for all images
        assert isinstance(first, Finished)
        return
    if name == "call_unet" and isinstance(first, Finished):
        assert "lanes failed: in call_unet" in caplog.text  # a shared call: each lane was asked again alone
        return
    assert isinstance(first, Failed), first
    assert first.kind == "internal"
    assert "/" not in first.message
    assert "Broken" not in first.message
    [record] = [r for r in caplog.records if r.levelno == logging.ERROR]
    assert first.error_id in record.getMessage()
    assert record.exc_info is not None
    assert (pixels(engine, finish(engine, ask(seed=77))) == golden).all()


@pytest.mark.parametrize("number", range(4))
def test_an_error_at_every_step_fails_the_job_and_the_next_works(
    engine: DiffusionEngine, calls: Calls, number: int
) -> None:
    golden = pixels(engine, finish(engine, ask()))
    calls.rows.clear()

    def fail(call: int) -> None:
        if call == number:
            raise Broken

    calls.before = fail
    last = run(engine, ask())[-1]
    assert isinstance(last, Failed)
    calls.before = lambda call: None
    assert (pixels(engine, finish(engine, ask())) == golden).all()


def test_one_bad_lane_in_a_shared_call_fails_alone(
    engine: DiffusionEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    requests = [ask(seed=k) for k in range(4)]
    alone = [pixels(engine, finish(engine, r)) for r in requests]
    real = calls._real

    def choosy(components: Any, asked: Any, *rest: Any) -> torch.Tensor:
        answer = real(components, asked, *rest)
        # The third visitor's noise: the model stumbles over it, in company and alone.
        noise = torch.randn((1, 4, 8, 8), generator=torch.Generator().manual_seed(2))
        if any(torch.allclose(c.sample[0], noise[0], atol=0.01) for c in asked):
            raise Broken
        return answer

    monkeypatch.setattr(calls, "_real", choosy)
    last = together(engine, calls, requests)
    assert [type(e) for e in last] == [Finished, Finished, Failed, Finished]
    for k in (0, 1, 3):
        assert (pixels(engine, last[k], owner=f"visitor {k}") - alone[k]).max() <= 1


# --------------------------------------------------------------------------------------------------- not a number


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("number", [0, 3])
def test_a_model_that_answers_no_number_never_makes_a_picture(
    engine: DiffusionEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch, value: float, number: int
) -> None:
    real = calls._real

    def sick(components: Any, asked: Any, *rest: Any) -> torch.Tensor:
        answer = real(components, asked, *rest).clone()
        if len(calls.rows) - 1 == number:
            answer[0, 0, 0, 0] = value
        return answer

    monkeypatch.setattr(calls, "_real", sick)
    last = run(engine, ask())[-1]
    assert isinstance(last, Failed)
    assert last.kind == "not_finite"
    assert "--dtype fp32" in last.message


def test_a_scheduler_that_leaves_the_range_of_numbers_is_named_and_not_the_model(
    engine: DiffusionEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = calls._real
    with monkeypatch.context() as patch:
        patch.setattr(calls, "_real", lambda *asked: real(*asked) * 0 + 3e38)  # finite, and times sigma it is not
        last = run(engine, ask(scheduler="euler", guidance_scale=1.0))[-1]
    assert isinstance(last, Failed)
    assert last.kind == "not_finite"
    assert "Euler" in last.message
    assert "evaluation 1 of" in last.message
    assert "--dtype" not in last.message
    finish(engine, ask(seed=2))


def test_prompt_scheduling_beyond_all_measure_is_the_visitors_error(engine: DiffusionEngine) -> None:
    prompt = " ".join(f"[x:y:{k}]" for k in range(1, 150)) + "red fox snow " * 500
    last = run(engine, ask(prompt=prompt, num_inference_steps=150))[-1]
    assert isinstance(last, Failed)
    assert last.kind == "bad_request"
    assert "prompt:" in last.message
    finish(engine, ask())


def test_only_the_sick_lane_of_a_shared_call_fails(
    engine: DiffusionEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = calls._real

    def sick(components: Any, asked: Any, *rest: Any) -> torch.Tensor:
        answer = real(components, asked, *rest).clone()
        if len(asked) == 3:
            answer[2] = float("nan")  # the second lane's first branch
        return answer

    monkeypatch.setattr(calls, "_real", sick)
    last = together(engine, calls, [ask(seed=k) for k in range(3)])
    assert sorted(type(e).__name__ for e in last) == ["Failed", "Finished", "Finished"]


def test_a_vae_that_answers_no_number_is_told(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    def sick(*_: Any) -> torch.Tensor:
        raise vae.NotFinite("the decoded picture holds values that are not numbers", "vae")

    with monkeypatch.context() as patch:
        patch.setattr(vae, "decode", sick)
        last = run(engine, ask())[-1]
    assert isinstance(last, Failed)
    assert last.kind == "not_finite"
    assert "VAE" in last.message
    finish(engine, ask())


def test_a_scheduler_that_strays_by_itself_is_named_before_and_after(
    make_engine: EngineFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """PNDM with few steps over cosine betas, whatever the model says; not its VAE and not the model."""
    folder = save_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "tiny")
    config = folder / "scheduler" / "scheduler_config.json"
    betas = {"beta_schedule": "squaredcos_cap_v2", "timestep_spacing": "trailing"}
    config.write_text(json.dumps(json.loads(config.read_text()) | betas))
    engine = make_engine(models_dirs=[tmp_path / "models"])

    def notes(**fields: Any) -> str:
        events = run(engine, ask(noise_schedule="as_configured", **fields))
        assert isinstance(events[-1], Finished)
        return " ".join(next(event for event in events if isinstance(event, Started)).notes)

    assert "PNDM does not hold on these steps" in notes(scheduler="pndm", num_inference_steps=4)
    assert "does not hold" not in notes(scheduler="pndm", num_inference_steps=20)
    assert "does not hold" not in notes(scheduler="euler", num_inference_steps=4)

    def sick(*_: Any) -> torch.Tensor:
        raise vae.NotFinite("the decoded picture holds values that are not numbers", "vae")

    monkeypatch.setattr(vae, "decode", sick)
    last = run(engine, ask(noise_schedule="as_configured", scheduler="pndm", num_inference_steps=4))[-1]
    assert isinstance(last, Failed)
    assert "the scheduler left the range of numbers in the 5 evaluations by PNDM" in last.message


# -------------------------------------------------------------------------------------------------------- memory


class Full(RuntimeError):
    """What the fake device says when a tensor does not fit."""


class SmallDevice(OneThread):
    def is_out_of_memory(self, error: BaseException) -> bool:
        return isinstance(error, Full)


def test_a_call_too_large_for_the_memory_is_made_smaller(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine(make_device=SmallDevice)
    alone = [pixels(engine, finish(engine, ask(seed=k))) for k in range(4)]
    calls.rows.clear()

    def fits(call: int) -> None:
        if calls.rows[-1] > 4:
            raise Full

    calls.before = fits
    last = together(engine, calls, [ask(seed=k) for k in range(4)])
    assert all(isinstance(e, Finished) for e in last)
    for k, finished in enumerate(last):
        assert (pixels(engine, finished, owner=f"visitor {k}") - alone[k]).max() <= 1
    assert sum(rows > 4 for rows in calls.rows) <= 2, "it learns"


@pytest.mark.parametrize("place", ["load", "call", "decode"])
def test_out_of_memory_says_what_to_lower_and_the_next_job_works(
    make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch, place: str
) -> None:
    from studio.checkpoints import loader

    engine = make_engine(make_device=SmallDevice)
    target, name = {
        "load": (loader, "fill"),
        "call": (denoisers, "call_unet"),
        "decode": (vae, "decode"),
    }[place]
    with monkeypatch.context() as patch:
        patch.setattr(target, name, raising(Full("4 GB"))(getattr(target, name)))
        last = run(engine, ask(width=512, height=512, num_inference_steps=1))[-1]
    assert isinstance(last, Failed)
    assert last.kind == "out_of_memory"
    if place == "load":
        assert last.message.startswith("The checkpoint tiny needs about")
        assert "Start the studio with --dtype fp16" in last.message
    else:
        assert "512x512" in last.message
        assert "Lower the width and height" in last.message
    finish(engine, ask())


class NearlyFull(OneThread):
    """A CPU whose system would rather kill the studio than refuse memory."""

    def free_bytes(self) -> int:
        return 20 * 2**20


def test_a_picture_that_would_not_fit_a_cpu_is_not_begun(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine(make_device=NearlyFull)
    last = run(engine, ask(width=2048, height=2048))[-1]
    assert isinstance(last, Failed)
    assert last.kind == "out_of_memory"
    assert "2048x2048" in last.message
    assert calls.rows == []
    finish(engine, ask())


# ---------------------------------------------------------------------------------------------------------- disk


def assert_no_leftovers(outputs: Path) -> None:
    assert [f for f in outputs.rglob("*") if f.suffix in (".part", ".png")] == []


def test_a_full_disk_is_told_and_leaves_no_file(make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine()
    with monkeypatch.context() as patch:
        patch.setattr("studio.picture.gallery.os.fsync", raising(OSError(errno.ENOSPC, "No space left"))(os.fsync))
        last = run(engine, ask())[-1]
    assert isinstance(last, Failed)
    assert last.kind == "disk"
    assert "full" in last.message
    assert_no_leftovers(engine._gallery.outputs_dir)
    finish(engine, ask())


def test_an_outputs_folder_that_is_none_is_told(make_engine: EngineFactory, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("not a folder")
    engine = make_engine(gallery=Gallery(tmp_path / "file"))
    last = run(engine, ask())[-1]
    assert isinstance(last, Failed)
    assert last.kind == "disk"
    assert str(tmp_path) not in last.message
    (tmp_path / "file").unlink()
    finish(engine, ask())


SAVES_SLOWLY = """
import os, sys, time
from pathlib import Path
import studio.picture.gallery
from studio.engine.engine import DiffusionEngine
from studio.picture.gallery import Gallery
from studio.asked.problems import InvalidRequest
from studio.asked.requests import TextToImage

def slow(descriptor):
    print("saving", flush=True)
    time.sleep(600)

studio.picture.gallery.os.fsync = slow
engine = DiffusionEngine([Path(sys.argv[1])], Gallery(sys.argv[2]), preload=None)
engine.start()
engine.submit(TextToImage(prompt="", checkpoint="tiny", num_inference_steps=1), owner="anna")
time.sleep(600)
"""


@pytest.mark.slow  # a second process imports torch
@pytest.mark.skipif(os.name == "nt", reason="no SIGKILL there")
def test_kill_while_saving_leaves_no_broken_picture(make_engine: EngineFactory, models_dir: Path) -> None:
    engine = make_engine()
    outputs = engine._gallery.outputs_dir
    command = [sys.executable, "-c", SAVES_SLOWLY, str(models_dir), str(outputs)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "saving\n"
        child.send_signal(signal.SIGKILL)
    assert list(outputs.rglob("*.png")) == []
    picture = finish(engine, ask()).pictures[0]
    path = engine._gallery.path(picture.id, "anna")
    assert path is not None
    with Image.open(path) as image:
        image.load()


# ----------------------------------------------------------------------------------------------------- checkpoint


def test_a_broken_checkpoint_fails_its_jobs_with_its_reason(make_engine: EngineFactory, tmp_path: Path) -> None:
    from tests.tiny import save_tiny_checkpoint

    good = save_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "good")
    bad = save_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "bad")
    (bad / "tokenizer" / "tokenizer.json").write_text("{}")  # what a tokenizer's files hold is read at the load alone
    engine = make_engine(models_dirs=[tmp_path / "models"], preload="bad")
    job = engine.submit(ask(checkpoint="bad"), owner="anna")
    last = outcome(engine, job)
    assert isinstance(last, Failed)
    assert last.kind == "bad_checkpoint"
    assert last.message == "The tokenizer's files cannot be read."
    assert str(tmp_path) not in last.message
    finish(engine, ask(checkpoint=good.name))


def test_a_checkpoint_whose_vae_is_cut_short_is_refused_with_the_reason(
    make_engine: EngineFactory, tmp_path: Path
) -> None:
    from tests.tiny import save_tiny_checkpoint

    good = save_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "good")
    bad = save_tiny_checkpoint(tmp_path / "models" / "checkpoints" / "bad")
    weights = bad / "vae" / "diffusion_pytorch_model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    engine = make_engine(models_dirs=[tmp_path / "models"], preload="good")
    with pytest.raises(InvalidRequest, match="choose one for it on the Models tab") as refusal:
        engine.submit(ask(checkpoint="bad"), owner="anna")
    assert "truncated" in str(refusal.value)
    assert str(tmp_path) not in str(refusal.value)
    finish(engine, ask(checkpoint=good.name))


def test_a_fault_of_the_engine_itself_does_not_end_it(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.engine.fairness import FairShare

    with monkeypatch.context() as patch:
        patch.setattr(FairShare, "next_tick", raising(Broken(), lambda number: number == 1)(FairShare.next_tick))
        last: Event = run(engine, ask())[-1]
    assert isinstance(last, Failed)
    assert last.kind == "internal"
    finish(engine, ask())
