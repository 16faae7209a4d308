"""What the page offers of each checkpoint: itself, and the files that a run of it may name."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace

from studio.answered.model_facts import VAE_KINDS
from studio.answered.models import Checkpoint
from studio.asked.orders import ModelKind
from studio.checkpoints.catalog import Entry


def offered(entries: Sequence[Entry], model_id: Callable[[str], str]) -> tuple[Checkpoint, ...]:
    """The usable checkpoints of a listing, in its order, with the ControlNets and VAEs that fit them, the upscalers,
    and the LoRA that came with them. `model_id`: what visitors call an entry of this id."""
    nets, upscalers, loras = _of(entries, "controlnet"), _of(entries, "upscaler"), _of(entries, "lora")
    vaes = _of(entries, *VAE_KINDS)
    fast_loras = {entry.file.owner: entry for entry in loras}
    checkpoints = []
    for entry in (one for one in entries if one.usable):
        fitting = [net for net in nets if net.controls(entry)]
        fitting_vaes = [vae for vae in vaes if vae.fits_vae_of(entry)]
        usable_upscalers = [one for one in upscalers if one.facts.usable]
        fast = fast_loras.get(entry.file.key)
        checkpoints.append(
            replace(
                entry.checkpoint,
                id=model_id(entry.id),
                controlnets=_names(fitting),
                controlnet_ids=_ids(fitting, model_id),
                palettes=tuple((net.name, net.facts.palette) for net in fitting if net.facts.palette),
                vaes=_names(fitting_vaes),
                vae_ids=_ids(fitting_vaes, model_id),
                upscalers=_names(usable_upscalers),
                upscaler_ids=_ids(usable_upscalers, model_id),
                fast_lora=fast.name if fast is not None else "",
                fast_lora_id=model_id(fast.id) if fast is not None else "",
            )
        )
    return tuple(checkpoints)


def _of(entries: Sequence[Entry], *kinds: ModelKind) -> list[Entry]:
    return [entry for entry in entries if entry.facts.kind in kinds]


def _names(entries: Sequence[Entry]) -> tuple[str, ...]:
    return tuple(entry.name for entry in entries)


def _ids(entries: Sequence[Entry], model_id: Callable[[str], str]) -> tuple[str, ...]:
    return tuple(model_id(entry.id) for entry in entries)
