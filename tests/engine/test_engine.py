"""The whole path on tiny weights: events, pictures, determinism, sharing, stopping, re-attaching."""

from __future__ import annotations

import asyncio
import dataclasses
import io
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.answered.engine import Refused, UnknownJob
from studio.answered.events import Event, Finished, Loading, Queued, Started, Step, Stopped
from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.orders import Tokens
from studio.asked.problems import InvalidRequest
from studio.asked.resolved import with_suitable_values
from studio.asked.schedulers import SCHEDULERS
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import SWEEP_SECONDS, Limits
from studio.engine.previews import JPEG_QUALITY
from studio.export.replay import Replay
from studio.picture.gallery import Gallery
from studio.picture.metadata import read_png, request_from_info
from tests.engine.conftest import Calls, EngineFactory, ask, events_of, finish, outcome, pixels, run
from tests.tiny import counted_forwards

MIXED: list[dict[str, Any]] = [
    {"scheduler": "dpmpp_2m", "num_inference_steps": 5, "guidance_scale": 5.0, "prompt": "a red fox"},
    {"scheduler": "euler_a", "num_inference_steps": 7, "guidance_scale": 1.0, "prompt": "blue sea"},
    {"scheduler": "ddim", "num_inference_steps": 3, "guidance_scale": 7.5, "negative_prompt": "cat"},
    {"scheduler": "heun", "num_inference_steps": 4, "guidance_scale": 2.0, "prompt": ""},
    {"scheduler": "dpmpp_sde", "num_inference_steps": 4, "guidance_scale": 3.0, "prompt": "snow"},
    {"scheduler": "unipc", "num_inference_steps": 6, "guidance_scale": 12.0, "prompt": "an apple (red:1.4)"},
    {"scheduler": "lcm", "num_inference_steps": 2, "guidance_scale": 1.5, "prompt": "the cat in the snow"},
    {"scheduler": "pndm", "num_inference_steps": 5, "guidance_scale": 5.0, "prompt": "apple"},
]


def agree(one: Any, other: Any) -> bool:
    """The stated tolerance of shared calls: 99.9 % of the 8-bit values differ by at most 1."""
    return bool((np.abs(one - other) <= 1).mean() >= 0.999)


# ---------------------------------------------------------------------------------------------------- the path


def test_importing_the_engine_does_not_import_torch() -> None:
    code = "import sys, studio.engine.engine; sys.exit('torch' in sys.modules or 'diffusers' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_events_come_in_order_and_the_picture_is_on_disk_before_finished(engine: DiffusionEngine) -> None:
    request = ask(num_images_per_prompt=2, num_inference_steps=3)
    events = run(engine, request)
    kinds = [type(e) for e in events]
    assert kinds.count(Started) == 1
    assert set(kinds[: kinds.index(Started)]) <= {Queued, Loading}
    assert set(kinds[kinds.index(Started) + 1 : -1]) == {Step}
    started, last = events[kinds.index(Started)], events[-1]
    assert isinstance(started, Started)
    assert isinstance(last, Finished)
    assert (started.seeds, started.width, started.height, started.total) == ((5, 6), 64, 64, 3)
    assert [p.seed for p in last.pictures] == [5, 6]
    for picture in last.pictures:
        path = engine._gallery.path(picture.id, "anna")
        assert path is not None
        with Image.open(path) as image:
            assert image.size == (64, 64)
        assert len(picture.filmstrip) == 3
        for frame in picture.filmstrip:
            with Image.open(io.BytesIO(frame)) as image:
                assert max(image.size) == 64


def test_steps_rise_and_say_where_they_are(engine: DiffusionEngine) -> None:
    steps = [e for e in run(engine, ask(num_inference_steps=12, scheduler="heun")) if isinstance(e, Step)]
    assert [s.index for s in steps] == sorted({s.index for s in steps})
    assert steps[-1].index == 22
    assert {s.total for s in steps} == {23}
    sigmas = [s.sigma for s in steps]
    assert sigmas == sorted(sigmas, reverse=True)
    assert all(s.seconds_per_step > 0 and s.seconds_left >= 0 for s in steps)
    preview = steps[-1].preview
    assert preview is not None
    assert (preview.width, preview.height, preview.decoder) == (64, 64, "fast")


def test_a_drawn_seed_gives_the_same_picture_when_typed(engine: DiffusionEngine) -> None:
    first = finish(engine, ask(seed=None))
    seed = first.pictures[0].seed
    assert 0 <= seed < 2**32
    assert (pixels(engine, first) == pixels(engine, finish(engine, ask(seed=seed)))).all()
    assert finish(engine, ask(seed=None)).pictures[0].seed != seed


def test_a_picture_of_as_many_steps_as_one_before_computes_no_timestep_again(
    make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine(preload="tiny")
    first = finish(engine, ask(num_inference_steps=3))
    assert engine.components is not None
    counted = counted_forwards(engine.components, monkeypatch, ("time_proj", "time_embedding", "time_emb_proj"))
    again = finish(engine, ask(num_inference_steps=3, prompt="blue sea"))
    same = finish(engine, ask(num_inference_steps=3))
    assert not counted
    assert (pixels(engine, same) == pixels(engine, first)).all()
    assert (pixels(engine, again) != pixels(engine, first)).any()
    finish(engine, ask(num_inference_steps=4))
    assert set(counted.values()) == {2}  # of the four timesteps the first and the last are known
    finish(engine, ask(checkpoint="tiny-v", num_inference_steps=2))
    finish(engine, ask(num_inference_steps=3))
    assert set(counted.values()) == {2 + 3}  # another checkpoint was loaded: nothing is kept of this one


def test_the_saved_picture_says_how_to_make_it_again(engine: DiffusionEngine) -> None:
    finished = finish(engine, ask(num_images_per_prompt=2, negative_prompt="cat", scheduler="euler_a"))
    path = engine._gallery.path(finished.pictures[1].id, "anna")
    assert path is not None
    again = read_png(path.read_bytes())
    assert isinstance(again, TextToImage)
    assert again.seed == 6
    assert again.num_images_per_prompt == 1
    assert (pixels(engine, finish(engine, again)) == pixels(engine, finished, 1)).all()
    info = finished.pictures[1].info
    assert info["evaluations"] == 4
    assert info["image"] == 1
    assert {"torch", "diffusers"} <= set(info["versions"])  # type: ignore[arg-type]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_every_scheduler_runs(engine: DiffusionEngine, scheduler: str) -> None:
    finished = finish(engine, ask(scheduler=scheduler, num_inference_steps=2))
    assert len(finished.pictures) == 1


# ---------------------------------------------------------------------------------- the same picture everywhere


def test_the_same_request_gives_the_same_picture_after_a_restart(make_engine: EngineFactory) -> None:
    request = ask(scheduler="euler_a", num_inference_steps=6)
    first, second = make_engine(), make_engine()
    assert (pixels(first, finish(first, request)) == pixels(second, finish(second, request))).all()


@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_the_picture_is_that_of_diffusers_own_pipeline(
    engine: DiffusionEngine, models_dir: Path, guidance_scale: float
) -> None:
    import torch
    from diffusers import DDIMScheduler, StableDiffusionPipeline

    pipe = StableDiffusionPipeline.from_pretrained(models_dir / "checkpoints" / "tiny", safety_checker=None)
    pipe.scheduler = DDIMScheduler.from_config(pipe.scheduler.config)
    pipe.set_progress_bar_config(disable=True)
    settings: dict[str, Any] = {"num_inference_steps": 6, "guidance_scale": guidance_scale}
    theirs = pipe("a red fox", generator=torch.Generator().manual_seed(5), **settings).images[0]
    ours = finish(engine, ask(scheduler="ddim", noise_schedule="as_configured", exact=True, **settings))
    assert (pixels(engine, ours) == np.asarray(theirs).astype(int)).all()


def test_image_k_is_the_picture_of_seed_plus_k(engine: DiffusionEngine) -> None:
    several = finish(engine, ask(num_images_per_prompt=3, exact=True, scheduler="dpmpp_sde"))
    for k in range(3):
        alone = finish(engine, ask(seed=5 + k, exact=True, scheduler="dpmpp_sde"))
        assert (pixels(engine, several, k) == pixels(engine, alone)).all()


def together(engine: DiffusionEngine, calls: Calls, requests: list[TextToImage]) -> list[Event]:
    """Run requests of as many visitors at once: all are there before the first U-Net call returns."""
    calls.gate.clear()
    jobs = [(engine.submit(r, owner=f"visitor {k}"), f"visitor {k}") for k, r in enumerate(requests)]
    calls.gate.set()

    async def read() -> list[list[Event]]:
        return await asyncio.gather(*[events_of(engine, job, owner) for job, owner in jobs])

    return [events[-1] for events in asyncio.run(read())]


def test_a_lane_among_eight_mixed_ones_is_the_lane_alone(engine: DiffusionEngine, calls: Calls) -> None:
    requests = [ask(seed=k, **fields) for k, fields in enumerate(MIXED)]
    alone = [pixels(engine, finish(engine, r)) for r in requests]
    calls.lanes.clear()
    shared = together(engine, calls, requests)
    assert max(calls.lanes) == 8, "the eight did not share a call, so nothing was shown"
    for k, finished in enumerate(shared):
        assert agree(alone[k], pixels(engine, finished, owner=f"visitor {k}")), MIXED[k]


def test_exact_is_bit_equal_whoever_else_is_there(engine: DiffusionEngine, calls: Calls) -> None:
    requests = [ask(seed=k, exact=k % 2 == 0, **fields) for k, fields in enumerate(MIXED)]
    alone = [pixels(engine, finish(engine, r)) for r in requests]
    shared = together(engine, calls, requests)
    for k in range(0, 8, 2):
        finished = shared[k]
        assert isinstance(finished, Finished)
        assert finished.exact
        assert finished.pictures[0].info["exact"] is True
        assert (alone[k] == pixels(engine, finished, owner=f"visitor {k}")).all()
    assert not getattr(shared[1], "exact", True)


def test_the_flag_makes_every_job_exact(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine(exact=True)
    finished = finish(engine, ask(num_images_per_prompt=3))
    assert finished.exact
    assert set(calls.lanes) == {1}


def test_prompts_of_different_length_do_not_share_a_call(engine: DiffusionEngine, calls: Calls) -> None:
    long = ask(prompt="red fox " * 100)
    alone = pixels(engine, finish(engine, long))
    shared = together(engine, calls, [ask(), long, ask(seed=9)])
    assert (pixels(engine, shared[1], owner="visitor 1") == alone).all()
    events = run(engine, long)
    [started] = [e for e in events if isinstance(e, Started)]
    assert started.prompt_tokens == 200
    assert started.chunks == 3
    assert started.notes == ("The prompt was encoded in 3 chunks of 77 tokens; nothing was cut off.",)


@pytest.mark.parametrize("preview", ["automatic", "fast", "full"])
def test_previews_never_change_the_picture(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch, preview: str
) -> None:
    from studio.engine.live_previews import LivePreviews

    shown = finish(engine, ask(preview=preview, num_inference_steps=8, scheduler="euler_a"))
    monkeypatch.setattr(LivePreviews, "show", lambda *_: None)
    hidden = finish(engine, ask(preview=preview, num_inference_steps=8, scheduler="euler_a"))
    assert len(shown.pictures[0].filmstrip) == 8
    assert hidden.pictures[0].filmstrip == ()
    assert (pixels(engine, shown) == pixels(engine, hidden)).all()


def test_a_full_preview_is_the_vaes_own_picture(engine: DiffusionEngine) -> None:
    events = run(engine, ask(preview="full"))
    last_step = [e for e in events if isinstance(e, Step)][-1]
    assert last_step.preview is not None
    assert last_step.preview.decoder == "full"
    with Image.open(io.BytesIO(last_step.preview.jpeg)) as jpeg:
        shown = np.asarray(jpeg.convert("RGB")).astype(int)
    # The last predicted x0 of this scheduler is the picture, so both become the same JPEG but for rounding.
    encoded = io.BytesIO()
    Image.fromarray(pixels(engine, events[-1]).astype(np.uint8)).save(encoded, "JPEG", quality=JPEG_QUALITY)
    with Image.open(encoded) as jpeg:
        expected = np.asarray(jpeg.convert("RGB")).astype(int)
    assert np.abs(shown - expected).mean() < 0.5


def test_where_there_is_no_fast_decoder_the_vae_serves(
    make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.engine.preview_fitter import PreviewFitter

    monkeypatch.setattr(PreviewFitter, "begin", lambda *_: None)
    engine = make_engine()
    events = run(engine, ask(checkpoint="tiny-v", preview="fast", num_inference_steps=10))
    decoders = {e.preview.decoder for e in events if isinstance(e, Step) and e.preview is not None}
    assert decoders == {"full"}


def test_large_previews_are_full_size_and_the_filmstrip_is_small(engine: DiffusionEngine) -> None:
    events = run(engine, ask(width=256, height=192, num_inference_steps=2))
    previews = [e.preview for e in events if isinstance(e, Step) and e.preview is not None]
    assert {(p.width, p.height) for p in previews} == {(256, 192)}
    for frame in events[-1].pictures[0].filmstrip:  # type: ignore[union-attr]
        with Image.open(io.BytesIO(frame)) as image:
            assert image.size == (128, 96)


def test_small_frames_that_the_live_view_has_no_time_for_wait_and_none_is_lost(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.engine import live_previews
    from studio.engine.previews import PreviewDecoders

    decoded: list[int] = []
    decode = PreviewDecoders.decode

    def seen(decoders: PreviewDecoders, decoder: Any, denoised: Any, *rest: Any) -> Any:
        decoded.append(len(denoised))
        return decode(decoders, decoder, denoised, *rest)

    monkeypatch.setattr(PreviewDecoders, "decode", seen)
    strips = []
    for seconds, expected in ((0.0, [1] * 9), (1e9, [9])):  # every frame is due; the last alone
        monkeypatch.setattr(live_previews, "PREVIEW_SECONDS", seconds)
        decoded.clear()
        events = run(engine, ask(preview="fast", num_inference_steps=9))
        assert decoded == expected
        assert [e for e in events if isinstance(e, Step)][-1].index == 8
        strips.append(events[-1].pictures[0].filmstrip)  # type: ignore[union-attr]
    assert len(strips[0]) == 9
    assert len(set(strips[0])) > 5
    assert strips[0] == strips[1]
    large = run(engine, ask(preview="fast", width=256, height=192, num_inference_steps=4))
    assert decoded[1:] == [1] * 4  # large ones would be many at once in memory
    assert len(large[-1].pictures[0].filmstrip) == 4  # type: ignore[union-attr]


# ------------------------------------------------------------------------------------------------ image to image


def png(width: int = 64, height: int = 64) -> bytes:
    ramp = np.linspace(0, 255, width * height * 3).reshape(height, width, 3).astype(np.uint8)
    encoded = io.BytesIO()
    Image.fromarray(ramp).save(encoded, "PNG")
    return encoded.getvalue()


def edit(**fields: Any) -> ImageToImage:
    given = {"prompt": "a fox", "checkpoint": "tiny", "num_inference_steps": 10, "seed": 5, "image": png()}
    return ImageToImage(**given | fields)


def test_image_to_image_runs_its_share_of_the_steps_at_the_pictures_own_size(engine: DiffusionEngine) -> None:
    events = run(engine, edit(image=png(100, 70), strength=0.35))
    [started] = [e for e in events if isinstance(e, Started)]
    assert (started.width, started.height, started.total) == (96, 72, 3)
    assert "Runs 3 of 10 steps." in started.notes
    finished = events[-1]
    assert isinstance(finished, Finished)
    assert (finished.pictures[0].width, finished.pictures[0].height) == (96, 72)
    assert len(finished.pictures[0].filmstrip) == 3


@pytest.mark.parametrize("strength", [0.0, 0.05])
def test_no_strength_gives_the_picture_back_through_the_vae(engine: DiffusionEngine, strength: float) -> None:
    events = run(engine, edit(strength=strength))
    assert [type(e) for e in events[-2:]] == [Started, Finished]
    assert events[-2].total == 0  # type: ignore[union-attr]


def test_an_upload_that_is_no_picture_is_refused_by_submit(engine: DiffusionEngine) -> None:
    with pytest.raises(InvalidRequest, match="image"):
        engine.submit(edit(image=b"%PDF-1.4 no picture"), owner="uploader")
    assert engine.jobs(owner="uploader") == ()


def drawn_mask(width: int, height: int, box: tuple[int, int, int, int]) -> bytes:
    mask = Image.new("L", (width, height), 0)
    mask.paste(255, box)
    encoded = io.BytesIO()
    mask.save(encoded, "PNG")
    return encoded.getvalue()


@pytest.mark.parametrize("area", ["whole", "masked"])
def test_inpainting_leaves_the_rest_of_the_upload_as_it_was_to_the_last_bit(engine: DiffusionEngine, area: str) -> None:
    width, height, box = 100, 70, (20, 10, 50, 40)
    request = Inpaint(
        prompt="a fox",
        checkpoint="tiny",
        num_inference_steps=4,
        num_images_per_prompt=2,
        seed=5,
        image=png(width, height),
        mask=drawn_mask(width, height, box),
        mask_blur=3,
        padding=8,
        inpaint_area=area,  # type: ignore[arg-type]
        strength=0.8,
    )
    finished = finish(engine, request)
    with Image.open(io.BytesIO(request.image)) as upload:
        before = np.asarray(upload).astype(int)
    far = np.ones((height, width), bool)
    far[box[1] - 3 : box[3] + 3, box[0] - 3 : box[2] + 3] = False
    for image in range(2):
        after = pixels(engine, finished, image)
        assert after.shape == before.shape
        assert (after[far] == before[far]).all()
        assert not (after[box[1] : box[3], box[0] : box[2]] == before[box[1] : box[3], box[0] : box[2]]).all()
    first = finished.pictures[0]
    assert (first.info["kind"], first.info["width"], first.info["picture_size"]) == ("inpaint", None, [width, height])
    again = request_from_info(first.info, image=request.image, mask=request.mask)
    assert (pixels(engine, finish(engine, again)) == pixels(engine, finished)).all()


def test_an_extended_canvas_is_larger_by_what_was_asked(engine: DiffusionEngine) -> None:
    request = Inpaint(
        prompt="", checkpoint="tiny", num_inference_steps=3, seed=1, image=png(64, 64), extend_right=20, extend_up=8
    )
    finished = finish(engine, request)
    made = pixels(engine, finished)
    assert made.shape == (72, 84, 3)
    with Image.open(io.BytesIO(request.image)) as upload:
        assert (made[8 + 4 :, : 64 - 4] == np.asarray(upload)[4:, : 64 - 4]).all(), "but for the seam"


@pytest.mark.parametrize("upscaler", ["lanczos", "latent"])
def test_hires_is_one_job_of_two_passes_with_previews_throughout(engine: DiffusionEngine, upscaler: str) -> None:
    request = ask(
        num_inference_steps=4, hires_scale=1.5, hires_upscaler=upscaler, hires_steps=6, hires_strength=0.5, seed=3
    )
    events = run(engine, request)
    [started] = [e for e in events if isinstance(e, Started)]
    assert (started.width, started.height, started.total) == (64, 64, 4 + 3)
    steps = [e for e in events if isinstance(e, Step)]
    assert all(step.total == 7 for step in steps)
    assert [step.index for step in steps] == sorted(step.index for step in steps)
    finished = events[-1]
    assert isinstance(finished, Finished), finished
    [picture] = finished.pictures
    assert (picture.width, picture.height) == (96, 96)
    assert len(picture.filmstrip) == 7
    recorded = Replay(engine.record(finished.job_id, owner="anna")).run
    assert recorded["kind"] == "text_to_image"
    assert (recorded["total"], recorded["width"]) == (4, 64), "the viewer looks at the first pass, and says so"
    assert recorded["second_pass"] == {"width": 96, "height": 96, "steps": 3, "strength": 0.5}
    assert "Hires upscale: 1.5, Hires steps: 6, Hires upscaler: " in picture.parameters
    assert "Size: 64x64" in picture.parameters
    again = request_from_info(picture.info)
    filled = with_suitable_values(request, engine.catalog()[0].suits)
    assert again == dataclasses.replace(filled, width=64, height=64, noise_schedule="karras")
    assert (pixels(engine, finish(engine, again)) == pixels(engine, finished)).all()


def test_a_second_pass_without_steps_is_the_first_scaled_up(engine: DiffusionEngine) -> None:
    plain = finish(engine, ask(num_inference_steps=3))
    scaled = finish(engine, ask(num_inference_steps=3, hires_scale=2, hires_strength=0.0))
    assert (scaled.pictures[0].width, scaled.pictures[0].info["evaluations"]) == (128, 3)
    assert not (pixels(engine, scaled)[::2, ::2] == pixels(engine, plain)).all()


def test_variations_share_a_seed_and_go_towards_others(engine: DiffusionEngine) -> None:
    asked = {"variation_seed": 40, "num_inference_steps": 3}
    plain = finish(engine, ask(num_inference_steps=3))
    varied = finish(engine, ask(variation_strength=0.3, num_images_per_prompt=2, **asked))
    infos = [p.info for p in varied.pictures]
    assert [(i["seed"], i["variation_seed"]) for i in infos] == [(5, 40), (5, 41)]
    assert "Variation seed: 41, Variation seed strength: 0.3" in varied.pictures[1].parameters
    first, second = pixels(engine, varied), pixels(engine, varied, 1)
    assert not (first == second).all()
    assert not (first == pixels(engine, plain)).all()
    again = request_from_info(infos[1])
    assert (pixels(engine, finish(engine, again)) == second).all()
    assert (pixels(engine, finish(engine, ask(variation_strength=0.0, **asked))) == pixels(engine, plain)).all()
    drawn = finish(engine, ask(variation_strength=0.3, num_inference_steps=3)).pictures[0].info["variation_seed"]
    assert isinstance(drawn, int)


# --------------------------------------------------------------------------------------------------------- stop


@pytest.mark.parametrize("number", range(6))
def test_stop_at_every_step_ends_within_one(engine: DiffusionEngine, calls: Calls, number: int) -> None:
    golden = pixels(engine, finish(engine, ask(num_inference_steps=6)))
    calls.rows.clear()
    job = ""

    def stop(call: int) -> None:
        if call == number:
            assert engine.cancel(job, owner="anna")

    calls.before = stop
    calls.gate.clear()
    job = engine.submit(ask(num_inference_steps=6), owner="anna")
    calls.gate.set()
    last = outcome(engine, job)
    assert isinstance(last, Stopped)
    assert last.index == number + 1
    assert last.total == 6
    assert len(last.last) == 1, "the picture so far"
    assert last.pictures == ()
    assert len(calls.rows) == number + 1
    calls.before = lambda call: None
    assert (pixels(engine, finish(engine, ask(num_inference_steps=6))) == golden).all()


def test_stop_before_the_first_step(engine: DiffusionEngine, calls: Calls) -> None:
    calls.gate.clear()
    running = engine.submit(ask(), owner="anna")
    calls.wait()
    waiting = engine.submit(ask(), owner="anna")
    assert engine.cancel(waiting, owner="anna")
    last = outcome(engine, waiting)
    assert isinstance(last, Stopped)
    assert (last.index, last.last) == (0, ())
    calls.gate.set()
    assert isinstance(outcome(engine, running), Finished)


def test_stop_twice_and_after_the_end_is_no_error(engine: DiffusionEngine, calls: Calls) -> None:
    calls.gate.clear()
    job = engine.submit(ask(), owner="anna")
    calls.wait()
    assert engine.cancel(job, owner="anna")
    assert engine.cancel(job, owner="anna")
    calls.gate.set()
    assert isinstance(outcome(engine, job), Stopped)
    assert not engine.cancel(job, owner="anna")
    done = engine.submit(ask(), owner="anna")
    assert isinstance(outcome(engine, done), Finished)
    assert not engine.cancel(done, owner="anna")
    assert isinstance(outcome(engine, done), Finished), "what is finished stays finished"


def test_a_stopped_request_keeps_the_pictures_that_were_done(engine: DiffusionEngine, calls: Calls) -> None:
    job = ""

    def stop(call: int) -> None:
        if call == 5:  # exact lanes run one after the other: 4 calls for the first image
            engine.cancel(job, owner="anna")

    calls.before = stop
    calls.gate.clear()
    job = engine.submit(ask(num_images_per_prompt=3, exact=True), owner="anna")
    calls.gate.set()
    last = outcome(engine, job)
    assert isinstance(last, Stopped)
    assert [p.seed for p in last.pictures] == [5]
    assert last.index == 2


def test_stop_while_the_checkpoint_is_loading(make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.checkpoints import loader

    engine = make_engine(start=False)
    real, job = loader.fill, engine.submit(ask(), owner="anna")
    stops: list[bool] = []

    def slow(*arguments: Any) -> Any:
        stops.append(engine.cancel(job, owner="anna"))
        return real(*arguments)

    monkeypatch.setattr(loader, "fill", slow)
    engine.start()
    assert isinstance(outcome(engine, job), Stopped)
    assert isinstance(run(engine, ask())[-1], Finished)
    assert stops == [True, False, False]


def test_stop_then_generate_fifty_times_never_runs_two_at_once(engine: DiffusionEngine, calls: Calls) -> None:
    golden = pixels(engine, finish(engine, ask()))
    for _ in range(50):
        job = engine.submit(ask(num_inference_steps=150), owner="anna")
        engine.cancel(job, owner="anna")
        assert isinstance(outcome(engine, job), Stopped)
    assert (pixels(engine, finish(engine, ask())) == golden).all()
    assert calls.most_at_once == 1


# --------------------------------------------------------------------------------------- owners and re-attaching


def test_two_owners_do_not_see_or_stop_each_other(engine: DiffusionEngine, calls: Calls) -> None:
    calls.gate.clear()
    job = engine.submit(ask(), owner="only anna", origin="text_to_image")
    for attempt in (
        lambda: engine.cancel(job, owner="ben"),
        lambda: engine.watch(job, owner="ben"),
        lambda: engine.record(job, owner="ben"),
        lambda: engine.cancel("0" * 32, owner="only anna"),
    ):
        with pytest.raises(UnknownJob):
            attempt()
    assert engine.jobs(owner="ben") == ()
    [summary] = engine.jobs(owner="only anna")
    assert (summary.job_id, summary.origin) == (job, "text_to_image")
    calls.gate.set()
    finished = outcome(engine, job, "only anna")
    assert isinstance(finished, Finished)
    assert engine._gallery.path(finished.pictures[0].id, "ben") is None


def test_a_job_outlives_its_watcher_and_is_found_again(engine: DiffusionEngine, calls: Calls) -> None:
    calls.gate.clear()
    job = engine.submit(ask(num_inference_steps=8), owner="anna")

    async def look_and_go() -> Event:
        return await anext(engine.watch(job, owner="anna"))

    asyncio.run(look_and_go())
    calls.gate.set()
    assert engine.jobs(owner="anna")[0].job_id == job
    first = asyncio.run(events_of(engine, job))
    again = asyncio.run(events_of(engine, job))
    assert isinstance(again[-1], Finished)
    assert again[-1] == first[-1]
    assert [type(e) for e in again] == [Started, Step, Finished]


def test_twenty_clients_at_once_all_get_their_own_picture(engine: DiffusionEngine) -> None:
    jobs = [
        (engine.submit(ask(seed=k, prompt=["a fox", "snow", ""][k % 3]), owner=f"client {k}"), f"client {k}")
        for k in range(20)
    ]

    async def read() -> list[list[Event]]:
        return await asyncio.gather(*[events_of(engine, job, owner) for job, owner in jobs])

    for k, events in enumerate(asyncio.run(read())):
        last = events[-1]
        assert isinstance(last, Finished)
        assert last.pictures[0].seed == k
        assert sum(isinstance(e, (Finished, Stopped)) for e in events) == 1


def test_the_last_of_eight_visitors_has_a_preview_within_four_ticks(engine: DiffusionEngine, calls: Calls) -> None:
    finish(engine, ask())
    calls.gate.clear()
    busy = engine.submit(ask(num_images_per_prompt=16, num_inference_steps=30), owner="busy")
    calls.wait()
    asked_at = len(calls.rows)
    jobs = [engine.submit(ask(seed=k, num_inference_steps=30), owner=f"visitor {k}") for k in range(8)]
    seen_at: dict[int, int] = {}

    async def first_preview(k: int) -> None:
        async for event in engine.watch(jobs[k], owner=f"visitor {k}"):
            if isinstance(event, Step) and event.preview is not None:
                seen_at[k] = len(calls.rows) - asked_at
                return

    async def all_first_previews() -> None:
        async def one_tick_at_a_time() -> None:
            while len(seen_at) < 8:
                calls.gate.set()
                await asyncio.sleep(0)
                calls.gate.clear()
                await asyncio.sleep(0.01)
            calls.gate.set()

        await asyncio.wait_for(asyncio.gather(one_tick_at_a_time(), *[first_preview(k) for k in range(8)]), 120)

    asyncio.run(all_first_previews())
    # One tick was under way when they asked, and one more may begin before the watcher has looked.
    assert max(seen_at.values()) <= 1 + 4 + 1
    for job, owner in [(busy, "busy"), *[(job, f"visitor {k}") for k, job in enumerate(jobs)]]:
        engine.cancel(job, owner=owner)


def test_queue_places_are_told_and_fall(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine()
    calls.gate.clear()
    first = engine.submit(ask(checkpoint="tiny"), owner="anna")
    calls.wait()
    others = [engine.submit(ask(checkpoint="tiny-v"), owner=f"visitor {k}") for k in range(3)]
    calls.gate.set()

    async def read() -> list[list[Event]]:
        return await asyncio.gather(*[events_of(engine, job, f"visitor {k}") for k, job in enumerate(others)])

    for events in asyncio.run(read()):
        assert isinstance(events[0], (Queued, Loading, Started))
        places = [e.ahead for e in events if isinstance(e, Queued)]
        assert all(place <= 3 for place in places)
        assert isinstance(events[-1], Finished)
    assert isinstance(outcome(engine, first), Finished)


def test_a_full_queue_is_refused_with_what_to_do(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine(limits=Limits(per_owner=2))
    calls.gate.clear()
    jobs = [engine.submit(ask(), owner="anna") for _ in range(2)]
    with pytest.raises(Refused, match="Wait for one to finish, or stop one"):
        engine.submit(ask(), owner="anna")
    calls.gate.set()
    for job in jobs:
        assert isinstance(outcome(engine, job), Finished)
    assert isinstance(run(engine, ask())[-1], Finished)


# ------------------------------------------------------------------------------------------------- checkpoints


def test_a_checkpoint_switch_waits_for_the_lanes_that_run(engine: DiffusionEngine, calls: Calls) -> None:
    alone = pixels(engine, finish(engine, ask(checkpoint="tiny-v")))
    golden = pixels(engine, finish(engine, ask(num_inference_steps=9)))
    calls.gate.clear()
    here = engine.submit(ask(num_inference_steps=9), owner="anna")
    calls.wait()
    there = engine.submit(ask(checkpoint="tiny-v"), owner="ben")
    calls.gate.set()
    events = asyncio.run(events_of(engine, there, "ben"))
    assert any(isinstance(e, (Queued, Loading)) for e in events)
    assert (pixels(engine, events[-1], owner="ben") == alone).all()
    assert (pixels(engine, outcome(engine, here)) == golden).all()


def test_checkpoints_take_turns_in_the_middle_of_a_request(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.checkpoints.manager import ModelManager
    from studio.engine import scheduler

    # Exact: on some CPUs three lanes in one call end one 8-bit level apart from each alone, and here they take turns.
    many = ask(num_images_per_prompt=3, num_inference_steps=2, exact=True)
    golden = {
        "tiny": [pixels(engine, finish(engine, many), k) for k in range(3)],
        "tiny-v": [pixels(engine, finish(engine, ask(checkpoint="tiny-v", num_inference_steps=2)))],
    }
    monkeypatch.setattr(scheduler, "LANES", 1)
    monkeypatch.setattr(scheduler, "SLICE_SECONDS", 0.0)
    loads: list[str] = []
    real = ModelManager.get
    monkeypatch.setattr(
        ModelManager, "get", lambda self, name, *rest, **more: loads.append(name) or real(self, name, *rest, **more)
    )
    here = engine.submit(many, owner="anna")
    there = engine.submit(ask(checkpoint="tiny-v", num_inference_steps=2), owner="ben")
    for job, owner, checkpoint in ((there, "ben", "tiny-v"), (here, "anna", "tiny")):
        last = outcome(engine, job, owner)
        for k, expected in enumerate(golden[checkpoint]):
            assert (pixels(engine, last, k, owner) == expected).all()
    assert loads.count("tiny") >= 1
    assert loads.count("tiny-v") == 1


def test_an_unknown_checkpoint_is_refused_with_those_there_are(engine: DiffusionEngine) -> None:
    with pytest.raises(InvalidRequest) as refused:
        engine.submit(ask(checkpoint="../../etc/passwd"), owner="anna")
    [problem] = refused.value.problems
    assert problem.field == "checkpoint"
    assert "tiny, tiny-v" in problem.allowed


def test_status_follows_the_engine(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine(start=False, preload="tiny")
    assert engine.status().state == "starting"
    job = engine.submit(ask(), owner="anna")
    assert engine.status().queued == 1
    calls.gate.clear()
    engine.start()
    calls.wait()
    status = engine.status()
    assert (status.state, status.checkpoint, status.running, status.queued) == ("ready", "tiny", 1, 0)
    assert status.device == "CPU, 1 thread"
    calls.gate.set()
    events = asyncio.run(events_of(engine, job))
    assert isinstance(events[-1], Finished)
    assert engine.status().running == 0


def test_loading_is_told_with_rising_fractions(make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    engine = make_engine(start=False)
    job = engine.submit(ask(), owner="anna")
    published: list[Event] = []
    record = engine._book.get(job, owner="anna")
    real = record.publish
    monkeypatch.setattr(record, "publish", lambda event: published.append(event) or real(event))
    engine.start()
    assert isinstance(outcome(engine, job), Finished)
    fractions = [e.fraction for e in published if isinstance(e, Loading) and e.fraction is not None]
    assert fractions[0] == 0
    assert fractions[-1] == 1
    assert fractions == sorted(fractions)
    assert any("U-Net" in e.message for e in published if isinstance(e, Loading))


def test_a_models_folder_without_a_checkpoint_is_told(make_engine: EngineFactory, tmp_path: Path) -> None:
    engine = make_engine(models_dirs=[tmp_path / "nothing"], preload="small-world-128")
    deadline = time.monotonic() + 60
    while engine.status().state == "starting" and time.monotonic() < deadline:
        time.sleep(0.01)
    status = engine.status()
    assert (status.state, status.message) == ("failed", "There is no checkpoint in the models folder.")
    with pytest.raises(InvalidRequest, match="no checkpoint in the models folder"):
        engine.submit(ask(), owner="anna")


@pytest.mark.parametrize("field", [{"device": "tpu"}, {"device": "cuda:x"}, {"device": ""}, {"dtype": "int8"}])
def test_an_unknown_device_is_told_at_once(models_dir: Path, tmp_path: Path, field: dict[str, str]) -> None:
    name, value = next(iter(field.items()))
    with pytest.raises(ValueError, match=rf"^{name}: {value!r} is not allowed. Allowed: auto"):
        DiffusionEngine([models_dir], Gallery(tmp_path), **field)  # type: ignore[arg-type]


def test_a_device_this_machine_lacks_is_told_by_status_and_by_submit(make_engine: EngineFactory) -> None:
    from studio.engine.device import Device

    def absent(name: str, dtype: str) -> Device:
        raise ValueError("device: mps is not there: PyTorch finds no Apple GPU. Use --device cpu.")

    engine = make_engine(start=False, make_device=absent)
    early = engine.submit(ask(), owner="anna")
    engine.start()
    last = outcome(engine, early)
    assert isinstance(last, Stopped)
    assert "no Apple GPU" in last.reason
    assert engine.status().state == "failed"
    deadline = time.monotonic() + 60
    while engine._thread is not None and engine._thread.is_alive() and time.monotonic() < deadline:
        time.sleep(0.01)
    with pytest.raises(Refused, match="no Apple GPU"):
        engine.submit(ask(), owner="anna")


# ------------------------------------------------------------------------------------------- questions, closing


def test_tokens_are_counted_while_a_picture_is_made(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine()
    with pytest.raises(Refused):
        asyncio.run(engine.ask(Tokens(checkpoint="tiny", text="a fox")))
    calls.gate.clear()
    job = engine.submit(ask(), owner="anna")
    calls.wait()
    answer = asyncio.run(engine.ask(Tokens(checkpoint="tiny", text="a (red:1.2) fox " * 40)))
    assert answer.count == 120
    assert answer.chunks == 2
    assert answer.pieces[:3] == ("a", "red", "fox")
    assert asyncio.run(engine.ask(Tokens(checkpoint="tiny", text=""))).count == 0
    calls.gate.set()
    assert isinstance(outcome(engine, job), Finished)


@pytest.mark.parametrize(
    ("question", "field"),
    [
        (Tokens(checkpoint="nothing", text="a"), "checkpoint"),
        (Tokens(checkpoint="tiny", text="\x00"), "text"),
        (Tokens(checkpoint="tiny", text="a" * 20_001), "text"),
        (Tokens(checkpoint="tiny", text=None), "text"),  # type: ignore[arg-type]
    ],
)
def test_a_bad_question_is_refused_by_field(engine: DiffusionEngine, question: Tokens, field: str) -> None:
    with pytest.raises(InvalidRequest) as refused:
        asyncio.run(engine.ask(question))
    assert [p.field for p in refused.value.problems] == [field]


def test_close_stops_what_runs_and_tells_its_watchers(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine()
    calls.gate.clear()
    running = engine.submit(ask(num_inference_steps=150), owner="anna")
    calls.wait()
    waiting = engine.submit(ask(), owner="ben")
    calls.gate.set()
    engine.close()
    for job, owner in ((running, "anna"), (waiting, "ben")):
        last = outcome(engine, job, owner)
        assert isinstance(last, Stopped)
        assert last.reason == "Stopped: the studio is closing."
    assert not engine._thread.is_alive()
    with pytest.raises(Refused, match="closing"):
        engine.submit(ask(), owner="anna")


def test_close_does_not_wait_for_a_call_that_hangs(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine()
    calls.gate.clear()
    job = engine.submit(ask(), owner="anna")
    calls.wait()
    engine.close()
    assert isinstance(outcome(engine, job), Stopped)
    calls.gate.set()


def test_an_unwatched_job_is_stopped(make_engine: EngineFactory, calls: Calls) -> None:
    engine = make_engine(limits=Limits(unwatched_seconds=0.0))
    calls.gate.clear()
    job = engine.submit(ask(num_inference_steps=150), owner="anna")
    time.sleep(SWEEP_SECONDS + 0.1)  # the worker looks after so long, before the first call or between two
    calls.gate.set()
    deadline = time.monotonic() + 60
    while engine.jobs(owner="anna")[0].state in ("queued", "running") and time.monotonic() < deadline:
        time.sleep(0.01)
    last = outcome(engine, job)
    assert isinstance(last, Stopped)
    assert "nobody watched it" in last.reason
