"""What a guest has written down for themselves goes with the share that they came in by."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from studio.picture.preset_files import PresetFiles
from studio.picture.styles import Styles


def forget_files(outputs_dir: Path, people: Iterable[str]) -> None:
    """Delete the styles and presets of these visitors; their pictures stay for the owner."""
    people = tuple(people)
    Styles(outputs_dir).forget(people)
    PresetFiles(outputs_dir).forget(people)
