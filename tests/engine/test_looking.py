"""Questions about one recorded evaluation: it is looked at again as it was, and nothing else is."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.numpy import load

from studio.answered.engine import Refused, UnknownJob
from studio.asked.fields import ImageToImage
from studio.asked.problems import InvalidRequest
from studio.asked.questions import DECODABLE
from studio.diffusion import vae
from studio.engine.engine import DiffusionEngine
from tests.engine.conftest import ask, outcome
from tests.engine.test_answers import inquire, png
from tests.engine.test_branching import OWNER, branched, made
from tests.engine.test_recorder import header

WORDS: dict[str, Any] = {"prompt": "a (red:1.2) [fox:cat sea:2]", "width": 96, "height": 64}


def looked(engine: DiffusionEngine, name: str, job: str, **given: Any) -> Any:
    return inquire(engine, name, owner=OWNER, job=job, **given)


def mean_of_heads(engine: DiffusionEngine, job: str, evaluation: int, place: str) -> Any:
    """Mean over the heads and layers of a group, asked for layer by layer."""
    layers = header(engine.record(job, owner=OWNER))["attention_layers"]
    names = [one["name"] for one in layers if one["place"] == place]
    found = [load(looked(engine, "heads", job, evaluation=evaluation, layer=n).content)["heads"] for n in names]
    assert all(heads.shape[0] == 2 for heads in found)
    return np.mean([heads.astype(float).mean(axis=0) for heads in found], axis=0)


def test_the_heads_of_a_call_made_again_are_those_that_were_recorded(engine: DiffusionEngine) -> None:
    job = made(engine, ask(**WORDS, num_inference_steps=4, scheduler="dpmpp_sde"), attention=True)
    recorded = load(engine.record(job, owner=OWNER))
    for evaluation in (0, 3):
        maps = recorded["attention.down.4x6"][evaluation].astype(float)
        again = mean_of_heads(engine, job, evaluation, "down")
        assert np.abs(again.sum(axis=0) - 1).max() < 4e-3
        assert np.abs(again - maps[: len(again)]).max() < 2e-3
    child = branched(engine, job, 2, prompt="blue sea", guidance_scale=1.5)
    shared, own = (mean_of_heads(engine, child, k, "up") for k in (1, 3))
    assert (shared == mean_of_heads(engine, job, 1, "up")).all(), "it was made with the words of the run that was left"
    its = load(engine.record(child, owner=OWNER))["attention.up.4x6"][3].astype(float)
    assert np.abs(own - its[: len(own)]).max() < 2e-3
    with pytest.raises(InvalidRequest, match="attn2"):
        looked(engine, "heads", job, layer="nothing")


def test_every_place_looks_at_all_places_and_together_that_is_all(engine: DiffusionEngine) -> None:
    request = ImageToImage(
        prompt="a fox", checkpoint="tiny", seed=5, image=png(), strength=0.7, num_inference_steps=6, width=96, height=64
    )
    job = made(engine, request)
    answer = looked(engine, "self-attention", job, evaluation=2)
    facts = header(answer.content)
    assert {(one["height"], one["width"], one["tokens"]) for one in facts["layers"]} == {(4, 6, 24)}
    tensors = load(answer.content)
    assert sorted(tensors) == ["self.down.4x6", "self.mid.4x6", "self.up.4x6"]
    for weights in tensors.values():
        assert weights.shape == (24, 4, 6)
        assert np.abs(weights.astype(float).sum(axis=(1, 2)) - 1).max() < 4e-3
        assert weights.std() > 0
    before = engine.record(job, owner=OWNER)
    assert load(looked(engine, "self-attention", job, evaluation=2).content)["self.up.4x6"].tobytes() == (
        tensors["self.up.4x6"].tobytes()
    )
    assert engine.record(job, owner=OWNER) == before


def test_a_quantity_is_decoded_by_the_vae_itself(engine: DiffusionEngine) -> None:
    job = made(engine, ask(guidance_scale=4.0, scheduler="euler", width=96, height=64))
    data = engine.record(job, owner=OWNER)
    tensors, facts = load(data), header(data)["evaluations"][2]
    x_t, cond, d = (tensors[n][2].astype(np.float32) for n in ("x_t", "model_cond", "model_difference"))
    outputs = {"cond": cond, "uncond": cond - d, "guided": cond + 3 * d}
    expected = {"x_t": x_t}
    for branch, (x0, eps) in {
        "guided": ("denoised", "noise_pred"), "cond": ("x0_cond", "eps_cond"), "uncond": ("x0_uncond", "eps_uncond")
    }.items():  # fmt: skip
        expected |= {x0: (x_t - facts["s"] * outputs[branch]) / facts["a"], eps: outputs[branch]}
    assert expected.keys() == DECODABLE.keys()
    components = engine.components
    assert components is not None
    for quantity, latents in expected.items():
        answer = looked(engine, "decoded", job, evaluation=2, quantity=quantity)
        assert answer.media_type == "image/jpeg"
        picture = np.asarray(Image.open(io.BytesIO(answer.content)), float)
        whole = vae.to_uint8(vae.decode(components, torch.tensor(latents)[None]))[0]
        assert picture.shape == (64, 96, 3)
        assert np.abs(picture - whole).mean() < 8, quantity


def test_the_tiny_decoder_draws_where_a_checkpoint_has_one(
    engine: DiffusionEngine, monkeypatch: pytest.MonkeyPatch
) -> None:
    job = made(engine, ask(guidance_scale=1.0, scheduler="euler", width=96, height=64))
    components = engine.components
    assert components is not None
    assert header(engine.record(job, owner=OWNER))["model"]["tiny_decoder"] is False
    with pytest.raises(Refused, match="no tiny decoder"):
        looked(engine, "decoded", job, evaluation=2, decoder="tiny")
    with pytest.raises(InvalidRequest, match="decoder"):
        looked(engine, "decoded", job, evaluation=2, decoder="large")
    torch.manual_seed(4)
    sizes, blocks = (8, 8, 8, 8), (1, 1, 1, 1)
    tiny = AutoencoderTiny(
        encoder_block_out_channels=sizes, decoder_block_out_channels=sizes, num_encoder_blocks=blocks,
        num_decoder_blocks=blocks,
    )  # fmt: skip
    monkeypatch.setattr(components, "tiny_vae", tiny.eval())
    answer = looked(engine, "decoded", job, evaluation=2, decoder="tiny")
    picture = np.asarray(Image.open(io.BytesIO(answer.content)), float)
    data = engine.record(job, owner=OWNER)
    tensors, facts = load(data), header(data)["evaluations"][2]
    x0 = (tensors["x_t"][2].astype(np.float32) - facts["s"] * tensors["model_cond"][2].astype(np.float32)) / facts["a"]
    with torch.inference_mode():
        whole = vae.to_uint8(tiny.decode(torch.tensor(x0)[None]).sample)[0]
    assert picture.shape == (64, 96, 3)
    assert np.abs(picture - whole).mean() < 8
    again = made(engine, ask(guidance_scale=1.0))
    assert header(engine.record(again, owner=OWNER))["model"]["tiny_decoder"] is True


def test_what_cannot_be_looked_at_is_refused(engine: DiffusionEngine) -> None:
    job = made(engine, ask(guidance_scale=1.0))
    with pytest.raises(Refused, match="guidance 1"):
        looked(engine, "decoded", job, quantity="x0_uncond")
    with pytest.raises(InvalidRequest, match="quantity"):
        looked(engine, "decoded", job, quantity="nothing")
    with pytest.raises(InvalidRequest, match="from 0 to 3"):
        looked(engine, "self-attention", job, evaluation=4)
    for asked in ({"owner": "ben", "job": job}, {"owner": OWNER, "job": job, "which": 1}, {"owner": OWNER, "job": "x"}):
        with pytest.raises(UnknownJob):
            inquire(engine, "decoded", **asked)  # type: ignore[arg-type]


def test_what_has_been_dropped_cannot_be_looked_at(engine: DiffusionEngine) -> None:
    job = engine.submit(ask(), owner="gone")
    outcome(engine, job, "gone")
    engine._recorder._drop((job, 0))
    with pytest.raises(UnknownJob):
        inquire(engine, "decoded", owner="gone", job=job)
