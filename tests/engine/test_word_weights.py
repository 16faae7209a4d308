"""Words of a recorded run that are weighted: a branch and a question, against a U-Net with processors of its own."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from studio.answered.events import Finished
from studio.asked.branch import Branch
from studio.asked.problems import InvalidRequest
from studio.asked.word_weights import read_weights
from studio.engine.engine import DiffusionEngine
from studio.picture.metadata import own_info
from tests.engine.conftest import ask, outcome
from tests.engine.test_branching import OWNER, branched, made, recording, same
from tests.engine.test_looking import looked
from tests.engine.test_recorder import header

STEPS = 4
RUN: dict[str, Any] = {"prompt": "a red fox", "scheduler": "ddim", "num_inference_steps": STEPS, "exact": True}


class Weighted:
    """Cross-attention in plain lines: each score of the prompt's row gets log m added."""

    def __init__(self, factors: list[float]) -> None:
        self.factors = factors

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
        out = []
        for row in range(len(hidden_states)):
            q, k, v = attn.to_q(hidden_states[row]), attn.to_k(encoder_hidden_states[row]), attn.to_v(
                encoder_hidden_states[row]
            )  # fmt: skip
            heads = []
            for qh, kh, vh in zip(*(t.chunk(attn.heads, dim=-1) for t in (q, k, v))):
                parts = (qh @ kh.T * attn.scale).exp()
                if row == len(hidden_states) - 1:
                    for token, factor in enumerate(self.factors):
                        parts[:, token] *= factor
                heads.append(parts / parts.sum(-1, keepdim=True) @ vh)
            out.append(attn.to_out[0](torch.cat(heads, -1)))
        return torch.stack(out)


@contextmanager
def weighted(unet: Any, factors: list[float]) -> Iterator[None]:
    before = unet.attn_processors
    unet.set_attn_processor(
        {name: Weighted(factors) if ".attn2." in name else one for name, one in before.items()}
    )  # fmt: skip
    try:
        yield
    finally:
        unet.set_attn_processor(before)


def tokens_of(record: dict[str, Any], word: int) -> list[int]:
    return [k for k, one in enumerate(record["tokens"]["prompt"][0]["chunks"][0]["words"]) if one == word]


@torch.inference_mode()
def plain_answer(engine: DiffusionEngine, x_t: Any, timestep: float, factors: list[float]) -> Any:
    """(2, C, h, w): the U-Net's answers for nothing and the prompt, by the loop above."""
    components = engine.components
    assert components is not None
    tokenizer, encoder = components.encoders[0]
    texts = ["", str(RUN["prompt"])]
    ids = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
    embeds = encoder(ids.to(components.device))[0]
    sample = torch.tensor(x_t)[None].repeat(2, 1, 1, 1).to(components.device)
    with weighted(components.unet, factors):
        return components.unet(sample, torch.tensor(timestep), embeds, return_dict=False)[0].cpu().numpy()


@pytest.mark.parametrize("weights", [{2: 0.0}, {1: 1.6, 2: 0.5}])
def test_a_weighted_branch_and_the_question_are_those_of_a_plain_loop(
    engine: DiffusionEngine, weights: dict[int, float]
) -> None:
    job = made(engine, ask(**RUN), attention=True)
    facts, parent = header(engine.record(job, owner=OWNER)), recording(engine, job)
    words = [tokens_of(facts, word) for word in range(3)]
    factors = [1.0] * 77
    for word, weight in weights.items():
        for token in words[word]:
            factors[token] = weight
    text = ",".join(f"{word}:{weight}" for word, weight in weights.items())
    child = branched(engine, job, 1, word_weights=text, weights_until=3)
    its, numbers = recording(engine, child), header(engine.record(child, owner=OWNER))["evaluations"]
    for k in range(STEPS):
        x_t, timestep = its["x_t"][k].astype(np.float32), numbers[k]["timestep"]
        _, expected = plain_answer(engine, x_t, timestep, factors if k in (1, 2) else [1.0] * 77)
        assert np.abs(its["model_cond"][k] - expected).max() < 4e-3, k
        assert (its["model_cond"][k] == parent["model_cond"][k]).all() == (k == 0)
    group = its["attention.down.4x4"][1].astype(float)
    assert np.abs(group.sum(0) - 1).max() < 4e-3
    if weights.get(2) == 0:
        assert (group[words[2]] == 0).all()
        assert not (its["attention.down.4x4"][3][words[2]] == 0).any()

    answer = looked(engine, "word-weights", job, evaluation=1, word_weights=text)
    asked, run = load(answer.content), header(answer.content)
    x_t, guidance = parent["x_t"][1].astype(np.float32), facts["guidance_scale"]
    nothing, with_words = plain_answer(engine, x_t, facts["evaluations"][1]["timestep"], factors)
    expected = nothing + guidance * (with_words - nothing)
    assert np.abs(asked["noise_pred"] - expected).max() < 4e-3 * guidance
    assert run["rms_change"] > 0
    assert [(one["number"], one["weight"]) for one in run["words"]] == sorted(weights.items())
    assert [one["word"] for one in run["words"]] == [RUN["prompt"].split()[word] for word in sorted(weights)]
    assert same(recording(engine, job), parent), "a question changes nothing"


def test_a_picture_says_its_weights_and_a_branch_of_it_keeps_them(engine: DiffusionEngine) -> None:
    job = made(engine, ask(**RUN))
    child = branched(engine, job, 1, word_weights="2:0", weights_until=3)
    finished = outcome(engine, child, OWNER)
    assert isinstance(finished, Finished)
    path = engine._gallery.path(finished.pictures[0].id, OWNER)
    assert path is not None
    info = own_info(path)
    assert info is not None
    assert info["word_weights"] == {"words": [{"number": 2, "word": "fox", "weight": 0.0}], "first": 1, "until": 3}
    assert info["prompt_notes"] == ["Words are weighted from evaluation 2 to 3: fox 0."]
    facts = header(engine.record(child, owner=OWNER))
    assert facts["branch"]["changed"] == {"word_weights": "2:0", "weights_until": 3}
    again = branched(engine, child, 2)
    assert same(recording(engine, again), recording(engine, child))
    plain = branched(engine, child, 1, word_weights="2:1")
    assert same(recording(engine, plain), recording(engine, job))


@pytest.mark.parametrize(
    ("changed", "field"),
    [
        ({"word_weights": "3:0"}, "word 3"),
        ({"word_weights": "0:0,1:0,2:0"}, "a word that is left"),
        ({"word_weights": "0:2.5"}, "from 0 to 2"),
        ({"word_weights": "0:nan"}, "from 0 to 2"),
        ({"word_weights": "0:1,0:1"}, "pairs word:weight"),
        ({"weights_until": 3}, "word_weights"),
        ({"word_weights": "0:0", "weights_until": 1}, "weights_until"),
        ({"word_weights": "0:0", "prompt": "a cat"}, "the run's own prompt"),
    ],
)
def test_weights_that_mean_nothing_are_refused(engine: DiffusionEngine, changed: dict[str, Any], field: str) -> None:
    job = made(engine, ask(**RUN))
    with pytest.raises(InvalidRequest, match=field):
        engine.branch(job, Branch(evaluation=1, **changed), owner=OWNER)


def test_weights_are_read_from_a_line() -> None:
    assert read_weights("5:0, 3:1.5") == ((3, 1.5), (5, 0.0))
    assert Branch.parse({"evaluation": "1", "word_weights": "5:0"}).word_weights == "5:0"
    with pytest.raises(InvalidRequest, match="word_weights"):
        Branch.parse({"evaluation": "1", "word_weights": "fox:0"})
