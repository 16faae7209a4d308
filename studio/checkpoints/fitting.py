"""What the flags ask of a loaded checkpoint: slices, tiles, offload, float8 storage, memory layout, compilation.

`apply` is called once after loading, before anything runs; `undo` lets go of what holds on to the weights.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Protocol

import torch
from accelerate.hooks import ModelHook, add_hook_to_module, remove_hook_from_module

from studio.checkpoints.options import ModelOptions
from studio.diffusion.components import Components


class Mover(Protocol):
    """Moves modules; `studio.engine.device.Device` does."""

    torch_device: torch.device

    @property
    def is_cpu(self) -> bool: ...
    def to_device(self, modules: Iterable[Any]) -> None: ...
    def to_ram(self, modules: Iterable[Any]) -> None: ...


def apply(components: Components, options: ModelOptions, device: Mover) -> None:
    """Fit a freshly loaded checkpoint to the options. With offload it has been loaded to RAM and runs on the device."""
    unet, vae = components.unet, components.vae
    if options.attention_slicing:
        unet.set_attention_slice("auto")
    apply_to_vae(vae, options)
    if options.channels_last:
        unet.to(memory_format=torch.channels_last)
    if options.fp8:
        unet.enable_layerwise_casting(storage_dtype=torch.float8_e4m3fn, compute_dtype=components.dtype)
    if options.compile:
        unet.compile()
    if options.offload and not device.is_cpu:
        components.device = device.torch_device
        if components.fast_preview is not None:
            weight, bias = components.fast_preview
            components.fast_preview = weight.to(device.torch_device), bias.to(device.torch_device)
        if components.tiny_vae is not None:
            device.to_device([components.tiny_vae])  # too small to be worth a visit
        place = _OnePlace(device)
        for module in _parts_of(components):
            add_hook_to_module(module, _Visit(place))


def apply_to_vae(vae: Any, options: ModelOptions) -> None:
    """The same for a VAE that was loaded on its own; without offload: it stays on the device."""
    if options.vae_tiling:
        vae.enable_tiling()  # only pictures larger than the VAE's own size are cut
    if options.channels_last:
        vae.to(memory_format=torch.channels_last)


def undo(components: Components) -> None:
    """Take the hooks off, which tie the modules of a checkpoint to each other in circles."""
    for module in _parts_of(components):
        if hasattr(module, "_hf_hook"):
            remove_hook_from_module(module)


class _OnePlace:
    """One module at a time is on the device."""

    def __init__(self, device: Mover) -> None:
        self._device = device
        self._there: Any = None

    @torch.inference_mode(mode=False)  # else weights would become tensors that nothing may change any more
    def take(self, module: Any) -> None:
        if self._there is module:
            return
        if self._there is not None:
            self._device.to_ram([self._there])
            self._there = None
        self._device.to_device([module])
        self._there = module


class _Visit(ModelHook):
    """Before a module runs it comes to the device, and the one that was there goes back to RAM.

    Not accelerate's own CpuOffload chain, which wants a fixed order of text encoder, U-Net, VAE: here a visitor's
    prompt may be encoded and another's preview decoded between two U-Net calls.
    """

    def __init__(self, place: _OnePlace) -> None:
        self._place = place

    def pre_forward(self, module: Any, *args: Any, **kwargs: Any) -> tuple[Any, Any]:
        self._place.take(module)
        return args, kwargs


def _parts_of(components: Components) -> list[Any]:
    return list(components.parts.values())
