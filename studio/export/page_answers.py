"""The studio's answers that a replay page takes along."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

PICTURE = "picture"  # stands for the finished picture's id in the fields of a question about it


@dataclass(frozen=True)
class PageAnswer:
    """An answer of the studio to a question of the page: `/ask/<name>` with these fields."""

    name: str
    fields: Mapping[str, str]
    media_type: str
    content: bytes
