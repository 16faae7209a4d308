"""Pictures that are to be enlarged: looked at on threads of their own, and worked on by the engine's between its ticks.

Imports no torch.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from PIL import Image

from studio.answered.engine import Answer
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.upscale import LANCZOS, Upscale
from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.lookup import matching, one_of, permitted
from studio.engine.viewer.inquiries import Inquiries, Inquiry
from studio.picture import decode, enlarged


class Upscales:
    """Takes orders from any thread. `wake`: one waits for the engine's thread."""

    def __init__(self, catalog: Catalog, inquiries: Inquiries, wake: Callable[[], None]) -> None:
        self._catalog = catalog
        self._inquiries = inquiries
        self._wake = wake

    async def answer(self, order: Upscale, *, owner: str) -> Answer:
        """The enlarged picture as a PNG file. Raises InvalidRequest or Refused."""
        problems = order.problems()
        if problems:
            raise InvalidRequest(*problems)
        picture = await asyncio.to_thread(decode.read_picture, order.image)
        whole, shown = order.sizes(picture.size)
        entry = await asyncio.to_thread(self._upscaler, order)
        network_picture = picture
        if entry is not None:
            if entry.facts.scale is not None:
                order.check_network(picture.size, entry.facts.scale)
            inquiry = Inquiry(order, owner, picture, upscaler=entry)
            self._inquiries.add(inquiry)
            self._wake()
            result = await asyncio.wrap_future(inquiry.future)
            assert isinstance(result, Image.Image)
            network_picture = result
        name = entry.name if entry is not None else "Lanczos"
        factor = round(whole[0] / picture.width, 4)

        def content() -> bytes:
            return enlarged.png(enlarged.to_size(network_picture, whole, shown), order.image, factor, name)

        return Answer(content=await asyncio.to_thread(content), media_type="image/png")

    def _upscaler(self, order: Upscale) -> Entry | None:
        """The file that an order names, as it is on disk now; None for Lanczos. Raises InvalidRequest."""
        if order.upscaler.strip().casefold() == LANCZOS:
            return None
        entry = self._named(order)
        return entry if self._catalog.latest(entry) is entry else self._named(order)

    def _named(self, order: Upscale) -> Entry:
        entries = permitted(self._catalog.entries(), order.models)
        matches = matching(entries, "upscaler", order.upscaler)
        if len(matches) == 1 and matches[0].facts.usable:
            return matches[0]
        value: str = quoted_value(order.upscaler)
        if len(matches) > 1:
            value = Message("{name}, a name of {count} upscalers,", name=value, count=len(matches))
            raise InvalidRequest(Problem("upscaler", value, one_of(matches)))
        if matches:
            value = Message("{name} ({reason})", name=value, reason=matches[0].facts.reason)
        there = [one for one in entries if one.facts.kind == "upscaler" and one.facts.usable]
        allowed = Message("lanczos: there is no upscaler in the models folders")
        if there:
            allowed = Message("lanczos, or {names}", names=one_of(there))
        raise InvalidRequest(Problem("upscaler", value, allowed))
