"""Every field of a request changes the picture, or is declared cosmetic: a control that does nothing fails here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image, ImageDraw
from safetensors.torch import save_file
from transformers import CLIPTextConfig, CLIPTextModel

from studio.asked.fields import Inpaint
from studio.asked.requests import REQUEST_KINDS
from studio.asked.rows import Row
from tests.diffusion.published_upscalers import PublishedCompact
from tests.engine.conftest import EngineFactory, finish, pixels
from tests.tiny import save_tiny_checkpoint, tiny_vae


def png(colour: str, box: tuple[int, int, int, int]) -> bytes:
    picture, file = Image.new("RGB", (64, 64), "black"), io.BytesIO()
    ImageDraw.Draw(picture).rectangle(box, fill=colour)
    picture.save(file, "PNG")
    return file.getvalue()


PLAIN: dict[str, Any] = {
    "prompt": "a red fox", "negative_prompt": "snow", "checkpoint": "tiny", "seed": 5, "num_inference_steps": 4,
    "scheduler": "euler", "noise_schedule": "normal", "variation_strength": 0.3, "variation_seed": 9, "exact": True,
}  # fmt: skip
OF_KIND: dict[str, dict[str, Any]] = {
    "text_to_image": {"width": 64, "height": 64, "hires_scale": 1.5, "hires_steps": 4, "hires_strength": 0.6},
    "image_to_image": {"image": png("red", (8, 8, 40, 30)), "width": 64, "height": 128, "strength": 0.6},
    "inpaint": {
        "image": png("red", (8, 8, 40, 30)), "mask": png("white", (16, 16, 40, 40)), "strength": 0.8,
        "inpaint_area": "masked", "padding": 8,
    },
}  # fmt: skip
OTHER: dict[str, Any] = {
    "prompt": "a blue apple", "negative_prompt": "sea", "checkpoint": "tiny-v", "num_images_per_prompt": 2,
    "width": 128, "height": 96, "clip_skip": 2, "image": png("lime", (0, 0, 60, 30)),
    "strength": 0.9, "hires_strength": 0.9, "vae_name": "other", "upscaler_name": "4x", "upscale": "4x",
    "mask": png("white", (4, 4, 30, 60)), "inpaint_area": "whole", "hires_scale": 2.0, "padding": 24,
    "s_tmin": 5.0, "s_tmax": 2.0, "noise_seed_delta": 31337,
    "guidance_low": 2.0, "guidance_high": 2.0, "apg_norm": 1.0,
    "hires_prompt": "a blue apple", "hires_negative_prompt": "sea",
}  # fmt: skip
# What a field needs beside it to have a say.
BESIDE: dict[str, dict[str, Any]] = {
    "emphasis": {"prompt": "a (red:1.6) fox"},
    "apg_eta": {"guidance_method": "apg"}, "apg_norm": {"guidance_method": "apg"},
    "apg_momentum": {"guidance_method": "apg"},
    "eta": {"scheduler": "euler_a"},
    "forecast": {"num_inference_steps": 8},
    "noise_seed_delta": {"scheduler": "euler_a"},
    "s_tmin": {"s_churn": 30.0}, "s_tmax": {"s_churn": 30.0}, "s_noise": {"s_churn": 30.0},
}  # fmt: skip


def other(row: Row, value: Any) -> Any:
    """An allowed value that differs."""
    if row.name in OTHER:
        return OTHER[row.name]
    if row.kind == "choice":
        return next(name for name in reversed(row.choices) if name not in (value, "automatic", "as_configured"))
    if row.kind == "flag":
        return not value
    if row.kind == "seed":
        return 77
    assert row.allowed is not None
    wanted = row.allowed.low + 0.7 * (row.allowed.high - row.allowed.low)
    near = {"num_inference_steps": 7, "hires_steps": 8, "guidance_scale": 12.0, "mask_blur": 12}.get(row.name, wanted)
    return (
        near
        if row.name in ("num_inference_steps", "hires_steps", "guidance_scale", "mask_blur")
        else (64 if row.name.startswith("extend_") else wanted)
    )


def cases() -> list[tuple[str, str]]:
    """Every field once, in the first kind of request that has it. Controls are in test_control.py: they need a net."""
    firsts: dict[str, str] = {}
    for kind, asked in REQUEST_KINDS.items():
        for name in asked.rows():
            firsts.setdefault(name, kind)
    return [(kind, name) for name, kind in firsts.items() if name != "controls"]


@pytest.fixture(scope="module")
def deeper(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Checkpoints with two layers in their text encoders, so that one can be skipped."""
    models = tmp_path_factory.mktemp("deeper")
    for name, prediction in (("tiny", "epsilon"), ("tiny-v", "v_prediction")):
        folder = save_tiny_checkpoint(models / "checkpoints" / name, prediction_type=prediction)
        config = CLIPTextConfig.from_pretrained(folder / "text_encoder")
        config.num_hidden_layers = 2
        torch.manual_seed(3)
        CLIPTextModel(config).save_pretrained(folder / "text_encoder")
    tiny_vae(seed=11).save_pretrained(models / "vae" / "other")
    (models / "upscalers").mkdir()
    save_file(PublishedCompact().state_dict(), models / "upscalers" / "4x.safetensors")
    return models


@pytest.mark.parametrize(("kind", "name"), cases())
def test_a_field_changes_the_picture_or_is_declared_cosmetic(
    make_engine: EngineFactory, deeper: Path, kind: str, name: str
) -> None:
    engine = make_engine(models_dirs=[deeper])
    asked = REQUEST_KINDS[kind]
    row = asked.rows()[name]
    plain = PLAIN | OF_KIND[kind] | BESIDE.get(name, {})
    if name.startswith("extend_") or name in ("width", "height"):
        plain |= (
            {"inpaint_area": "whole"} if asked is Inpaint else {"hires_scale": 1.0} if kind == "text_to_image" else {}
        )
    before = asked.parse(plain)
    after = asked.parse(plain | {name: other(row, getattr(before, name))})
    assert getattr(before, name) != getattr(after, name)
    first, second = finish(engine, before), finish(engine, after)
    a, b = pixels(engine, first), pixels(engine, second)
    same = a.shape == b.shape and bool((a == b).all()) and len(first.pictures) == len(second.pictures)
    assert same == (row.effect == "cosmetic")
