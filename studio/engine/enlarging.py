"""Images that an upscaler enlarges, before their second pass or once they are made: a tile at a time, between the ticks
of the others."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator

import torch
from PIL import Image

from studio.diffusion import vae
from studio.engine import failures, upscale_work
from studio.engine.executor import Executor
from studio.engine.jobs import Job
from studio.engine.runs import ActiveImage

Tiles = Generator[None, None, Image.Image]


class Enlarging:
    """Used from the engine's thread alone. Such an image has no lane, and its checkpoint must stay."""

    def __init__(self, executor: Executor, fail: Callable[[Job, Exception], None]) -> None:
        """`fail` ends a job with an error that it alone is to hear of."""
        self._executor = executor
        self._fail = fail
        self._images: deque[tuple[ActiveImage, Tiles, Callable[[Image.Image], None]]] = deque()

    def __len__(self) -> int:
        self._images = deque(one for one in self._images if _is_wanted(one[0]))
        return len(self._images)

    def begin(self, active: ActiveImage, then: Callable[[Image.Image], None]) -> bool:
        """Take an image whose first pass is over and that an upscaler enlarges; `then` is given the picture at its new
        size. False where it is none."""
        second = active.run.of(active.image).second
        if second is None or active.before or not active.run.resolved.upscaler_name:
            return False
        self._images.append((active, self._latents_at(active, second.resolved.size), then))
        return True

    def finish(self, active: ActiveImage, picture: Image.Image, then: Callable[[Image.Image], None]) -> bool:
        """Take the picture of an image that is made, if an upscaler is to enlarge it at its own scale; `then` is given
        what it makes of it. False where there is none."""
        upscaler = active.run.resolved.finishing_upscaler
        if not upscaler:
            return False
        self._images.append((active, self._tiles(picture, upscaler, "upscale"), then))
        return True

    @torch.inference_mode()
    def work(self) -> bool:
        """One tile of the image whose turn it is. False when there is none."""
        if not len(self):
            return False
        active, tiles, then = self._images.popleft()
        with failures.ending(active.run.job, self._fail):
            try:
                next(tiles)
            except StopIteration as end:
                then(end.value)
            else:
                self._images.append((active, tiles, then))
        return True

    def _latents_at(self, active: ActiveImage, size: tuple[int, int]) -> Tiles:
        picture = vae.to_pictures(self._executor.decode(active.run, active.lane.latents))[0]
        yield
        large = yield from self._tiles(picture, active.run.resolved.upscaler_name, "upscaler_name")
        return large.resize(size, Image.Resampling.LANCZOS)

    def _tiles(self, picture: Image.Image, upscaler: str, field: str) -> Tiles:
        executor = self._executor
        network = executor.conditioner.extras.upscaler(upscaler, executor.device.torch_device, field=field)
        yield
        return (yield from upscale_work.through(network, picture, executor.device))


def _is_wanted(active: ActiveImage) -> bool:
    return active.at_work and active.run.active.get(active.image) is active
