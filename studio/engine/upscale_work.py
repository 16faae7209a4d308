"""The engine's part of enlarging a picture: the network brought to the device, one tile a slice of work."""

from __future__ import annotations

from studio.asked.upscale import Upscale
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.upscaler_file import load_upscaler
from studio.diffusion.upscaling import enlarged
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
    tiles = enlarged(network, picture, device.torch_device)
    while True:
        try:
            next(tiles)
        except StopIteration as end:
            return end.value
        yield
