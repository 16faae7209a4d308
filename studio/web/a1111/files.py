"""AUTOMATIC1111's options of the files in its answers: their format, its quality, and whether they say how they were
made. What is saved here is as the owner has chosen it, whatever a program asks for.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.picture.file_formats import MAX_QUALITY, Encoding, FormatName
from studio.picture.saved_copies import CopyOrder, saved_copy
from studio.picture.saving import Saving
from studio.web.a1111.fields import Notice

NAMES = ("samples_format", "jpeg_quality", "webp_lossless", "enable_pnginfo")
_FORMATS: Mapping[str, FormatName] = {"png": "png", "jpg": "jpeg", "jpeg": "jpeg", "webp": "webp"}
_THEIR_FORMATS: Mapping[FormatName, str] = {"png": "png", "jpeg": "jpg", "webp": "webp"}


@dataclass(frozen=True, kw_only=True)
class FileOptions:
    """What a visitor has chosen; None: as the pictures are saved. `quality` is of JPEG and of lossy WebP."""

    format: FormatName | None = None
    quality: int | None = None
    lossless: bool | None = None
    metadata: bool = True

    def order(self, saving: Saving) -> CopyOrder:
        """The files that an answer holds."""
        how = Encoding(
            format=self.format or saving.format,
            quality=saving.quality if self.quality is None else self.quality,
            lossless=saving.lossless if self.lossless is None else self.lossless,
        )
        as_saved = how == saving.encoding or (how.format == saving.format == "png")
        return CopyOrder(how=None if as_saved else how, metadata=self.metadata)


AS_SAVED = FileOptions()


def answer(options: FileOptions, saving: Saving) -> dict[str, object]:
    """The options as `GET /options` tells them."""
    return {
        "samples_format": _THEIR_FORMATS[options.format or saving.format],
        "jpeg_quality": saving.quality if options.quality is None else options.quality,
        "webp_lossless": saving.lossless if options.lossless is None else options.lossless,
        "enable_pnginfo": options.metadata,
    }


def read(key: str, value: object, options: FileOptions, name: str) -> FileOptions:
    """The options with this one. `name`: what the caller calls it. Raises InvalidRequest."""
    if key == "samples_format":
        file_format = _FORMATS.get(value.lower()) if isinstance(value, str) else None
        if file_format is None:
            raise InvalidRequest(Problem(name, quoted_value(value), " or ".join(_FORMATS)))
        return replace(options, format=file_format)
    if key == "jpeg_quality":
        if type(value) not in (int, float) or value != int(value) or not 1 <= value <= MAX_QUALITY:  # type: ignore
            raise InvalidRequest(Problem(name, quoted_value(value), f"whole numbers from 1 to {MAX_QUALITY}"))
        return replace(options, quality=int(value))  # type: ignore[call-overload]
    if not isinstance(value, bool):
        raise InvalidRequest(Problem(name, quoted_value(value), "true or false"))
    return replace(options, lossless=value) if key == "webp_lossless" else replace(options, metadata=value)


def content(path: Path, order: CopyOrder) -> tuple[bytes, list[Notice]]:
    """A picture's file as it was asked for; as it was saved, and why, where that format cannot hold it. Raises
    OSError."""
    try:
        return saved_copy(path, order).content, []
    except InvalidRequest as error:
        return path.read_bytes(), [Notice("samples_format", one.value, one.allowed) for one in error.problems]
