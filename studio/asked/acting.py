"""Whether a field has a say in a request, by the request's values: what rows of the table of fields are given."""

from __future__ import annotations

from collections.abc import Callable

from studio.asked.rows import Values
from studio.asked.upscale import NO_UPSCALER


def has_variation(values: Values) -> bool:
    """Whether another noise has a share in the first one."""
    return bool(values.get("variation_strength"))


def is_made_twice(values: Values) -> bool:
    """Whether there is a second pass."""
    scale = values.get("hires_scale")
    return isinstance(scale, (int, float)) and scale > 1


def own_second(name: str) -> Callable[[Values], bool]:
    """Whether a second pass has its own value of a field."""
    return lambda values: is_made_twice(values) and values.get(name) not in (None, "", "same")


def is_masked_only(values: Values) -> bool:
    """Whether the model is given the painted part alone."""
    return values.get("inpaint_area") == "masked"


def names_a_vae(values: Values) -> bool:
    """Whether the run has a VAE of its own."""
    return bool(values.get("vae_name"))


def is_enlarged(values: Values) -> bool:
    """Whether an upscaler enlarges the picture between its two passes: the latents have none."""
    named = bool(values.get("upscaler_name")) and values.get("hires_upscaler") != "latent"
    return is_made_twice(values) and named


def is_upscaled(values: Values) -> bool:
    """Whether an upscaler enlarges the finished picture."""
    return values.get("upscale") not in (None, "", NO_UPSCALER)


def skips(values: Values) -> bool:
    """Whether a layer before the last one is listened to."""
    return values.get("clip_skip") not in (None, 1)


def weights_otherwise(values: Values) -> bool:
    """Whether weights act in another way than A1111's usual one."""
    return values.get("emphasis") not in (None, "original")


def forecasts(values: Values) -> bool:
    """Whether some evaluations are not asked of the U-Net."""
    return values.get("forecast") not in (None, "off")
