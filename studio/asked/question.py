"""What every question about the loaded checkpoint has."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import ClassVar

TEXTS = ("caption", "wrong_caption", "prompt")  # fields with a visitor's own words


@dataclass(frozen=True, kw_only=True)
class Question:
    """Something about a checkpoint, which must be the loaded one. Questions that `needs_image` come with the bytes of a
    PNG, JPEG, WebP or GIF file. `models`: ids of the embeddings that its text may name; None: all. It is the studio's
    to say, not the visitor's."""

    name: ClassVar[str]
    needs_image: ClassVar[bool] = False

    checkpoint: str
    image: bytes = b""
    models: tuple[str, ...] | None = None

    @property
    def texts(self) -> Mapping[str, str]:
        """What it has of a visitor's own words, by field."""
        return {name: getattr(self, name) for name in TEXTS if hasattr(self, name)}
