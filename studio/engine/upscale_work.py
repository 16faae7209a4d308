"""The engine's part of enlarging a picture: the network brought to the device, one tile a slice of work.

Where a tile does not fit into the device's memory, it begins again with smaller ones.
"""

from __future__ import annotations

from collections.abc import Generator
from typing import Any

from PIL import Image

from studio.asked.upscale import Upscale
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.upscaler_file import load_upscaler
from studio.diffusion.upscaling import GRID, SIDES, enlarged, tile_side
from studio.engine.device import Device
from studio.engine.viewer.inquiries import Inquiry, Slices


def slices(inquiry: Inquiry, manager: ModelManager, device: Device) -> Slices:
    """The picture through the upscaler, at the scale that this has. Raises BadCheckpoint or DoesNotFit for a file that
    cannot be used, InvalidRequest for a picture that is too large for it."""
    order, entry, picture = inquiry.question, inquiry.upscaler, inquiry.picture
    assert isinstance(order, Upscale)
    assert entry is not None
    assert picture is not None
    network = manager.module(entry, lambda: load_upscaler(entry.path, device.torch_device))
    order.check_network(picture.size, network.scale)
    yield
    return (yield from through(network, picture, device))


def through(network: Any, picture: Image.Image, device: Device) -> Generator[None, None, Image.Image]:
    """A picture through a network that is on the device, one tile a slice."""
    side = tile_side(network, device.torch_device)
    while True:
        try:
            return (yield from _tiles(network, picture, device, side))
        except Exception as error:
            smaller = side // 2 // GRID * GRID
            if not device.is_out_of_memory(error) or smaller < SIDES[0]:
                raise
            error.__traceback__ = None  # its frames hold the tile
            device.release()
            side = smaller


def _tiles(network: Any, picture: Image.Image, device: Device, side: int) -> Generator[None, None, Image.Image]:
    tiles = enlarged(network, picture, device.torch_device, side=side)
    while True:
        try:
            next(tiles)
        except StopIteration as end:
            result: Image.Image = end.value
            return result
        yield
