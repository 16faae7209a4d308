"""Which word will be lost: the measure that comes with a recording, against a plain loop over its maps."""

from __future__ import annotations

import math
from typing import Any

from safetensors.numpy import load

from studio.engine.engine import DiffusionEngine
from studio.engine.viewer.lost_words import LOST_ABOVE, lost_above
from tests.engine.conftest import ask
from tests.engine.test_branching import OWNER, made
from tests.engine.test_recorder import header


def plain_measures(run: dict[str, Any], tensors: dict[str, Any], evaluation: int) -> list[float]:
    """In plain lines: mean over the layers of the finest grid, sum over tokens, share, Gaussian, maximum."""
    layers = run["attention_layers"]
    height, width = max({(one["height"], one["width"]) for one in layers if one["height"] * one["width"] <= 256})
    here = [one for one in layers if (one["height"], one["width"]) == (height, width)]
    words = run["tokens"]["prompt"][0]["chunks"][0]["words"]
    kinds = sorted({word for word in words if word is not None})
    rows = run["attention_rows"][0]
    shares = [[[0.0] * width for _ in range(height)] for _ in kinds]
    for y in range(height):
        for x in range(width):
            for number, row in enumerate(rows):
                word = words[row["position"]] if row["position"] is not None else None
                if word is not None:
                    for one in here:
                        value = float(tensors[f"attention.{one['place']}.{height}x{width}"][evaluation][number, y, x])
                        shares[word][y][x] += value / len(here)
            total = sum(shares[word][y][x] for word in kinds)
            for word in kinds:
                shares[word][y][x] /= total
    bell = [math.exp(-2.0), 1.0, math.exp(-2.0)]
    measures = []
    for word in kinds:
        highest = 0.0
        for y in range(height):
            for x in range(width):
                value = 0.0
                for dy in (-1, 0, 1):
                    for dx in (-1, 0, 1):
                        at_y, at_x = abs(y + dy), abs(x + dx)
                        at_y = 2 * (height - 1) - at_y if at_y >= height else at_y
                        at_x = 2 * (width - 1) - at_x if at_x >= width else at_x
                        value += bell[dy + 1] * bell[dx + 1] / sum(bell) ** 2 * shares[word][at_y][at_x]
                highest = max(highest, value)
        measures.append(1 - highest)
    return measures


def test_the_measure_of_each_word_is_that_of_a_plain_loop(engine: DiffusionEngine) -> None:
    request = ask(
        prompt="a red fox beside (extraordinarily:1.2) blue water", num_inference_steps=3, width=96, height=64
    )
    job = made(engine, request, attention=True)
    data = engine.record(job, owner=OWNER)
    run, tensors = header(data), dict(load(data))
    assert run["lost_above"] == [LOST_ABOVE]
    assert lost_above(40) == 0.95
    for k, numbers in enumerate(run["evaluations"]):
        expected = plain_measures(run, tensors, k)
        assert len(numbers["lost_words"]) == len(expected) == 7
        assert all(abs(one - other) < 2e-3 for one, other in zip(numbers["lost_words"], expected))
        assert len({round(one, 3) for one in expected}) > 3
    later = header(engine.record(job, owner=OWNER, since=2))["evaluations"]
    assert [one["lost_words"] for one in later] == [run["evaluations"][2]["lost_words"]]


def test_one_word_alone_has_no_measure_and_a_run_without_attention_none_either(engine: DiffusionEngine) -> None:
    alone = header(engine.record(made(engine, ask(prompt="fox"), attention=True), owner=OWNER))
    assert alone["evaluations"][0]["lost_words"] is None
    quiet = header(engine.record(made(engine, ask(prompt="a fox")), owner=OWNER))
    assert quiet["lost_above"] is None
    assert "lost_words" not in quiet["evaluations"][0]
