"""A run that names a VAE is made with it from end to end, and nobody else's is."""

from __future__ import annotations

import asyncio
import io
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from studio.answered.events import Failed, Finished
from studio.asked.branch import Branch
from studio.asked.fields import ImageToImage, Inpaint
from studio.asked.guest_rules import Rules
from studio.asked.orders import Allowance
from studio.asked.problems import InvalidRequest
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.picture.gallery import Gallery
from studio.picture.metadata import read_png
from tests.checkpoints.test_vae_choice import vae as header_only_vae
from tests.engine.conftest import Calls, EngineFactory, MakeDevice, ask, finish, outcome, pixels
from tests.engine.test_answers import inquire
from tests.engine.test_models import model, wait_for
from tests.engine.test_recorder import header
from tests.tiny import save_tiny_checkpoint, tiny_vae


def png(width: int = 64, height: int = 64, colour: str = "orange") -> bytes:
    picture, file = Image.new("RGB", (width, height), "navy"), io.BytesIO()
    picture.paste(colour, (8, 8, width // 2, height // 2))
    picture.save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`tiny`, `other` (a VAE), `with-other` (tiny as it is with that VAE in its folder), and VAEs that do not fit."""
    folder = tmp_path_factory.mktemp("models")
    tiny = save_tiny_checkpoint(folder / "checkpoints" / "tiny", fast_preview=True)
    with_other = shutil.copytree(tiny, folder / "checkpoints" / "with-other")
    shutil.rmtree(with_other / "vae")
    tiny_vae(seed=11).save_pretrained(folder / "vae" / "other")
    tiny_vae(seed=11).save_pretrained(with_other / "vae")
    header_only_vae(folder / "vae" / "for-xl", 0.13025)
    decoder = tiny_vae(seed=12)
    del decoder.encoder, decoder.quant_conv
    decoder.save_pretrained(folder / "vae" / "half")
    return folder


@pytest.fixture(scope="module")
def engine(
    models: Path, tmp_path_factory: pytest.TempPathFactory, make_device: MakeDevice
) -> Iterator[DiffusionEngine]:
    limits = Limits(unwatched_seconds=None, per_owner=100)
    gallery = Gallery(tmp_path_factory.mktemp("outputs"))
    engine = DiffusionEngine([models], gallery, preload=None, make_device=make_device, limits=limits)
    engine.start()
    yield engine
    engine.close()


@pytest.mark.parametrize("kind", ["words", "twice", "picture", "mask"])
def test_the_picture_is_that_of_the_checkpoint_loaded_with_it(engine: DiffusionEngine, kind: str) -> None:
    def request(**fields: Any) -> Any:
        common = {"prompt": "a red fox", "num_inference_steps": 4, "seed": 5, "exact": True} | fields
        if kind == "picture":
            return ImageToImage(**common, image=png(), strength=0.5)
        if kind == "mask":
            return Inpaint(**common, image=png(), mask=png(colour="white"), strength=0.5)
        return ask(**common, **({"hires_scale": 2.0, "hires_strength": 0.5} if kind == "twice" else {}))

    plain = pixels(engine, finish(engine, request(checkpoint="tiny")))
    finished = finish(engine, request(checkpoint="tiny", vae_name="other"))
    loaded_with_it = pixels(engine, finish(engine, request(checkpoint="with-other")))
    assert (pixels(engine, finished) == loaded_with_it).all()
    assert (loaded_with_it != plain).any()
    assert (pixels(engine, finish(engine, request(checkpoint="tiny"), owner="ben"), owner="ben") == plain).all()


def test_two_callers_share_the_calls_and_not_the_vae(engine: DiffusionEngine, calls: Calls) -> None:
    finish(engine, ask())
    calls.gate.clear()
    ours = engine.submit(ask(vae_name="other", num_inference_steps=8, preview="full"), owner="anna")
    calls.wait()
    theirs = engine.submit(ask(num_inference_steps=8, preview="full"), owner="ben")
    calls.gate.set()
    both = outcome(engine, ours), outcome(engine, theirs, "ben")
    assert max(calls.lanes) == 2
    [own, plain] = [pixels(engine, event, owner=owner) for event, owner in zip(both, ("anna", "ben"))]
    assert (own != plain).any()
    for event, picture, other in ((both[0], own, plain), (both[1], plain, own)):
        assert isinstance(event, Finished)
        with Image.open(io.BytesIO(event.pictures[0].filmstrip[-1])) as last:  # the full preview is by the same VAE
            shown = np.asarray(last.convert("RGB")).astype(int)
        assert abs(shown - picture).mean() < abs(shown - other).mean() / 2


def test_picture_and_recording_say_it(engine: DiffusionEngine) -> None:
    finished = finish(engine, ask(vae_name="OTHER"))
    picture = finished.pictures[0]
    info = picture.info
    assert (info["vae_name"], info["vae"]) == ("other", "other")
    assert len(str(info["vae_hash"])) == 64
    assert f"VAE hash: {str(info['vae_hash'])[:10]}, VAE: other" in picture.parameters
    path = engine._gallery.path(picture.id, "anna")
    assert path is not None
    again = read_png(path)
    assert again is not None
    assert (again.vae_name, again.checkpoint) == ("other", "tiny")
    run = header(engine.record(finished.job_id, owner="anna"))
    assert (run["vae_name"], run["vae_hash"]) == ("other", info["vae_hash"])
    own = finish(engine, ask())
    assert "vae" not in own.pictures[0].info
    assert "VAE" not in own.pictures[0].parameters


def test_branches_and_questions_of_a_run_go_through_its_vae(engine: DiffusionEngine) -> None:
    ours = finish(engine, ask(vae_name="other"))
    branch = engine.branch(ours.job_id, Branch(evaluation=2, guidance_scale=2.0), owner="anna")
    branched = outcome(engine, branch)
    [decoded] = [inquire(engine, "decoded", job=ours.job_id, evaluation=3).content]
    plain = finish(engine, ask(checkpoint="with-other"))
    theirs = engine.branch(plain.job_id, Branch(evaluation=2, guidance_scale=2.0), owner="anna")
    assert (pixels(engine, branched) == pixels(engine, outcome(engine, theirs))).all()
    assert decoded == inquire(engine, "decoded", checkpoint="with-other", job=plain.job_id, evaluation=3).content


def test_its_memory_is_given_back(engine: DiffusionEngine) -> None:
    engine.models.unload(model(engine, "other").id)
    finish(engine, ask())
    before = engine.models.memory().ram_models
    finish(engine, ask(vae_name="other"))
    assert model(engine, "other").place == "device"
    assert engine.models.memory().ram_models > before
    engine.models.unload(model(engine, "other").id)
    wait_for(lambda: model(engine, "other").place == "disk")
    assert engine.models.memory().ram_models == before
    finish(engine, ask(vae_name="other"))
    finish(engine, ask(checkpoint="with-other"))  # another checkpoint
    assert model(engine, "other").place == "disk"


@pytest.mark.parametrize(
    ("name", "says"),
    [
        ("absent", "vae_name: 'absent' is not allowed. Allowed: one of half, other."),
        ("../vae/other", "vae_name: '../vae/other' is not allowed. Allowed: one of half, other."),
        ("for-xl", "vae_name: 'for-xl', which is for SDXL, while tiny is SD 1, is not allowed."),
        ("with-other", "vae_name: 'with-other' is not allowed."),
    ],
)
def test_what_cannot_be_used_is_refused_at_once(engine: DiffusionEngine, name: str, says: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        engine.submit(ask(vae_name=name), owner="anna")
    assert str(caught.value).startswith(says)


def test_a_vae_that_only_decodes_makes_pictures_from_words_alone(engine: DiffusionEngine) -> None:
    assert "vae_hash" in finish(engine, ask(vae_name="half")).pictures[0].info
    for request in (
        ImageToImage(prompt="x", checkpoint="tiny", image=png(), vae_name="half"),
        ask(vae_name="half", hires_scale=2.0),
    ):
        with pytest.raises(InvalidRequest, match=r"vae_name: 'half', a VAE without an encoder, is not allowed"):
            engine.submit(request, owner="anna")


def test_a_guest_names_what_the_owner_lets_them(engine: DiffusionEngine) -> None:
    tiny, other = model(engine, "tiny").id, model(engine, "other").id
    for allowed, may in (((tiny,), False), ((tiny, other), True)):
        allowance = Allowance(group="g", rules=Rules(models=allowed))
        if may:
            job = engine.submit(ask(vae_name="other"), owner="guest", allowance=allowance)
            assert isinstance(outcome(engine, job, "guest"), Finished)
        else:
            with pytest.raises(InvalidRequest, match="nothing: there is no VAE here for SD 1"):
                engine.submit(ask(vae_name="other"), owner="guest", allowance=allowance)


def test_a_file_that_is_replaced_or_gone_is_never_another_ones_picture(
    models: Path, make_engine: EngineFactory, calls: Calls, tmp_path: Path
) -> None:
    own_models = tmp_path / "own"
    shutil.copytree(models / "checkpoints" / "tiny", own_models / "checkpoints" / "tiny")
    shutil.copytree(models / "vae" / "other", own_models / "vae" / "other")
    engine = make_engine(models_dirs=[own_models])
    before = finish(engine, ask(vae_name="other"))
    tiny_vae(seed=13).save_pretrained(own_models / "vae" / "other")
    after = finish(engine, ask(vae_name="other"))
    assert (pixels(engine, after) != pixels(engine, before)).any()
    assert after.pictures[0].info["vae_hash"] != before.pictures[0].info["vae_hash"]
    branch = outcome(engine, engine.branch(before.job_id, Branch(evaluation=1, guidance_scale=2.0), owner="anna"))
    assert isinstance(branch, Failed)
    assert "VAE other has been replaced on disk" in branch.message
    finish(engine, ask())
    calls.gate.clear()
    first = engine.submit(ask(), owner="ben")
    calls.wait()
    waiting = engine.submit(ask(vae_name="other", exact=True), owner="anna")
    shutil.rmtree(own_models / "vae" / "other")
    calls.gate.set()
    assert isinstance(outcome(engine, first, "ben"), Finished)
    gone = asyncio.run(_last(engine, waiting))
    assert isinstance(gone, Failed)
    # The listing knows that it is gone, or the file's reading finds out: both name it.
    refusals = ("the VAE 'other' is not allowed", "There is no .safetensors file in the VAE folder other.")
    assert any(one in gone.message for one in refusals), gone.message


async def _last(engine: DiffusionEngine, job_id: str) -> Any:
    return [event async for event in engine.watch(job_id, owner="anna")][-1]
