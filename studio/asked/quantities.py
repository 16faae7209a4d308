"""What can be looked at of an evaluation: the one table of the noise viewer, its exports and its questions."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal


@dataclass(frozen=True)
class Quantity:
    """Something that can be shown of an evaluation: a state, which goes through a decoder, or a change, which is a
    field. The label stands in exported films too, whose font has no minus sign and no Greek."""

    label: str
    kind: Literal["state", "change"] = "state"
    is_noise: bool = False


QUANTITIES: Mapping[str, Quantity] = {  # in the order in which they are offered
    "x_t": Quantity("x_t, noisy latents"),
    "denoised": Quantity("predicted x0"),
    "x0_uncond": Quantity("x0 without the prompt"),
    "x0_cond": Quantity("x0 with the prompt alone"),
    "noise_pred": Quantity("predicted noise", is_noise=True),
    "eps_uncond": Quantity("noise without the prompt", is_noise=True),
    "eps_cond": Quantity("noise with the prompt alone", is_noise=True),
    "guidance": Quantity("d, guidance vector", "change"),
    "change_x_t": Quantity("change of x_t by this step", "change"),
    "change_x0": Quantity("change of x0", "change"),
    "left_x0": Quantity("x0 - final x0", "change"),
}
STATE_DECODERS: Mapping[str, str] = {  # how a state is drawn as a picture: name and label, here and in exported films
    "fast": "Fast decoder",
    "channels": "Channels",
    "cells": "Size per cell",
}
NOISE_CONTRAST = 0.3  # of pure noise by the fast decoder, as in studio/ui/viewer/static/calm.js
DEFAULT_QUANTITIES = ("x_t", "denoised", "noise_pred")


def contrast(quantity: str, a: float, s: float) -> float:
    """The contrast with which the fast decoder draws a quantity at the level x_t = a x0 + s noise: less for noise,
    whose colours would be cut off at the screen's."""
    if QUANTITIES[quantity].is_noise:
        return NOISE_CONTRAST
    return (a * a + NOISE_CONTRAST * s * s) / (a * a + s * s) if quantity == "x_t" else 1.0
