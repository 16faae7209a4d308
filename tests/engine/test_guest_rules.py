"""What a guest may not use is not there for them, in every way to an engine, and in no other words than for a name that
nothing has."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

from studio.answered.events import Failed, Finished, Started
from studio.asked.axes import Axis
from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.control import Control
from studio.asked.guest_rules import Rules
from studio.asked.orders import Allowance, Tokens
from studio.asked.problems import InvalidRequest
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.picture.gallery import Gallery
from tests.engine.conftest import MakeDevice, ask, outcome, pixels
from tests.engine.test_extras import CROSS
from tests.tiny import save_tiny_checkpoint, tiny_unet

SECRET = "secret"


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory, make_device: MakeDevice) -> Iterator[DiffusionEngine]:
    models = tmp_path_factory.mktemp("models")
    for name in ("tiny", "second", f"{SECRET}-checkpoint"):
        save_tiny_checkpoint(models / "checkpoints" / name)
    generator = torch.Generator().manual_seed(1)
    out, width = tiny_unet().get_submodule(CROSS).weight.shape
    flat = CROSS.replace(".", "_")
    for place in ("style", f"{SECRET}-style", "open/twin", f"{SECRET}/twin"):
        file = models / "loras" / f"{place}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        style = {
            f"lora_unet_{flat}.lora_down.weight": torch.randn(2, width, generator=generator) * 3,
            f"lora_unet_{flat}.lora_up.weight": torch.randn(out, 2, generator=generator) * 3,
        }
        save_file(style, file, metadata={"ss_base_model_version": "sd_v1"})
    (models / "embeddings").mkdir()
    for name in ("mytoy", f"{SECRET}toy"):
        save_file(
            {"emb_params": torch.randn(3, 8, generator=generator) * 5}, models / "embeddings" / f"{name}.safetensors"
        )
    limits = Limits(unwatched_seconds=None, per_owner=100)
    gallery = Gallery(tmp_path_factory.mktemp("outputs"))
    engine = DiffusionEngine([models], gallery, preload="tiny", limits=limits, make_device=make_device)
    engine.start()
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def guest(engine: DiffusionEngine) -> Allowance:
    open_ones = [m for m in engine.models.listing() if SECRET not in m.name and SECRET not in m.where]
    assert len(open_ones) == 5
    return Allowance(group="g", rules=Rules(models=tuple(m.id for m in open_ones)))


def ends(engine: DiffusionEngine, allowance: Allowance | None, prompt: str, **fields: object) -> object:
    """What becomes of a guest's run."""
    job = engine.submit(ask(prompt=prompt, **fields), owner="guest", allowance=allowance)
    return outcome(engine, job, owner="guest")


def refusal(engine: DiffusionEngine, allowance: Allowance, **fields: object) -> str:
    with pytest.raises(InvalidRequest) as caught:
        engine.submit(ask(**fields), owner="guest", allowance=allowance)
    return str(caught.value)


def test_another_checkpoint_is_refused_like_one_that_is_not_there(engine: DiffusionEngine, guest: Allowance) -> None:
    hidden, absent = (
        refusal(engine, guest, prompt="x", checkpoint=name) for name in (f"{SECRET}-checkpoint", "absent-checkpoint")
    )
    assert hidden.replace(f"{SECRET}-", "absent-") == absent
    assert "tiny" in absent
    assert SECRET not in absent


def test_another_lora_and_a_twin_of_its_name_too(engine: DiffusionEngine, guest: Allowance) -> None:
    hidden, absent = (ends(engine, guest, f"a <lora:{name}-style:1>") for name in (SECRET, "absent"))
    assert isinstance(hidden, Failed)
    assert isinstance(absent, Failed)
    assert hidden.message.replace(SECRET, "absent") == absent.message
    twin = ends(engine, guest, "a <lora:twin:1>")
    assert isinstance(twin, Finished), "of two files of one name they know one"
    both = ends(engine, None, "a <lora:twin:1>")
    assert isinstance(both, Failed)
    assert "a name of 2 files" in both.message


def test_another_embedding_is_words(engine: DiffusionEngine, guest: Allowance) -> None:
    def picture(allowance: Allowance | None, prompt: str) -> np.ndarray:
        return pixels(engine, ends(engine, allowance, prompt, seed=3), owner="guest")  # type: ignore[no-any-return, arg-type]

    hidden = picture(guest, f"a {SECRET}toy")
    shown = picture(None, f"a {SECRET}toy")
    assert not np.array_equal(hidden, shown)
    assert np.array_equal(hidden, picture(guest, f"a {SECRET}toy")), "whoever asked in between"
    assert np.array_equal(picture(guest, "a mytoy"), picture(None, "a mytoy"))


def test_the_tokens_of_another_embedding_are_those_of_its_letters(engine: DiffusionEngine, guest: Allowance) -> None:
    def pieces(text: str, models: tuple[str, ...] | None) -> tuple[str, ...]:
        return asyncio.run(engine.ask(Tokens(checkpoint="tiny", text=text, models=models))).pieces

    ends(engine, None, "a")  # its checkpoint is loaded, and its words are known
    assert set(pieces(f"{SECRET}toy", None)) == {f"{SECRET}toy"}
    assert f"{SECRET}toy" not in pieces(f"{SECRET}toy", guest.rules.models)
    assert set(pieces("mytoy", guest.rules.models)) == {"mytoy"}


def test_a_comparison_knows_no_more(engine: DiffusionEngine, guest: Allowance) -> None:
    comparison = Comparison(base=ask(), x=Axis(field="checkpoint", values=("tiny", f"{SECRET}-checkpoint")))
    with pytest.raises(InvalidRequest, match="x_values") as caught:
        engine.submit_comparison(comparison, owner="guest", allowance=guest)
    assert f"{SECRET}-checkpoint" not in str(caught.value).partition("Allowed")[2]


def test_another_controlnet_is_not_there(engine: DiffusionEngine, guest: Allowance) -> None:
    text = refusal(engine, guest, prompt="x", controls=(Control(model=SECRET, image=b"x"),))
    assert "no ControlNet" in text


def test_a_branch_obeys_the_rules_of_now(engine: DiffusionEngine, guest: Allowance) -> None:
    job = engine.submit(ask(prompt="a cat"), owner="guest", allowance=guest)
    assert isinstance(outcome(engine, job, owner="guest"), Finished)
    words = Allowance(group="g", rules=Rules(refused_words=("nude",), locked=(("guidance_scale", 3.0),)))
    with pytest.raises(InvalidRequest, match="the word 'nude'"):
        engine.branch(job, Branch(evaluation=1, prompt="a [cat:nude:2]"), owner="guest", allowance=words)
    with pytest.raises(InvalidRequest, match="fixed"):
        engine.branch(job, Branch(evaluation=1, guidance_scale=9.0), owner="guest", allowance=words)
    faint = Branch(evaluation=1, prompt="a (nude:-0.01) in the snow")
    with pytest.raises(InvalidRequest, match="the word 'nude'"):
        engine.branch(job, faint, owner="guest", allowance=words)
    lesson = Allowance(group="g", rules=Rules(locked=(("num_inference_steps", 3), ("seed", 8))))
    with pytest.raises(InvalidRequest, match=r"num_inference_steps: 4 .*fixed.*\n?.*seed: 5 .*fixed"):
        engine.branch(job, Branch(evaluation=1, prompt="a dog"), owner="guest", allowance=lesson)
    child = engine.branch(
        job, Branch(evaluation=1, prompt=f"a <lora:{SECRET}-style:1>"), owner="guest", allowance=guest
    )
    assert isinstance(outcome(engine, child, owner="guest"), Failed)


def test_a_refused_word_and_a_locked_field_reach_every_way_in(engine: DiffusionEngine) -> None:
    rules = Allowance(group="g", rules=Rules(refused_words=("nude",), locked=(("num_inference_steps", 2),)))
    with pytest.raises(InvalidRequest, match="the word 'nude'"):
        engine.submit(ask(prompt="nu[:de:0]", num_inference_steps=2), owner="guest", allowance=rules)
    with pytest.raises(InvalidRequest, match="fixed"):
        engine.submit(ask(prompt="a", num_inference_steps=3), owner="guest", allowance=rules)
    job = engine.submit(ask(prompt="a", num_inference_steps=None), owner="guest", allowance=rules)
    started = [e for e in engine.job_so_far(job, owner="guest")[1] if isinstance(e, Started)]
    finished = outcome(engine, job, owner="guest")
    assert isinstance(finished, Finished)
    assert finished.pictures[0].info["num_inference_steps"] == 2 or started
    comparison = Comparison(
        base=ask(num_inference_steps=2, prompt="cat"), x=Axis(field="prompt", values=("cat", "nude"))
    )
    with pytest.raises(InvalidRequest, match="x_values: the word"):
        engine.submit_comparison(comparison, owner="guest", allowance=rules)


def test_a_comparison_without_a_seed_has_the_locked_one(engine: DiffusionEngine) -> None:
    lesson = Allowance(group="g", rules=Rules(locked=(("seed", 77),)))
    comparison = Comparison(base=ask(seed=None), x=Axis(field="guidance_scale", values=(2.0, 3.0)))
    job = engine.submit_comparison(comparison, owner="guest", allowance=lesson)
    assert engine.comparison(job, owner="guest").comparison.base.seed == 77
    free = engine.submit_comparison(comparison, owner="guest", allowance=Allowance(group="g"))
    assert engine.comparison(free, owner="guest").comparison.base.seed is not None
