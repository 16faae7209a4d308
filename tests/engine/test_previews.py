"""Which decoder a frame is decoded by, and what becomes of the frame."""

from __future__ import annotations

import io
from dataclasses import replace

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image

from studio.diffusion.components import Components
from studio.engine.previews import Frame, PreviewDecoders
from tests.tiny import tiny_components

SIZE = (4, 8, 8)


@pytest.fixture(scope="module")
def components() -> Components:
    components = tiny_components()
    components.fast_preview = (torch.zeros(192, 4, 3, 3), torch.zeros(192))
    return components


def decoders(components: Components, *, step: float, full: float | None = None, fast: float = 0.001) -> PreviewDecoders:
    found = PreviewDecoders(components)
    found.record_step(SIZE, step)
    for _ in range(3):
        found.record("fast", SIZE, fast)
        if full is not None:
            found.record("full", SIZE, full)
    return found


def test_automatic_is_the_best_decoder_that_costs_at_most_15_percent_of_a_step(components: Components) -> None:
    assert decoders(components, step=1.0, full=0.149).choose("automatic", SIZE) == "full"
    assert decoders(components, step=1.0, full=0.151).choose("automatic", SIZE) == "fast"
    assert decoders(components, step=1.0).choose("automatic", SIZE) == "fast", "the cost of full is not known yet"


def test_of_steps_that_come_faster_than_they_are_shown_it_may_cost_less(components: Components) -> None:
    assert decoders(components, step=0.05, full=0.007).choose("automatic", SIZE) == "full"
    assert decoders(components, step=0.049, full=0.007).choose("automatic", SIZE) == "fast"
    assert decoders(components, step=0.04, full=0.0015).choose("automatic", SIZE) == "full"


def test_one_lucky_measurement_does_not_decide(components: Components) -> None:
    once = decoders(components, step=1.0)
    once.record("full", SIZE, 0.001)
    assert once.choose("automatic", SIZE) == "fast"


@pytest.fixture
def with_tiny(components: Components) -> Components:
    torch.manual_seed(0)
    return replace(components, tiny_vae=AutoencoderTiny(decoder_block_out_channels=(8,) * 4).eval())


def test_automatic_tries_a_tiny_decoder_twice_and_keeps_it_where_it_pays(with_tiny: Components) -> None:
    for cost, kept in ((0.1, "tiny"), (0.2, "fast")):
        found = decoders(with_tiny, step=1.0, full=0.5)
        for _ in range(2):
            assert found.choose("automatic", SIZE) == "tiny"
            found.record("tiny", SIZE, cost)
        assert found.choose("automatic", SIZE) == kept


def test_what_setting_up_has_cost_is_forgotten(with_tiny: Components) -> None:
    found = decoders(with_tiny, step=1.0)
    for cost in (5.0, 0.1):
        found.record("tiny", SIZE, cost)
    assert found.choose("automatic", SIZE) == "tiny"


def test_no_tiny_frame_where_the_whole_vae_pays_or_no_step_is_measured(with_tiny: Components) -> None:
    assert decoders(with_tiny, step=1.0, full=0.1).choose("automatic", SIZE) == "full"
    assert PreviewDecoders(with_tiny).choose("automatic", SIZE) == "fast"


def test_tiny_is_the_small_decoders_answer_to_the_latents_as_they_are(with_tiny: Components) -> None:
    latents = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pictures = PreviewDecoders(with_tiny).decode("tiny", latents)
        raw = with_tiny.tiny_vae.decode(latents).sample
    expected = ((raw / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)
    assert (pictures == expected).all()


def test_costs_are_kept_by_size(components: Components) -> None:
    small = decoders(components, step=1.0, full=0.1)
    assert small.choose("automatic", SIZE) == "full"
    assert small.choose("automatic", (4, 64, 64)) == "fast"


def test_a_decoder_asked_for_is_taken_whatever_it_costs(components: Components) -> None:
    dear = decoders(components, step=0.01, full=10.0)
    assert dear.choose("full", SIZE) == "full"
    assert dear.choose("fast", SIZE) == "fast"
    assert dear.choose("tiny", SIZE) == "fast", "there is no tiny decoder, so as automatic"


def test_where_the_vae_is_all_there_is_it_shows_a_frame_when_the_steps_have_paid_for_it() -> None:
    only_full = decoders(tiny_components(), step=1.0, full=0.6)
    shown = [only_full.choose("automatic", SIZE) for _ in range(12)]
    assert shown == [None, None, None, "full"] * 3


def test_full_is_the_vaes_decoding(components: Components) -> None:
    latents = torch.randn((2, 4, 8, 8), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        pictures = PreviewDecoders(components).decode("full", latents)
        raw = components.vae.decode(latents / components.vae.config.scaling_factor).sample
    assert pictures.shape == (2, 64, 64, 3)
    expected = ((raw / 2 + 0.5).clamp(0, 1) * 255).round().permute(0, 2, 3, 1).numpy().astype(np.uint8)
    assert (pictures == expected).all()


@pytest.mark.parametrize(
    ("width", "height", "small"),
    [(64, 64, (64, 64)), (512, 256, (128, 64)), (72, 1024, (9, 128)), (128, 40, (128, 40))],
)
def test_the_live_frame_has_full_size_and_the_filmstrips_at_most_128(
    width: int, height: int, small: tuple[int, int]
) -> None:
    frame = Frame(np.zeros((height, width, 3), np.uint8), "fast")
    preview = frame.preview()
    assert (preview.width, preview.height, preview.decoder) == (width, height, "fast")
    for jpeg, size in ((preview.jpeg, (width, height)), (frame.small(), small)):
        with Image.open(io.BytesIO(jpeg), formats=["JPEG"]) as image:
            assert image.size == size
