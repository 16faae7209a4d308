"""What the axes of a comparison offer as the form stands."""

from __future__ import annotations

from studio.asked.axes import AXIS_FIELDS
from studio.ui.compare import axes


def test_an_axis_that_cannot_be_used_says_what_it_needs() -> None:
    bare = {field: label for label, field in axes.choices(prompts="", picture=False, controls=False, models=1)}
    assert list(bare) == list(AXIS_FIELDS)
    needy = {field for field, label in bare.items() if axes.UNUSABLE in label}
    assert needy == {"strength", "prompt", "lora_weight", "control_scale", "checkpoint"}
    assert bare["strength"] == "Strength — needs a picture to start from"
    full = axes.choices(prompts="a fox <lora:x:1>", picture=True, controls=True, models=2)
    assert not any(axes.UNUSABLE in label for label, _ in full)


def test_each_axis_explains_its_own_values() -> None:
    for field in AXIS_FIELDS:
        assert ("range" in axes.help_of(field)) == (
            field not in ("prompt", "size", "scheduler", "noise_schedule", "guidance_method", "forecast", "checkpoint")
        )
    assert "takes its place" in axes.help_of("prompt")
