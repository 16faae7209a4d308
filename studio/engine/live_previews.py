"""Previews of the images under way: which are due now, decoded in as few calls as possible, into the live view and the
filmstrip.

Only copies of predicted x0 are decoded, so a preview never changes a picture.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Sequence

import torch

from studio.answered.events import DecoderName
from studio.diffusion.components import Components
from studio.engine import failures
from studio.engine.jobs import Job
from studio.engine.previews import PREVIEW_SECONDS, Frame, Learn, PreviewDecoders, is_small
from studio.engine.runs import ActiveImage

logger = logging.getLogger(__name__)


class LivePreviews:
    """The previews of one checkpoint's images."""

    def __init__(self, components: Components, learn: Learn, fail: Callable[[Job, Exception], None]) -> None:
        """`learn` as for `PreviewDecoders`; `fail` ends a job with an error."""
        self.components = components
        self.decoders = PreviewDecoders(components, learn)
        self._fail = fail

    def show(self, images: Sequence[ActiveImage], now: float) -> None:
        """Decode the predicted x0 of images that have just gone one evaluation on. One that was shown, or that no frame
        is made of this time, has nothing `unshown`.

        Small fast frames that the live view has no time for wait for the next one that it shows: the call costs more
        than their pixels, and a filmstrip is asked for when the picture is there.
        """
        groups: dict[tuple[DecoderName, tuple[int, ...], int], list[ActiveImage]] = {}
        for active in images:
            decoder = self.decoders.choose(active.run.resolved.request.preview, active.size)
            if decoder is None:
                active.unshown = None  # the step is told all the same, with the frame before
                continue
            assert active.unshown is not None
            active.pending.append(active.unshown)
            if _due(active, now) or decoder != "fast" or not self._is_small(active):
                own_vae = id(active.run.own_vae) if active.run.own_vae is not None and decoder == "full" else 0
                groups.setdefault((decoder, active.size, own_vae), []).append(active)
        for (decoder, *_), group in groups.items():
            self._decode(decoder, group, now)

    def last_look(self, active: ActiveImage) -> None:
        """Show the newest predicted x0 of an image that goes no further, by the decoder of its last preview."""
        previews = active.run.previews
        if active.image not in previews or active.unshown is None:
            return
        decoder = previews[active.image].decoder
        try:
            pixels = self.decoders.decode(decoder, active.unshown[None], active.run.own_vae)[0]
        except Exception:
            logger.warning("The last preview of a stopped job could not be made", exc_info=True)
            return
        previews[active.image] = Frame(pixels, decoder).preview()

    def _decode(self, decoder: DecoderName, group: list[ActiveImage], now: float) -> None:
        start = time.perf_counter()
        size = group[0].size
        try:
            denoised = torch.stack([x0 for active in group for x0 in active.pending])
            all_pixels = self.decoders.decode(decoder, denoised, group[0].run.own_vae)
            frames = iter([Frame(pixels, decoder) for pixels in all_pixels])
        except Exception as error:
            for active in group:
                self._fail(active.run.job, error)
            return
        for active in group:
            own = [next(frames) for _ in active.pending]
            active.pending.clear()
            with failures.ending(active.run.job, self._fail):
                _keep(active, own, now)
        self.decoders.record(decoder, size, (time.perf_counter() - start) / len(denoised))

    def _is_small(self, active: ActiveImage) -> bool:
        _, height, width = active.size
        factor = self.components.vae_scale_factor
        return is_small((width * factor, height * factor))


def _due(active: ActiveImage, now: float) -> bool:
    return active.lane.is_finished or now - active.last_preview_time >= PREVIEW_SECONDS


def _keep(active: ActiveImage, frames: Sequence[Frame], now: float) -> None:
    """Into the filmstrip always, to the live view the last one and at most once in PREVIEW_SECONDS."""
    run, image, last = active.run, active.image, frames[-1]
    due = _due(active, now)
    if due:
        run.previews[image] = last.preview()
        active.last_preview_time = now
        active.unshown = None
    strip = run.filmstrips.setdefault(image, [])
    strip += [frame.small() for frame in frames[:-1]]
    strip.append(run.previews[image].jpeg if due and is_small(last.size) else last.small())
