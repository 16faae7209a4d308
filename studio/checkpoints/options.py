"""How models are held and run, as the flags say: limits of memory, and what trades speed for it. No torch."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, kw_only=True)
class ModelOptions:
    """Everything is off or automatic unless it was asked for.

    `device_limit`, `ram_limit`: bytes of weights that may stay on the device and in RAM beside the model in use; None:
    from what is free when the engine starts. The model in use is always loaded, however small they are.
    """

    device_limit: int | None = None
    ram_limit: int | None = None
    attention_slicing: bool = False  # attention in slices: less memory, slower
    vae_tiling: bool = False  # pictures larger than the VAE's own size are decoded in tiles
    offload: bool = False  # parts wait in RAM and come to the device when they are called (accelerate's hooks)
    fp8: bool = False  # U-Net weights stored as float8 (e4m3), computed in the usual precision
    channels_last: bool = False  # memory layout that some GPUs convolve faster in
    compile: bool = False  # torch.compile of the U-Net: minutes at first, faster then
