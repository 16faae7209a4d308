"""The precision of a checkpoint's parts on a CPU: bfloat16 for a part whose call is clearly faster in it.

Some CPUs multiply bfloat16 by units of their own and are several times as fast in it; others imitate it and are slower.
So each part is called once in both on this machine, and the answer is kept in a file.
"""

from __future__ import annotations

import logging
import platform
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch.func import functional_call

from studio.asked.messages import Message
from studio.checkpoints.catalog import memory_folder
from studio.checkpoints.device_memory import Device
from studio.checkpoints.memo import Memo
from studio.diffusion.components import Components
from studio.diffusion.conditions import no_words

logger = logging.getLogger(__name__)

TAKE = 1.3  # bfloat16 is taken where it is so many times as fast
KEEP = 1.1  # and is given up, once it was taken, where it is less
OPEN = (1.0, 1.7)  # between these one call each does not decide: other programs disturb it
LEAST_PARAMETERS = 200_000_000  # of a U-Net: smaller models, as the built-in one, stay in float32
SIDE = 32  # cells of the latents in the measurement
CPU_INFO = Path("/proc/cpuinfo")

Call = Callable[[torch.dtype], tuple[float, bool]]  # seconds of one call in a precision, and whether it is finite


def precision_memo(models_dirs: Sequence[Path]) -> Memo:
    """What this machine remembers of it."""
    folder = memory_folder(models_dirs)
    return Memo(folder / "precision.json" if folder else None)


class CpuPrecisions:
    """Chooses, and remembers for this kind of CPU, the version of PyTorch and the family."""

    def __init__(self, memo: Memo) -> None:
        self._memo = memo

    def apply(self, components: Components, device: Device, *, exact: bool = False) -> None:
        """Bring the parts of components that are in float32 on a CPU to the precision that suits them, where the device
        `measures_precision`. A U-Net below LEAST_PARAMETERS is left as it is, with all beside it. With `exact` every
        part stays in float32, and `bfloat16_gains` says what others would take."""
        if not device.measures_precision:
            return
        if sum(parameter.numel() for parameter in components.unet.parameters()) < LEAST_PARAMETERS:
            return
        taken = self.choose(components.family.name, measurable_calls(components))
        if taken["unet"] is None:
            return
        components.bfloat16_gains = taken
        ratio = f"{taken['unet']:.1f}"
        if exact:
            note = Message(
                "Computed in float32, because the run is exact; else it were bfloat16, {ratio} times as fast.",
                ratio=ratio,
            )
            components.notes = (*components.notes, note)
        else:
            _cast(components.unet, torch.bfloat16)
            components.dtype = torch.bfloat16
            if taken["vae"] is None:
                components.vae_dtype = torch.float32
            else:
                _cast(components.vae, torch.bfloat16)
            if components.tiny_vae is not None:
                _cast(components.tiny_vae, torch.bfloat16)
            if taken["text"] is not None:
                for encoder in components.text_encoders:
                    _cast(encoder.module, torch.bfloat16)
            note = Message(
                "Computed in bfloat16, {ratio} times as fast as float32 on this CPU; --dtype fp32 leaves it.",
                ratio=ratio,
            )
            components.notes = (*components.notes, note)

    def choose(self, family: str, calls: Mapping[str, Call]) -> dict[str, float | None]:
        """For each part how many times as fast bfloat16 is, or None where float32 stays. Measured once for a CPU and a
        family, and again when PyTorch is another; a choice that was made changes only beyond the other bar."""
        key = f"{cpu_kind()} {family}"
        before = self._memo.get(key)
        before = before if isinstance(before, dict) else {}
        known: dict[str, float | None] = before.get("parts") or {}
        if before.get("torch") != torch.__version__ or set(known) != set(calls):
            parts = {}
            for part, call in calls.items():
                bar = KEEP if known.get(part) else TAKE
                ratio = faster(call)
                parts[part] = round(ratio, 2) if ratio is not None and ratio >= bar else None
                logger.info("%s of %s: bfloat16 %s times as fast", part, family, f"{ratio:.2f}" if ratio else "not")
            self._memo.update({key: {"torch": torch.__version__, "parts": parts}})
            known = parts
        return {part: known[part] or None for part in calls}


def suits_exact(components: Components | None, exact: bool) -> bool:
    """Whether a checkpoint is in the precision of a run that asks to be exact, or of one that does not; None is."""
    return components is None or not components.bfloat16_gains or exact == (components.dtype == torch.float32)


def dtypes_of(components: Components) -> dict[str, str]:
    """The precision of the U-Net, the VAE and the text encoders, as torch calls it: "float32"."""
    encoder = next(components.text_encoders[0].module.parameters(), None) if components.text_encoders else None
    dtypes = {
        "unet": components.dtype,
        "vae": components.vae_dtype or components.dtype,
        "text": encoder.dtype if encoder is not None and encoder.is_floating_point() else components.dtype,
    }
    return {part: str(dtype).removeprefix("torch.") for part, dtype in dtypes.items()}


def computed_in(components: Components) -> str:
    """The precision of a loaded checkpoint in words, with that of parts that have another one."""
    dtypes, gain = dtypes_of(components), components.bfloat16_gains.get("unet")
    says: str = dtypes["unet"]
    if gain is not None and components.dtype == torch.float32:
        says = Message("{precision}, for a run that is exact", precision=says)
    elif gain is not None:
        says = Message("{precision}, {ratio} times as fast here as float32", precision=says, ratio=f"{gain:.1f}")
    if dtypes["vae"] != dtypes["unet"]:
        says = Message("{others}; the VAE in {precision}", others=says, precision=dtypes["vae"])
    if dtypes["text"] != dtypes["unet"]:
        says = Message("{others}; the text encoders in {precision}", others=says, precision=dtypes["text"])
    return says


def faster(call: Call) -> float | None:
    """How many times as fast one call is in bfloat16; by the better of two each where one leaves it open. None where
    its answer is not finite or it cannot be called."""
    try:
        whole, half = call(torch.float32), call(torch.bfloat16)
        if OPEN[0] <= whole[0] / max(half[0], 1e-9) < OPEN[1] and half[1]:
            whole, half = min(whole, call(torch.float32)), min(half, call(torch.bfloat16))
    except (RuntimeError, MemoryError, TypeError, ValueError):  # no such operator, no room, another form of call
        logger.warning("bfloat16 could not be measured; float32 stays", exc_info=True)
        return None
    return whole[0] / max(half[0], 1e-9) if half[1] else None


def measurable_calls(components: Components) -> dict[str, Call]:
    """One call of the U-Net, of the VAE's decoder and of the first text encoder, by the names in the file."""
    side = min(SIDE, components.native_width // components.vae_scale_factor)
    generator = torch.Generator().manual_seed(0)
    latents = torch.randn((1, components.in_channels, side, side), generator=generator)
    embeds = torch.randn((1, components.positions, components.unet.config.cross_attention_dim), generator=generator)
    pixels = side * components.vae_scale_factor
    conditions = no_words(components, pixels, pixels)
    encoder = components.text_encoders[0]
    tokens = torch.zeros((1, encoder.positions), dtype=torch.long)

    def unet(dtype: torch.dtype) -> tuple[float, bool]:
        more = (
            {"added_cond_kwargs": {name: value.to(dtype) for name, value in conditions.items()}} if conditions else {}
        )
        arguments = (latents.to(dtype), torch.tensor(500), embeds.to(dtype))
        return _timed(components.unet, dtype, arguments, {"return_dict": False, **more})

    def vae(dtype: torch.dtype) -> tuple[float, bool]:
        decoder, rows = components.vae.decoder, latents[:, : components.latent_channels]
        return _timed(decoder, dtype, (rows.to(dtype),), {})

    def text(dtype: torch.dtype) -> tuple[float, bool]:
        return _timed(encoder.module, dtype, (tokens,), {"return_dict": False})

    return {"unet": unet, "vae": vae, "text": text}


@torch.inference_mode()
def _timed(module: Any, dtype: torch.dtype, arguments: tuple[Any, ...], named: dict[str, Any]) -> tuple[float, bool]:
    """The module itself stays as it is: what is lost in bfloat16 would not come back."""
    weights = {
        name: value.to(dtype) if value.is_floating_point() else value
        for name, value in (*module.named_parameters(), *module.named_buffers())
    }
    start = time.perf_counter()
    answer = functional_call(module, weights, arguments, named)
    seconds = time.perf_counter() - start
    first = answer if isinstance(answer, torch.Tensor) else answer[0]
    return seconds, bool(torch.isfinite(first).all())


@torch.inference_mode(mode=False)
def _cast(module: Any, dtype: torch.dtype) -> None:
    module.to(dtype)


def cpu_kind() -> str:
    """The model of the processor, as far as the system says it, and its instruction set."""
    try:
        lines = CPU_INFO.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError:
        lines = []
    model = next((line.partition(":")[2].strip() for line in lines if line.startswith("model name")), "")
    return f"{model or platform.processor() or platform.machine()}, {torch.backends.cpu.get_cpu_capability()}"
