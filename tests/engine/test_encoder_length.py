"""A text encoder that reads 40 tokens at once instead of CLIP's 77: chunks, weights, word maps and the token count."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.numpy import load

from studio.answered.events import Finished, Started
from studio.diffusion.chunks import chunks_of
from studio.diffusion.prompt import encode_prompts
from studio.engine.engine import DiffusionEngine
from studio.engine.jobs import Limits
from studio.picture.gallery import Gallery
from studio.ui.generate.token_line import token_view
from tests.engine.conftest import OneThread, ask, outcome, run
from tests.engine.test_answers import inquire
from tests.engine.test_branching import OWNER, made
from tests.engine.test_recorder import header
from tests.tiny import save_tiny_checkpoint, tiny_components

POSITIONS = 40
LONG = "a (red:1.5) fox BREAK " + "snow " * 39  # chunks of 3, 38 and 1 tokens
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def short_engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[DiffusionEngine]:
    models = tmp_path_factory.mktemp("models")
    save_tiny_checkpoint(models / "checkpoints" / "tiny", fast_preview=True, positions=POSITIONS)
    engine = DiffusionEngine(
        [models],
        Gallery(tmp_path_factory.mktemp("outputs")),
        preload=None,
        make_device=OneThread,
        limits=Limits(unwatched_seconds=None, per_owner=100),
    )
    engine.start()
    yield engine
    engine.close()


def test_chunks_are_as_long_as_the_encoder_reads() -> None:
    components = tiny_components(positions=POSITIONS)
    assert (components.positions, components.chunk_tokens) == (40, 38)
    tokenizer = components.text_encoders[0].tokenizer
    assert [len(chunk.tokens) for chunk in chunks_of(tokenizer, LONG, components.chunk_tokens)] == [3, 38, 1]


@torch.inference_mode()
def test_each_chunk_is_encoded_as_the_encoder_encodes_it_alone() -> None:
    components = tiny_components(positions=POSITIONS)
    tokenizer, encoder = components.encoders[0]
    embeds, _ = encode_prompts(components, "fox " * 38 + "cat", "", num_steps=1, guidance_scale=1.0).at(0)
    assert embeds.shape == (1, 80, 8)
    for k, text in enumerate(("fox " * 38, "cat")):
        ids = tokenizer(text, padding="max_length", truncation=True, return_tensors="pt").input_ids
        assert ids.shape == (1, POSITIONS)
        assert torch.allclose(embeds[:, 40 * k : 40 * (k + 1)], encoder(ids)[0], atol=1e-6)
    weighted, _ = encode_prompts(components, "a (red:1.5) fox", "", num_steps=1, guidance_scale=1.0).at(0)
    plain, _ = encode_prompts(components, "a red fox", "", num_steps=1, guidance_scale=1.0).at(0)
    ratio = (weighted / plain)[0].mean(dim=-1)
    assert torch.allclose(ratio[2] / ratio[1], torch.tensor(1.5)), "the weight stands at its token"


def test_a_picture_and_its_word_maps(short_engine: DiffusionEngine) -> None:
    events = run(short_engine, ask(prompt=LONG))
    assert isinstance(events[-1], Finished)
    [started] = [event for event in events if isinstance(event, Started)]
    assert (started.prompt_tokens, started.chunks) == (42, 3)
    assert "The prompt was encoded in 3 chunks of 40 tokens; nothing was cut off." in started.notes
    job = made(short_engine, ask(prompt=LONG, width=96, height=64), attention=True)
    data = short_engine.record(job, owner=OWNER)
    facts = header(data)
    chunks = facts["tokens"]["prompt"][0]["chunks"]
    assert [{len(values) for name, values in chunk.items() if name != "others"} for chunk in chunks] == [{40}] * 3
    [rows] = facts["attention_rows"]
    # Begin, content, end and the padding together; the second chunk is full and has none.
    assert [sum(row["chunk"] == c for row in rows) for c in range(3)] == [3 + 3, 38 + 2, 1 + 3]
    assert [row["chunk"] for row in rows if row["position"] is None] == [0, 2]
    maps = load(data)["attention.down.4x6"][-1].astype(float)
    assert len(maps) == len(rows)
    assert np.abs(maps.sum(axis=0) - 1).max() < 4e-3, "together the rows are all of the attention"
    names = [one["name"] for one in facts["attention_layers"] if one["place"] == "down"]
    heads = load(inquire(short_engine, "heads", owner=OWNER, job=job, evaluation=3, layer=names[0]).content)["heads"]
    assert heads.shape[1] == len(rows)
    assert np.abs(heads.astype(float).sum(axis=1) - 1).max() < 4e-3
    assert isinstance(outcome(short_engine, job, OWNER), Finished)


def test_the_line_under_the_prompt_counts_its_chunks(short_engine: DiffusionEngine) -> None:
    assert asyncio.run(token_view(short_engine, "tiny", "snow " * 38))["counts"] == "38 tokens, 1 chunk"
    assert asyncio.run(token_view(short_engine, "tiny", "snow " * 39))["counts"] == "39 tokens, 2 chunks"


def test_no_code_says_how_long_an_encoder_is() -> None:
    said = [
        f"{path.relative_to(ROOT)}: {line.strip()}"
        for path in sorted([*ROOT.glob("studio/**/*.py"), *ROOT.glob("studio/ui/static/**/*.js")])
        for line in path.read_text(encoding="utf-8").splitlines()
        if re.search(r"(?<![\d.])7[57](?![\d.])", line) and re.search(r"token|chunk|position|place|prompt", line)
    ]
    assert said == []
