"""A word of a recorded run that is swapped in its layout, against a U-Net with attention processors of its own."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from studio.answered.events import Failed, Finished
from studio.asked.branch import Branch
from studio.asked.problems import InvalidRequest
from studio.asked.word_swap import WordSwap, read_swap
from studio.engine.engine import DiffusionEngine
from studio.engine.recorded_evaluation import RecordedEvaluation
from studio.engine.viewer.measures import model_input
from studio.picture.metadata import own_info
from tests.engine.conftest import ask, outcome
from tests.engine.test_branching import OWNER, branched, made, recording, same
from tests.engine.test_looking import looked
from tests.engine.test_recorder import header

STEPS = 4
RUN: dict[str, Any] = {"prompt": "a fox in snow", "scheduler": "ddim", "num_inference_steps": STEPS, "exact": True}
FOX = 2  # its place among the tokens, that of begin included


class Swapped:
    """Cross-attention in plain lines: the last row attends by the maps of the first, each token's part handed on."""

    def __init__(self, shares: torch.Tensor | None) -> None:
        self.shares = shares

    def __call__(self, attn: Any, hidden_states: Any, encoder_hidden_states: Any = None, **_: Any) -> Any:
        out, first = [], []
        for row in range(len(hidden_states)):
            q, k, v = attn.to_q(hidden_states[row]), attn.to_k(encoder_hidden_states[row]), attn.to_v(
                encoder_hidden_states[row]
            )  # fmt: skip
            heads = []
            for head, (qh, kh, vh) in enumerate(zip(*(t.chunk(attn.heads, dim=-1) for t in (q, k, v)))):
                maps = (qh @ kh.T * attn.scale).softmax(-1)
                first += [maps] if row == 0 else []
                if row == len(hidden_states) - 1 and self.shares is not None:
                    maps = first[head] @ self.shares
                heads.append(maps @ vh)
            out.append(attn.to_out[0](torch.cat(heads, -1)))
        return torch.stack(out)


def shares_of(count: int) -> torch.Tensor:
    """Where the tokens of "a fox in snow" go when `count` tokens stand in place of the fox."""
    shares = torch.zeros(77, 77)
    for token in range(77):
        if token == FOX:
            shares[token, FOX : FOX + count] = 1 / count
        else:
            shares[token, min(token + (count - 1 if token > FOX else 0), 76)] = 1
    shares[76, 76] = 1
    return shares


def exactly(engine: DiffusionEngine, job: str) -> list[RecordedEvaluation]:
    past = engine._recorder.past(job, 0)
    assert past is not None
    return past[1]


@torch.inference_mode()
def plain_answer(engine: DiffusionEngine, words: str, now: Any, then: Any, timestep: float, shares: Any) -> Any:
    """(2, C, h, w): the U-Net's answers for nothing and for new words at x_t `now`, by the maps that the run's own
    words had at x_t `then`."""
    components = engine.components
    assert components is not None
    tokenizer, encoder = components.encoders[0]
    texts = [str(RUN["prompt"]), "", words]
    ids = tokenizer(texts, padding="max_length", max_length=77, return_tensors="pt").input_ids
    device = components.device
    sample = torch.tensor(np.stack([then, now, now]), device=device)
    unet, shares = components.unet, shares if shares is None else shares.to(device)
    before = unet.attn_processors
    unet.set_attn_processor({n: Swapped(shares) if ".attn2." in n else one for n, one in before.items()})
    try:
        embeds = encoder(ids.to(device))[0]
        return unet(sample, torch.tensor(timestep), embeds, return_dict=False)[0][1:].cpu().numpy()
    finally:
        unet.set_attn_processor(before)


@pytest.mark.parametrize("words", ["cat", "blue sea"])
@pytest.mark.parametrize("guidance_scale", [1.0, 5.0])
def test_a_swapped_branch_is_that_of_a_plain_loop(engine: DiffusionEngine, words: str, guidance_scale: float) -> None:
    job = made(engine, ask(**RUN, guidance_scale=guidance_scale), attention=True)
    parent = recording(engine, job)
    child = branched(engine, job, 1, swap=f"fox>{words}", swap_until=3)
    its, facts = recording(engine, child), header(engine.record(child, owner=OWNER))
    count = len(words.split())
    then, now = exactly(engine, job), exactly(engine, child)
    x_t = model_input(then[1])
    for k in range(1, STEPS):
        e = now[k]
        assert np.abs(model_input(e) - x_t).max() < 1e-3, k
        maps = shares_of(count) if k < 3 else None
        new = f"a {words} in snow"
        nothing, answer = plain_answer(engine, new, x_t, model_input(then[k]), e.timestep, maps)
        assert np.abs(e.outputs[-1] - answer).max() < 1e-4, k
        _, free = plain_answer(engine, new, x_t, model_input(then[k]), e.timestep, None)
        assert (np.abs(e.outputs[-1] - free).max() < 1e-4) == (k == 3), "the layout matters while it is kept"
        noise = nothing + guidance_scale * (answer - nothing)
        if k + 1 < STEPS:  # DDIM
            x_t = now[k + 1].a * (x_t - e.s * noise) / e.a + now[k + 1].s * noise
            x_t = x_t.astype(np.float32)
    for name in ("x_t", "model_cond"):
        assert (its[name][0] == parent[name][0]).all(), "evaluations before the swap are the run's own"
    # What is recorded of the attention is what the row attended by.
    recorded, kept = parent["attention.down.4x4"][2].astype(float), its["attention.down.4x4"][2].astype(float)
    assert np.abs(kept.sum(0) - 1).max() < 4e-3
    for place in range(count):
        assert np.abs(kept[FOX + place] - recorded[FOX] / count).max() < 1e-3
    assert np.abs(kept[FOX + count : FOX + count + 2] - recorded[FOX + 1 : FOX + 3]).max() < 1e-3
    # The run goes on from the scheduler's own step: a branch of the branch, and looking again, know of the layout.
    assert same(recording(engine, branched(engine, child, 2)), its)
    layers = [one["name"] for one in facts["attention_layers"] if one["place"] == "down"]
    answers = [looked(engine, "heads", child, evaluation=2, layer=name).content for name in layers]
    heads = [load(answer)["heads"].astype(float).mean(0) for answer in answers]
    assert np.abs(np.mean(heads, axis=0) - kept).max() < 2e-3
    assert same(recording(engine, job), parent), "the run that was left is as it was"


def test_the_same_word_changes_nothing_and_the_picture_says_a_swap(engine: DiffusionEngine) -> None:
    job = made(engine, ask(**RUN))
    parent = recording(engine, job)
    unchanged = recording(engine, branched(engine, job, 1, swap="fox>fox", swap_until=4))
    assert np.abs(unchanged["latents"].astype(float) - parent["latents"]).max() < 4e-3
    child = branched(engine, job, 1, swap="FOX>cat", swap_until=3)
    finished = outcome(engine, child, OWNER)
    assert isinstance(finished, Finished)
    path = engine._gallery.path(finished.pictures[0].id, OWNER)
    assert path is not None
    info = own_info(path)
    assert info is not None
    assert info["prompt"] == "a cat in snow"
    assert info["word_swap"] == {"word": "FOX", "replacement": "cat", "first": 1, "until": 3}
    assert info["prompt_notes"] == ['From evaluation 2 on "FOX" is "cat", in the former layout up to evaluation 3.']
    assert header(engine.record(child, owner=OWNER))["branch"]["changed"] == {"swap": "FOX>cat", "swap_until": 3}
    for changed in ({"word_weights": "1:0"}, {"scheduler": "euler"}, {"swap": "cat>sea", "swap_until": 4}):
        with pytest.raises(InvalidRequest, match="from evaluation 3 on"):
            engine.branch(child, Branch(evaluation=2, **changed), owner=OWNER)
    with pytest.raises(InvalidRequest, match="from evaluation 3 on"):
        looked(engine, "word-weights", child, evaluation=2, word_weights="1:0")
    # From where its layout ends, or with another prompt, it is a run like any other.
    branched(engine, child, 3, word_weights="1:0")
    plain = recording(engine, branched(engine, child, 1, prompt="blue sea"))
    assert same(plain, recording(engine, branched(engine, job, 1, prompt="blue sea")))


@pytest.mark.parametrize(
    ("changed", "sentence"),
    [
        ({"swap": "cat>sea"}, "swap: 'cat' is not allowed. Allowed: a word of the prompt: a, fox, in, snow"),
        ({"swap": "fox"}, "such as fox>cat"),
        ({"swap": "fox>a <lora:x>"}, "without brackets"),
        ({"swap": "fox>cat AND sea"}, "without brackets"),
        ({"swap": "fox>cat", "swap_until": None}, "swap_until: nothing is not allowed"),
        ({"swap": "fox>cat", "swap_until": 1}, "swap_until: 1 is not allowed. Allowed: whole numbers from 2"),
        ({"swap": "fox>cat", "swap_until": 5}, "swap_until: 5 is not allowed. Allowed: whole numbers from 2 to 4"),
        ({"swap": None}, "such as fox>cat"),
        ({"swap": "fox>cat", "prompt": "sea"}, "nothing beside a swap"),
        ({"swap": "fox>cat", "word_weights": "0:0"}, "nothing beside a swap"),
        ({"swap": "fox>cat", "scheduler": "euler"}, "nothing beside a swap"),
    ],
)
def test_swaps_that_cannot_be_are_refused(engine: DiffusionEngine, changed: dict[str, Any], sentence: str) -> None:
    job = made(engine, ask(**RUN))
    with pytest.raises(InvalidRequest, match=sentence):
        engine.branch(job, Branch(evaluation=1, **({"swap_until": 3} | changed)), owner=OWNER)


def test_a_prompt_of_several_texts_or_other_chunks_or_with_weights_is_refused(engine: DiffusionEngine) -> None:
    for prompt in ("a fox AND snow", "a [fox:cat:2]"):
        job = made(engine, ask(**RUN | {"prompt": prompt}))
        with pytest.raises(InvalidRequest, match="one text, without AND"):
            engine.branch(job, Branch(evaluation=1, swap="fox>sea", swap_until=3), owner=OWNER)
    full = made(engine, ask(**RUN | {"prompt": "a fox" + " snow" * 73}))
    child = engine.branch(full, Branch(evaluation=1, swap="fox>blue sea", swap_until=3), owner=OWNER)
    failed = outcome(engine, child, OWNER)
    assert isinstance(failed, Failed)
    assert (failed.kind, "the chunks of tokens in which they are" in failed.message) == ("bad_request", True)
    branched(engine, full, 1, swap="fox>cat", swap_until=3)
    weighted = branched(engine, made(engine, ask(**RUN)), 1, word_weights="0:0", weights_until=2)
    with pytest.raises(InvalidRequest, match="have no weights at these evaluations"):
        engine.branch(weighted, Branch(evaluation=1, swap="fox>cat", swap_until=3), owner=OWNER)
    branched(engine, weighted, 2, swap="fox>cat", swap_until=3)
    other_levels = branched(engine, full, 3, scheduler="euler", noise_schedule="karras")
    with pytest.raises(InvalidRequest, match="whole numbers from 2 to 3"):
        engine.branch(other_levels, Branch(evaluation=1, swap="fox>cat", swap_until=4), owner=OWNER)


def test_a_swap_is_read_from_a_line_and_leaves_the_names_of_loras() -> None:
    assert read_swap(" fox > blue sea ") == ("fox", "blue sea")
    swap = WordSwap(word="fox", replacement=r"\1 cat", first=0, until=1)
    assert swap.prompt("(fox:1.2), foxes, Fox <lora:fox:1>") == r"(\1 cat:1.2), foxes, \1 cat <lora:fox:1>"
    parsed = Branch.parse({"evaluation": "1", "swap": "fox>cat", "swap_until": "3"}).word_swap
    assert parsed == WordSwap(word="fox", replacement="cat", first=1, until=3)
    with pytest.raises(InvalidRequest, match="swap_until"):
        Branch.parse({"evaluation": "1", "swap": "fox>cat"})
