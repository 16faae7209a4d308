"""Estimates how much memory a picture will need, before it begins, where too much would end the whole process.

A GPU says no and the job fails; a CPU's operating system says yes and later kills the studio. So on the CPU a picture
that will not fit is refused beforehand. The estimates count the largest activations by the configs' channel widths.
"""

from __future__ import annotations

from studio.asked.messages import Message
from studio.asked.resolved import Resolved
from studio.diffusion.components import Components
from studio.engine.device import Device

# Activations of a U-Net call that are alive at once, in units of its first level's feature map. They are the skip
# connections and what a block works on. A level has three to four connections, a quarter of the pixels and twice the
# channels of the one above.
_UNET_MAPS = 16


def decode_bytes(components: Components, width: int, height: int) -> int:
    """Of decoding one picture: the last up block takes the second width at full size, norms a copy, gives the first."""
    widths = components.vae.config.block_out_channels
    second = widths[1] if len(widths) > 1 else widths[0]
    return width * height * (2 * second + widths[0]) * components.dtype.itemsize


def row_bytes(components: Components, width: int, height: int) -> int:
    """Of one row of a U-Net call."""
    factor = components.vae_scale_factor
    pixels = (width // factor) * (height // factor)
    return pixels * components.unet.config.block_out_channels[0] * _UNET_MAPS * components.dtype.itemsize


def check(components: Components, device: Device, resolved: Resolved, rows: int) -> None:
    """Raises MemoryError when one image of this size will not fit into what the CPU has free."""
    free = device.free_bytes() if device.is_cpu else None
    if free is None:
        return
    unet = rows * row_bytes(components, resolved.width, resolved.height)
    needed_bytes = max(unet, decode_bytes(components, resolved.width, resolved.height))
    if needed_bytes > free:
        raise MemoryError(
            Message(
                "{needed} GiB are needed, {free} GiB are free",
                needed=f"{needed_bytes / 2**30:.1f}",
                free=f"{free / 2**30:.1f}",
            )
        )


def rows_that_fit(components: Components, device: Device, resolved: Resolved) -> int | None:
    """Rows of this size one call may have, of half of what is free; None where nobody can say."""
    free = device.free_bytes()
    if free is None:
        return None
    # A ControlNet is a copy of the U-Net's first half; what it answers is kept beside the U-Net's own.
    row = row_bytes(components, resolved.width, resolved.height) * (1 + len(resolved.request.controls) / 2)
    return max(1, int(free // 2 // max(1, row)))
