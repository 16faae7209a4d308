"""LoRAs and embeddings that prompts name, and weights that are no numbers, through the whole engine."""

from __future__ import annotations

import asyncio
import os
import shutil
import unicodedata
from collections.abc import Callable, Iterator
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from safetensors.torch import load_file, save_file

from studio.answered.engine import Refused
from studio.answered.events import Failed, Finished, Preview, Started, Step
from studio.asked.axes import Axis
from studio.asked.branch import Branch
from studio.asked.compare import Comparison
from studio.asked.questions import DecodeQuantity
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.picture.gallery import Gallery
from studio.picture.infotext import parameters_text, parse_parameters
from studio.picture.named_files import compare_files
from tests.engine.conftest import MakeDevice, ask, finish, outcome, pixels, run
from tests.tiny import save_tiny_checkpoint, tiny_unet

DECOMPOSED = unicodedata.normalize("NFD", "Pokémon")  # as a file copied from a Mac has it
CROSS = "down_blocks.1.attentions.0.transformer_blocks.0.attn2.to_k"


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    models = tmp_path_factory.mktemp("models")
    for name in ("tiny", "broken", DECOMPOSED):
        save_tiny_checkpoint(models / "checkpoints" / name)
    broken = models / "checkpoints" / "broken" / "unet" / "diffusion_pytorch_model.safetensors"
    weights = load_file(broken)
    weights["conv_out.bias"][0] = float("nan")
    save_file(weights, broken, metadata={"format": "pt"})
    generator = torch.Generator().manual_seed(1)
    out, width = tiny_unet().get_submodule(CROSS).weight.shape
    flat = CROSS.replace(".", "_")
    style = {
        f"lora_unet_{flat}.lora_down.weight": torch.randn(2, width, generator=generator) * 3,
        f"lora_unet_{flat}.lora_up.weight": torch.randn(out, 2, generator=generator) * 3,
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_down.weight": torch.randn(2, 8, generator=generator),
        "lora_te_text_model_encoder_layers_0_mlp_fc1.lora_up.weight": torch.randn(16, 2, generator=generator),
    }
    (models / "loras").mkdir()
    save_file(style, models / "loras" / "style.safetensors", metadata={"ss_base_model_version": "sd_v1"})
    wrong = {
        f"lora_unet_{flat}.lora_down.weight": torch.zeros(2, 99),
        f"lora_unet_{flat}.lora_up.weight": torch.zeros(out, 2),
    }
    save_file(wrong, models / "loras" / "wrong.safetensors", metadata={"ss_base_model_version": "sd_v1"})
    (models / "vae_approx").mkdir()
    tiny_vae = {k: v.contiguous() for k, v in AutoencoderTiny().state_dict().items()}
    save_file(tiny_vae, models / "vae_approx" / "taesd_decoder.safetensors")
    (models / "embeddings").mkdir()
    save_file({"emb_params": torch.randn(3, 8, generator=generator) * 5}, models / "embeddings" / "mytoy.safetensors")
    save_file({"emb_params": torch.randn(2, 8, generator=generator) * 5}, models / "embeddings" / "Straße.safetensors")
    save_file({"emb_params": torch.randn(1, 8, generator=generator) * 5}, models / "embeddings" / "i.safetensors")
    larger = {"clip_l": torch.zeros(2, 768), "clip_g": torch.zeros(2, 1280)}
    save_file(larger, models / "embeddings" / "xltoy.safetensors")
    save_file(style, models / "loras" / f"{DECOMPOSED}.safetensors", metadata={"ss_base_model_version": "sd_v1"})
    return models


@pytest.fixture(scope="module")
def engine(
    models: Path, tmp_path_factory: pytest.TempPathFactory, make_device: MakeDevice
) -> Iterator[DiffusionEngine]:
    gallery = Gallery(tmp_path_factory.mktemp("outputs"))
    limits = Limits(unwatched_seconds=None, per_owner=100)
    engine = DiffusionEngine([models], gallery, preload=None, make_device=make_device, limits=limits)
    engine.start()
    yield engine
    engine.close()


def picture(engine: DiffusionEngine, prompt: str) -> np.ndarray:
    return np.asarray(pixels(engine, finish(engine, ask(prompt=prompt, exact=True))))


def test_a_lora_of_the_prompt_changes_the_picture_and_leaves_no_trace(engine: DiffusionEngine) -> None:
    plain = picture(engine, "a red fox")
    styled = picture(engine, "a red fox<lora:style:1>")
    assert not np.array_equal(styled, plain)
    assert np.array_equal(picture(engine, "a red fox"), plain)
    assert np.array_equal(picture(engine, "a red fox<lora:STYLE:0>"), plain)
    text_only = picture(engine, "a red fox<lora:style:1:0>")
    assert not np.array_equal(text_only, plain)
    assert not np.array_equal(text_only, styled)
    assert np.array_equal(picture(engine, "a red fox<lora:style>"), styled)


def test_pictures_with_and_without_share_the_engine_but_no_call(engine: DiffusionEngine) -> None:
    prompts = ["a red fox", "a red fox<lora:style:0.8>", "a red fox", "a red fox<lora:style:0.8>"]
    jobs = [engine.submit(ask(prompt=p), owner="anna") for p in prompts]
    made = [pixels(engine, outcome(engine, job)) for job in jobs]
    assert np.abs(made[0] - made[2]).max() <= 1
    assert np.abs(made[1] - made[3]).max() <= 1
    assert np.abs(made[0] - picture(engine, "a red fox")).max() <= 1
    assert np.abs(made[1] - picture(engine, "a red fox<lora:style:0.8>")).max() <= 1


@pytest.mark.parametrize(
    ("prompt", "kind", "said"),
    [
        ("a fox<lora:absent:1>", "bad_request", "the LoRA 'absent'"),
        ("a fox<lora:wrong:1>", "bad_checkpoint", "wrong.safetensors does not fit this model"),
    ],
)
def test_a_lora_that_is_not_there_or_does_not_fit_is_told(
    engine: DiffusionEngine, prompt: str, kind: str, said: str
) -> None:
    last = run(engine, ask(prompt=prompt))[-1]
    assert isinstance(last, Failed)
    assert last.kind == kind
    assert said in last.message
    finish(engine, ask())


def test_an_embeddings_name_stands_for_its_vectors(engine: DiffusionEngine) -> None:
    other, named = picture(engine, "a mytoys fox"), picture(engine, "a mytoy fox")
    assert not np.array_equal(other, named)
    assert np.array_equal(picture(engine, "a MyToy fox"), named)
    assert np.array_equal(picture(engine, "a embedding:mytoy fox"), named)
    assert not np.array_equal(picture(engine, "a (mytoy:0.5) fox"), named)


def test_an_embedding_of_another_family_is_words_and_that_is_said(engine: DiffusionEngine) -> None:
    [started] = [e for e in run(engine, ask(prompt="a XLToy fox, mytoy, embedding:myto")) if isinstance(e, Started)]
    assert started.notes == (
        '"embedding:myto" is read as words: there is no embedding of this name here.',
        '"XLToy" is read as words: the embedding of this name is for SDXL.',
    )


def test_names_are_found_in_any_spelling(engine: DiffusionEngine) -> None:
    assert np.array_equal(picture(engine, "a STRASSE fox"), picture(engine, "a Straße fox"))
    assert not np.array_equal(picture(engine, "a STRASSE fox"), picture(engine, "a STRASSES fox"))
    styled = picture(engine, "a fox<lora:Pokémon>")
    assert np.array_equal(styled, picture(engine, f"a fox<lora:{DECOMPOSED.upper()}>"))
    assert np.array_equal(styled, picture(engine, "a fox<lora:style>"))
    picture(engine, "İ ı fox")  # beside an embedding "i", whose name these are not
    for name in ("Pokémon", "POKÉMON", DECOMPOSED):
        assert finish(engine, ask(checkpoint=name)).pictures[0].info["checkpoint"] == "Pokémon"


def test_a_comparison_takes_names_in_any_spelling(engine: DiffusionEngine) -> None:
    comparison = Comparison(base=ask(), x=Axis(field="checkpoint", values=("TINY", DECOMPOSED)))
    engine.submit_comparison(comparison, owner="anna")
    job = next(j for j in engine.jobs(owner="anna") if j.comparison is not None)
    assert job.comparison is not None
    assert job.comparison.x.values == ("tiny", "Pokémon")


def test_pictures_carry_the_hashes_of_the_files_that_the_prompt_names(models: Path, engine: DiffusionEngine) -> None:
    picture = finish(engine, ask(prompt="a Mytoy fox<lora:Style:1>")).pictures[0]
    file = (models / "loras" / "style.safetensors").read_bytes()
    behind_header = sha256(file[8 + int.from_bytes(file[:8], "little") :]).hexdigest()[:12]  # as A1111 counts it
    toy = sha256((models / "embeddings" / "mytoy.safetensors").read_bytes()).hexdigest()
    assert picture.info["lora_hashes"] == {"Style": sha256(file).hexdigest()}
    assert picture.info["lora_short_hashes"] == {"Style": behind_header}
    assert picture.info["embedding_hashes"] == {"mytoy": toy}
    pairs = parse_parameters(parameters_text(picture.info))[2]
    assert (pairs["Lora hashes"], pairs["TI hashes"]) == (f"Style: {behind_header}", f"mytoy: {toy[:12]}")
    there = {model.name: model for model in engine.models.listing()}
    assert compare_files(picture.info, "a Mytoy fox<lora:Style:1>", "", tuple(there.values())).remarks == ()
    assert (there["style"].short_hash, there["mytoy"].short_hash) == (behind_header, toy[:12])
    assert "lora_hashes" not in finish(engine, ask()).pictures[0].info


def test_a_loras_own_short_hash_is_the_one_in_its_metadata(models: Path, engine: DiffusionEngine) -> None:
    file = models / "loras" / "style.safetensors"
    claims = {"ss_base_model_version": "sd_v1", "sshs_model_hash": "00112233445566778899"}
    save_file(load_file(file), models / "loras" / "named.safetensors", metadata=claims)
    engine.models.listing(refresh=True)
    picture = finish(engine, ask(prompt="a fox<lora:named:1>")).pictures[0]
    assert picture.info["lora_short_hashes"] == {"named": "001122334455"}


@pytest.fixture
def own_models(models: Path, tmp_path: Path) -> Path:
    """A models folder whose files a test may replace."""
    for name in ("checkpoints/tiny", "loras", "embeddings"):
        shutil.copytree(models / name, tmp_path / name)
    return tmp_path


@pytest.fixture
def own_engine(own_models: Path, make_device: MakeDevice) -> Iterator[DiffusionEngine]:
    limits = Limits(unwatched_seconds=None, per_owner=100)
    gallery = Gallery(own_models / "outputs")
    engine = DiffusionEngine([own_models], gallery, preload=None, make_device=make_device, limits=limits)
    engine.start()
    yield engine
    engine.close()


def replace(file: Path, change: Callable[[torch.Tensor], torch.Tensor], metadata: dict[str, str] | None = None) -> None:
    """Other weights in a file of the same size, as a finished download or a copy puts them there."""
    weights = {name: change(tensor).contiguous() for name, tensor in load_file(file).items()}
    save_file(weights, file.with_suffix(".part"), metadata=metadata or {"format": "pt"})
    os.replace(file.with_suffix(".part"), file)


@pytest.mark.parametrize(
    ("prompt", "replaced"),
    [
        ("a fox", "checkpoints/tiny/unet/diffusion_pytorch_model.safetensors"),
        ("a fox", "checkpoints/tiny/vae/diffusion_pytorch_model.safetensors"),
        ("a fox<lora:style:1>", "loras/style.safetensors"),
        ("a mytoy fox", "embeddings/mytoy.safetensors"),
    ],
)
def test_a_file_that_is_replaced_while_it_is_loaded_is_used_at_once(
    own_models: Path, own_engine: DiffusionEngine, make_device: MakeDevice, prompt: str, replaced: str
) -> None:
    before = picture(own_engine, prompt)
    assert np.array_equal(picture(own_engine, prompt), before)
    family = {"ss_base_model_version": "sd_v1"} if "loras" in replaced else None
    replace(own_models / replaced, lambda tensor: tensor * 0.5 if tensor.is_floating_point() else tensor, family)
    after = picture(own_engine, prompt)
    assert not np.array_equal(after, before)
    fresh = DiffusionEngine([own_models], Gallery(own_models / "fresh"), preload=None, make_device=make_device)
    fresh.start()
    try:
        assert np.array_equal(picture(fresh, prompt), after), "all of it is new"
    finally:
        fresh.close()


def test_a_picture_says_the_hash_of_the_weights_it_was_made_with(own_models: Path, own_engine: DiffusionEngine) -> None:
    file = own_models / "checkpoints" / "tiny" / "unet" / "diffusion_pytorch_model.safetensors"
    finish(own_engine, ask())
    hashes = []
    for _ in range(2):
        for _ in range(200):  # counted in the background
            picture = finish(own_engine, ask()).pictures[0]
            if picture.info["model_hash"] is not None:
                break
        parts = sorted((own_models / "checkpoints" / "tiny").rglob("*.safetensors"), key=lambda f: f.as_posix())
        hashes.append((picture.info["model_hash"], sha256(b"".join(f.read_bytes() for f in parts)).hexdigest()))
        replace(file, lambda tensor: tensor * 0.5)
    assert hashes[0][0] == hashes[0][1]
    assert hashes[1][0] == hashes[1][1] != hashes[0][0]


def test_a_branch_is_not_made_of_two_files(own_models: Path, own_engine: DiffusionEngine) -> None:
    """Its first evaluations are the old weights', so the new ones must not go on with them."""
    job = own_engine.submit(ask(prompt="a fox<lora:style:1>"), owner="anna")
    outcome(own_engine, job)
    branch = own_engine.branch(job, Branch(evaluation=1, guidance_scale=2.0), owner="anna")
    assert isinstance(outcome(own_engine, branch), Finished)
    replace(own_models / "loras" / "style.safetensors", lambda t: t * 0.5, {"ss_base_model_version": "sd_v1"})
    branch = own_engine.branch(job, Branch(evaluation=1, guidance_scale=2.0), owner="anna")
    last = outcome(own_engine, branch)
    assert isinstance(last, Failed)
    assert "The LoRA style has been replaced on disk since this run began" in last.message
    unet = own_models / "checkpoints" / "tiny" / "unet" / "diffusion_pytorch_model.safetensors"
    job = own_engine.submit(ask(), owner="anna")
    outcome(own_engine, job)
    replace(unet, lambda tensor: tensor * 0.5)
    last = outcome(own_engine, own_engine.branch(job, Branch(evaluation=1, guidance_scale=2.0), owner="anna"))
    assert isinstance(last, Failed)
    assert "The checkpoint tiny has been replaced on disk" in last.message
    question = DecodeQuantity(checkpoint="tiny", job=job, evaluation=1, quantity="x_t")
    with pytest.raises(Refused, match="The checkpoint tiny has been replaced on disk"):
        asyncio.run(own_engine.inquire(question, owner="anna"))


def test_weights_that_are_no_numbers_are_named_at_the_first_step(engine: DiffusionEngine) -> None:
    events = run(engine, ask(checkpoint="broken"))
    last = events[-1]
    assert isinstance(last, Failed)
    assert last.kind == "bad_checkpoint"
    assert "broken is damaged: the U-Net (conv_out.bias) holds values that are not numbers" in last.message
    assert isinstance(run(engine, ask())[-1], Finished)


def test_a_taesd_file_in_the_models_folder_is_the_tiny_rung(models: Path, engine: DiffusionEngine) -> None:
    events = run(engine, ask(preview="tiny"))
    shown = [event.preview for event in events if isinstance(event, Step) and event.preview is not None]
    assert shown
    assert {preview.decoder for preview in shown} == {"tiny"}


def test_a_taesd_file_that_is_replaced_draws_the_next_jobs_previews(
    own_models: Path, own_engine: DiffusionEngine, models: Path
) -> None:
    """And so does one that is put there or goes, while the checkpoint stays loaded."""

    def last_preview() -> Preview:
        events = run(own_engine, ask(preview="tiny"))
        return next(e.preview for e in reversed(events) if isinstance(e, Step) and e.preview is not None)

    assert last_preview().decoder != "tiny"
    shutil.copytree(models / "vae_approx", own_models / "vae_approx")
    own_engine.models.listing(refresh=True)
    before = last_preview()
    assert before.decoder == "tiny"
    assert last_preview().jpeg == before.jpeg
    file = own_models / "vae_approx" / "taesd_decoder.safetensors"
    replace(file, lambda tensor: tensor * 0.5)
    after = last_preview()
    assert (after.decoder, after.jpeg == before.jpeg) == ("tiny", False)
    file.unlink()
    assert last_preview().decoder != "tiny"
