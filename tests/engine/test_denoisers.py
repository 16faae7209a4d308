"""The kind of a family's denoiser says which lanes share a call, and makes it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from typing import Any

import numpy as np
import pytest
import torch

from studio.answered.events import Finished
from studio.diffusion.denoisers import DENOISERS, Unet, call_unet
from studio.diffusion.unet_call import UnetCall
from studio.engine import scheduler
from tests.engine.conftest import EngineFactory, ask, finish, outcome, pixels

SIZES = ((64, 64), (96, 64))


class AnySize:
    """Takes rows of several sizes in one call, as the transformers of today do."""

    def __init__(self) -> None:
        self.sizes: list[set[tuple[int, ...]]] = []  # of the latents of each call

    def batch_key(self, latents: tuple[int, ...], prompt: tuple[int, ...], conditions: Mapping[str, Any]) -> Hashable:
        return prompt

    def answers(self, components: Any, calls: Sequence[UnetCall], *caches: Any) -> list[torch.Tensor]:
        self.sizes.append({tuple(call.sample.shape[2:]) for call in calls})
        return [call_unet(components, [call]) for call in calls]


def test_lanes_of_two_sizes_share_a_call_where_the_denoiser_takes_both(
    make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch
) -> None:
    engine = make_engine()
    requests = [ask(width=width, height=height, exact=False) for width, height in SIZES]
    alone = [pixels(engine, finish(engine, request)) for request in requests]
    denoiser = AnySize()
    monkeypatch.setitem(DENOISERS, "unet", denoiser)
    monkeypatch.setattr(scheduler, "ADMIT_SECONDS", 60.0)
    jobs = [engine.submit(request, owner="anna") for request in requests]
    ends = [outcome(engine, job) for job in jobs]
    assert {(8, 8), (8, 12)} in denoiser.sizes
    for end, picture in zip(ends, alone):
        assert isinstance(end, Finished)
        assert np.array_equal(pixels(engine, end), picture)


def test_a_unet_takes_one_size_and_one_length_of_prompt() -> None:
    key = Unet().batch_key((4, 8, 8), (77, 32), {"time_ids": (6,)})
    assert key == Unet().batch_key((4, 8, 8), (77, 32), {"time_ids": (6,)})
    assert key != Unet().batch_key((4, 8, 12), (77, 32), {"time_ids": (6,)})
    assert key != Unet().batch_key((4, 8, 8), (154, 32), {"time_ids": (6,)})
    assert key != Unet().batch_key((4, 8, 8), (77, 32), {})
