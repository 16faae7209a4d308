"""A picture is enlarged by the engine: at any factor, beside the runs, and refused in a sentence where it cannot be."""

from __future__ import annotations

import asyncio
import io
import threading
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.PngImagePlugin import PngInfo
from safetensors.torch import save_file

from studio.answered.codec import decode, encode
from studio.answered.engine import Answer, Refused
from studio.answered.events import Failed, Finished, Stopped
from studio.asked.branch import Branch
from studio.asked.fields import TextToImage
from studio.asked.problems import InvalidRequest
from studio.asked.upscale import MAX_NETWORK_PIXELS, Upscale
from studio.checkpoints.catalog import BUILT_IN, Catalog
from studio.checkpoints.lookup import in_listing
from studio.engine.engine import DiffusionEngine
from studio.engine.local import LocalEngine
from studio.picture.gallery import Gallery
from studio.picture.infotext import read_parameters
from studio.picture.metadata import read_png
from tests.diffusion.published_upscalers import NewEsrgan, OldEsrgan, PublishedCompact
from tests.engine.conftest import Calls, MakeDevice, ask, events_of, finish, outcome, pixels
from tests.tiny import save_tiny_checkpoint


def put(path: Path, module: Any) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    save_file({name: value.contiguous() for name, value in module.state_dict().items()}, path)


def nothing_added(module: PublishedCompact) -> PublishedCompact:
    """Its pictures are the nearest pixels."""
    for parameter in module.body[-1].parameters():
        torch.nn.init.zeros_(parameter)
    return module


@pytest.fixture
def models(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    save_tiny_checkpoint(folder / "checkpoints" / "tiny")
    save_tiny_checkpoint(folder / "checkpoints" / "other")
    put(folder / "upscalers" / "nearest-4x.safetensors", nothing_added(PublishedCompact(4)))
    put(folder / "ESRGAN" / "old-2x.safetensors", OldEsrgan(ups=1))
    put(folder / "upscale_models" / "grey.safetensors", OldEsrgan(colours=1))
    return folder


@pytest.fixture
def engine(models: Path, tmp_path: Path, make_device: MakeDevice) -> Iterator[DiffusionEngine]:
    engine = DiffusionEngine([models], Gallery(tmp_path / "outputs"), preload=None, make_device=make_device)
    engine.start()
    yield engine
    engine.close()


def file(width: int = 40, height: int = 24, text: str = "") -> bytes:
    pixels = np.random.default_rng(0).integers(0, 256, (height, width, 3), dtype=np.uint8)
    info, data = PngInfo(), io.BytesIO()
    if text:
        info.add_text("parameters", text)
    Image.fromarray(pixels).save(data, "PNG", pnginfo=info)
    return data.getvalue()


def blank(width: int, height: int) -> bytes:
    data = io.BytesIO()
    Image.new("RGB", (width, height)).save(data, "PNG")
    return data.getvalue()


def enlarge(engine: DiffusionEngine, **values: Any) -> Image.Image:
    order = decode(encode(Upscale(**{"image": file(), **values})))  # as an engine in another process gets it
    answer = asyncio.run(LocalEngine(engine).ask(order, owner="anna"))
    assert isinstance(answer, Answer)
    assert answer.media_type == "image/png"
    return Image.open(io.BytesIO(answer.content))


def test_the_network_makes_its_scale_and_lanczos_the_rest(engine: DiffusionEngine) -> None:
    original = np.asarray(Image.open(io.BytesIO(file())))
    large = enlarge(engine, upscaler="nearest-4x", factor=4)
    assert np.array_equal(np.asarray(large), original.repeat(4, 0).repeat(4, 1))
    shrunk = enlarge(engine, upscaler="Nearest-4x.safetensors", factor=2.5)
    expected = large.resize((100, 60), Image.Resampling.LANCZOS)
    assert np.array_equal(np.asarray(shrunk), np.asarray(expected))
    assert enlarge(engine, upscaler="old-2x", factor=3).size == (120, 72)
    assert enlarge(engine, upscaler="lanczos", factor=1.5).size == (60, 36)
    assert enlarge(engine, upscaler="nearest-4x", width=64, height=64).size == (64, 64)
    assert enlarge(engine, upscaler="nearest-4x", width=64, height=64, crop=False).size == (107, 64)
    assert asyncio.run(LocalEngine(engine).ask(Upscale(image=file()))).media_type == "image/png"


def test_what_the_original_says_of_itself_stays(engine: DiffusionEngine) -> None:
    image = file(text="a cat\nSteps: 4, Size: 40x24")
    text = enlarge(engine, image=image, upscaler="nearest-4x", factor=2).text["parameters"]  # type: ignore[attr-defined]
    assert text == ("a cat\nSteps: 4, Size: 40x24, Postprocess upscale by: 2, Postprocess upscaler: nearest-4x")


def test_its_memory_is_counted_and_it_can_be_let_go(engine: DiffusionEngine) -> None:
    enlarge(engine, upscaler="old-2x")

    def upscaler() -> Any:
        return next(one for one in engine.models.listing() if one.name == "old-2x")

    assert (upscaler().kind, upscaler().place, upscaler().facts.architecture) == ("upscaler", "device", "ESRGAN")
    engine.models.unload(upscaler().id)
    for _ in range(200):
        if upscaler().place == "disk":
            break
        asyncio.run(asyncio.sleep(0.02))
    assert upscaler().place == "disk"


def test_runs_go_on_between_its_tiles(engine: DiffusionEngine, calls: Calls, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.diffusion import upscaling

    monkeypatch.setattr(upscaling, "OPERATIONS", {"cpu": 1.0, "other": 1.0})  # tiles of the least size
    before = len(calls.rows)
    job = engine.submit(ask(num_inference_steps=6), owner="bert")
    picture = enlarge(engine, image=file(400, 300), upscaler="nearest-4x", factor=4)
    assert picture.size == (1600, 1200)
    assert isinstance(outcome(engine, job, "bert"), Finished)
    assert len(calls.rows) > before


def test_tiles_that_do_not_fit_into_memory_are_made_smaller(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.diffusion.upscaler_networks import Compact

    whole, sides = Compact.forward, []

    def small_memory(self: Compact, pictures: torch.Tensor) -> torch.Tensor:
        sides.append(max(pictures.shape[-2:]))
        if sides[-1] > 200:
            raise torch.OutOfMemoryError("CUDA out of memory.")
        return whole(self, pictures)

    monkeypatch.setattr(Compact, "forward", small_memory)
    image = file(500, 120)
    original = np.asarray(Image.open(io.BytesIO(image)))
    large = enlarge(engine, image=image, upscaler="nearest-4x", factor=4)
    assert np.array_equal(np.asarray(large), original.repeat(4, 0).repeat(4, 1))
    assert sides[0] == 500
    assert max(sides[-3:]) <= 200


def test_an_upscaler_that_came_with_the_checkpoint_is_there_and_changes_no_hash(models: Path, tmp_path: Path) -> None:
    from studio.checkpoints.hashes import weights_files

    folder = models / BUILT_IN
    save_tiny_checkpoint(folder)
    before = {entry.name: entry for entry in Catalog([models]).entries()}[BUILT_IN]
    put(folder / "upscaler" / "small-4x.safetensors", PublishedCompact(4))
    entries = {entry.name: entry for entry in Catalog([models]).entries()}
    assert entries["small-4x"].facts.kind == "upscaler"
    assert entries["small-4x"].file.owner == folder.as_posix()
    assert entries[BUILT_IN].identity == before.identity
    assert all(file.parent.name != "upscaler" for file in weights_files(entries[BUILT_IN]))


def test_beside_runs_it_has_half_of_the_time(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    """A tile of a large upscaler takes as long as many ticks, and a picture must not take a tile for each of them."""
    from studio.diffusion import upscaling
    from studio.diffusion.upscaler_networks import Compact

    whole, tiles = Compact.forward, []

    def slow(self: Compact, pictures: torch.Tensor) -> torch.Tensor:
        tiles.append(1)
        time.sleep(0.1)
        return whole(self, pictures)

    assert isinstance(outcome(engine, engine.submit(ask(num_inference_steps=1), owner="bert"), "bert"), Finished)
    monkeypatch.setattr(upscaling, "OPERATIONS", {"cpu": 1.0, "other": 1.0})
    monkeypatch.setattr(Compact, "forward", slow)

    async def both() -> tuple[float, float]:
        order = Upscale(image=blank(1000, 1000), upscaler="nearest-4x", factor=1)
        asking = asyncio.ensure_future(LocalEngine(engine).ask(order, owner="anna"))
        while not tiles:
            await asyncio.sleep(0.01)
        start, before = time.monotonic(), len(tiles)
        job = engine.submit(ask(num_inference_steps=30), owner="bert")
        await events_of(engine, job, "bert")
        seconds = time.monotonic() - start
        asking.cancel()
        return (len(tiles) - before) * 0.1, seconds

    of_tiles, seconds = asyncio.run(both())
    assert of_tiles < 0.6 * seconds + 0.3, "nine tenths, where each of 30 ticks waits for a tile"


def test_what_nobody_waits_for_is_not_gone_on_with(engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch) -> None:
    from studio.diffusion import upscaling
    from studio.diffusion.upscaler_networks import Compact

    whole, tiles = Compact.forward, []

    def slow(self: Compact, pictures: torch.Tensor) -> torch.Tensor:
        tiles.append(1)
        time.sleep(0.02)
        return whole(self, pictures)

    monkeypatch.setattr(upscaling, "OPERATIONS", {"cpu": 1.0, "other": 1.0})
    monkeypatch.setattr(Compact, "forward", slow)

    async def leave() -> None:
        order = Upscale(image=blank(2000, 1000), upscaler="nearest-4x", factor=1)
        asking = asyncio.ensure_future(LocalEngine(engine).ask(order, owner="anna"))
        while len(tiles) < 2:
            await asyncio.sleep(0.01)
        asking.cancel()
        while len(engine._inquiries):
            await asyncio.sleep(0.01)

    asyncio.run(leave())
    assert len(tiles) < 50, "of some hundreds"
    assert enlarge(engine, upscaler="nearest-4x", factor=4).size == (160, 96)


TWICE: dict[str, Any] = {"hires_scale": 1.5, "hires_steps": 2, "hires_strength": 0.5, "seed": 3, "exact": True}


def test_a_picture_goes_through_it_between_its_two_passes(engine: DiffusionEngine) -> None:
    plain = pixels(engine, finish(engine, ask(**TWICE)))
    finished = finish(engine, ask(**TWICE, upscaler_name="Nearest-4X.safetensors"))
    assert pixels(engine, finished).shape == plain.shape == (96, 96, 3)
    assert (pixels(engine, finished) != plain).any()
    info = finished.pictures[0].info
    assert (info["upscaler_name"], len(str(info["upscaler_hash"]))) == ("nearest-4x", 64)
    assert "Hires upscaler: nearest-4x" in finished.pictures[0].parameters
    path = engine._gallery.path(finished.pictures[0].id, "anna")
    assert path is not None
    again = read_png(path)
    assert isinstance(again, TextToImage)
    assert again.upscaler_name == "nearest-4x"
    assert (pixels(engine, finish(engine, again)) == pixels(engine, finished)).all()
    latent = {**TWICE, "hires_upscaler": "latent"}
    without = pixels(engine, finish(engine, ask(**latent)))
    assert (pixels(engine, finish(engine, ask(**latent, upscaler_name="old-2x"))) == without).all()


def test_the_finished_picture_is_enlarged_and_everything_else_stays(engine: DiffusionEngine) -> None:
    plain = finish(engine, ask(seed=3, num_images_per_prompt=2))
    large = finish(engine, ask(seed=3, num_images_per_prompt=2, upscale="Nearest-4X.safetensors"))
    for image in range(2):
        near = np.kron(pixels(engine, plain, image), np.ones((4, 4, 1), np.uint8))
        assert (pixels(engine, large, image) == near).all(), "the network adds nothing to the nearest pixels"
    info, text = large.pictures[0].info, large.pictures[0].parameters
    assert (info["upscale"], len(str(info["upscale_hash"])), info["picture_size"]) == ("nearest-4x", 64, [256, 256])
    assert (info["width"], info["height"]) == (64, 64)
    assert "Size: 64x64," in text
    assert "Hires upscaler: nearest-4x, Postprocess upscaler: nearest-4x" in text
    assert "upscale_hash" not in plain.pictures[0].info
    assert "pscale" not in plain.pictures[0].parameters
    path = engine._gallery.path(large.pictures[0].id, "anna")
    assert path is not None
    again = read_png(path)
    assert isinstance(again, TextToImage)
    assert (again.upscale, again.width, again.hires_scale) == ("nearest-4x", 64, 1)
    read = read_parameters(text)
    assert isinstance(read, TextToImage)
    assert (read.upscale, read.hires_scale) == ("nearest-4x", 1)
    assert (pixels(engine, finish(engine, replace(again, num_images_per_prompt=2))) == pixels(engine, large)).all()


def test_after_two_passes_another_upscaler_enlarges_the_picture(engine: DiffusionEngine) -> None:
    both = ask(**TWICE, upscaler_name="old-2x", upscale="nearest-4x")
    picture = finish(engine, both).pictures[0]
    assert (picture.width, picture.height) == (384, 384)
    assert picture.info["upscaler_hash"] != picture.info["upscale_hash"]
    assert "Hires upscaler: old-2x, Postprocess upscaler: nearest-4x" in picture.parameters


def test_automatic_is_the_upscaler_that_came_with_the_checkpoint(models: Path, tmp_path: Path) -> None:
    save_tiny_checkpoint(models / BUILT_IN)
    put(models / BUILT_IN / "upscaler" / "small-4x.safetensors", nothing_added(PublishedCompact(4)))
    entries = Catalog([models]).entries()

    def chosen(**values: Any) -> str:
        request = in_listing(ask(**{"checkpoint": BUILT_IN, "upscale": "automatic", **values}), entries)
        assert isinstance(request, TextToImage)
        return request.upscale

    assert chosen() == "small-4x"
    assert chosen(width=256, height=256) == "small-4x"
    assert chosen(width=264, height=256) == "none", "a large picture is large already"
    assert chosen(hires_scale=1.5) == "none"
    assert chosen(checkpoint="tiny") == "none"
    assert chosen(upscale="none") == "none"
    without = [entry for entry in entries if entry.facts.kind != "upscaler"]  # as a guest sees it who may not use it
    assert in_listing(ask(checkpoint=BUILT_IN, upscale="automatic"), without).upscale == "none"  # type: ignore[union-attr]
    assert TextToImage(prompt="", checkpoint="tiny").upscale == "none", "programs ask for it by name"


def test_a_branch_has_the_size_of_its_record(engine: DiffusionEngine) -> None:
    run = finish(engine, ask(seed=3, upscale="nearest-4x"))
    branch = engine.branch(run.job_id, Branch(evaluation=1, guidance_scale=2.0), owner="anna")
    picture = outcome(engine, branch, "anna")
    assert isinstance(picture, Finished)
    assert (picture.pictures[0].width, picture.pictures[0].info["upscale"]) == (64, "none")


def test_the_network_sees_the_picture_of_the_first_pass(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    """With no noise added the second pass gives back what it was given, as far as the VAE does."""
    from studio.engine import upscale_work

    seen: list[Image.Image] = []
    through = upscale_work.through

    def watched(network: Any, picture: Image.Image, device: Any) -> Any:
        seen.append(picture)
        return through(network, picture, device)

    monkeypatch.setattr(upscale_work, "through", watched)
    finish(engine, ask(**TWICE, upscaler_name="old-2x", num_images_per_prompt=2))
    first = finish(engine, ask(seed=3, exact=True, num_images_per_prompt=2))
    assert [picture.size for picture in seen] == [(64, 64)] * 2
    for image, picture in enumerate(seen):
        assert (np.asarray(picture) == pixels(engine, first, image)).all()


def test_a_run_that_is_being_enlarged_can_be_stopped_and_keeps_its_checkpoint(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.engine import upscale_work

    gate = threading.Event()

    def endless(network: Any, picture: Image.Image, device: Any) -> Any:
        gate.set()
        while True:
            time.sleep(0.005)
            yield

    monkeypatch.setattr(upscale_work, "through", endless)
    stuck = engine.submit(ask(**TWICE, upscaler_name="nearest-4x"), owner="anna")
    assert gate.wait(20)
    other = engine.submit(ask(checkpoint="other", num_inference_steps=1), owner="bert")
    beside = engine.submit(ask(num_inference_steps=1), owner="carla")
    assert isinstance(outcome(engine, beside, "carla"), Finished), "others of its checkpoint go on"
    summary, _ = engine.job_so_far(other, owner="bert")
    assert summary.state == "queued", "another one is not loaded under it"
    engine.cancel(stuck, owner="anna")
    assert isinstance(outcome(engine, stuck, "anna"), Stopped)
    assert isinstance(outcome(engine, other, "bert"), Finished)


def test_what_is_wrong_with_its_upscaler_fails_a_run_and_no_other(engine: DiffusionEngine, models: Path) -> None:
    with pytest.raises(InvalidRequest, match=r"upscaler_name: the upscaler 'absent'.* one of old-2x, nearest-4x"):
        engine.submit(ask(**TWICE, upscaler_name="absent"), owner="anna")
    with pytest.raises(InvalidRequest, match=r"upscaler_name: 'grey' .*channels"):
        engine.submit(ask(**TWICE, upscaler_name="grey"), owner="anna")
    broken = NewEsrgan(2)
    broken.conv_hr.weight.data[:] = float("inf")
    put(models / "ESRGAN" / "broken.safetensors", broken)
    engine.models.listing(refresh=True)
    failed = outcome(engine, engine.submit(ask(**TWICE, upscaler_name="broken"), owner="anna"))
    assert isinstance(failed, Failed)
    assert (failed.kind, "broken.safetensors holds values" in failed.message) == ("bad_checkpoint", True)
    assert finish(engine, ask(num_inference_steps=1)).pictures


REFUSED: list[tuple[dict[str, Any], str]] = [
    ({"upscaler": "absent"}, "upscaler: 'absent' is not allowed. Allowed: lanczos, or one of"),
    ({"upscaler": "grey"}, "grey.*makes 1 channels of 1; the studio's pictures have 3"),
    ({"upscaler": "nearest-4x", "factor": 0.5}, "factor: 0.5 .* numbers from 1 to 8"),
    ({"upscaler": "nearest-4x", "factor": float("nan")}, "factor: nan"),
    ({"image": b""}, "image: nothing"),
    ({"image": b"no picture"}, "image: "),
    ({"width": 64}, "height: None"),
    ({"width": 16, "height": 16}, "width: .* at least the picture's"),
    ({"width": 30_000, "height": 30_000}, "width: 30000 .* to 16384"),
    ({"image": blank(4000, 3000), "factor": 8}, "factor: 8 for a picture of 4000x3000 .* 16,384 pixels a side"),
    ({"image": file(100, 50), "most_pixels": 10_000}, "factor: 2 for a picture of 100x50"),
    ({"upscaler": ""}, "upscaler: ''"),
]


def test_what_cannot_be_enlarged_is_one_sentence(engine: DiffusionEngine) -> None:
    for values, sentence in REFUSED:
        with pytest.raises(InvalidRequest, match=sentence):
            enlarge(engine, **values)


def test_a_picture_that_the_network_would_make_too_large_is_refused_before_it_is_begun() -> None:
    order = Upscale(image=b"x", upscaler="4x", factor=1)
    order.check_network((4096, 4096), 4)
    assert MAX_NETWORK_PIXELS == 4096 * 4096 * 16
    with pytest.raises(InvalidRequest, match=r"at most 16\.8 million pixels"):
        order.check_network((4100, 4096), 4)


def test_an_upscaler_that_may_not_be_named_is_not_there(engine: DiffusionEngine) -> None:
    ids = {one.name: one.id for one in engine.models.listing()}
    assert enlarge(engine, upscaler="old-2x", models=(ids["old-2x"],)).size == (80, 48)
    with pytest.raises(InvalidRequest, match="one of old-2x\\.") as error:
        enlarge(engine, upscaler="nearest-4x", models=(ids["old-2x"],))
    assert "grey" not in str(error.value)
    with pytest.raises(InvalidRequest, match="lanczos: there is no upscaler"):
        enlarge(engine, upscaler="nearest-4x", models=())


def test_a_file_that_is_damaged_or_replaced_is_noticed(engine: DiffusionEngine, models: Path) -> None:
    enlarge(engine, upscaler="nearest-4x", factor=4)
    put(models / "upscalers" / "nearest-4x.safetensors", NewEsrgan(2))
    assert enlarge(engine, upscaler="nearest-4x", factor=2).size == (80, 48)
    broken = NewEsrgan(2)
    broken.conv_hr.weight.data[:] = float("inf")
    put(models / "upscalers" / "nearest-4x.safetensors", broken)
    with pytest.raises(Refused, match=r"nearest-4x\.safetensors holds values that are not numbers"):
        enlarge(engine, upscaler="nearest-4x", factor=2)
