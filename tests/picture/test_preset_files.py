"""Where presets lie, and what a file may be."""

from __future__ import annotations

from pathlib import Path

import pytest

from studio.asked.presets import Preset, Presets
from studio.asked.problems import InvalidRequest
from studio.picture import preset_files as module
from studio.picture.preset_files import PresetFiles


def preset(name: str, prompt: str = "") -> Preset:
    return Preset(name=name, tab="text_to_image", fields={"prompt": prompt})


def test_each_has_their_own_and_the_owner_s_lie_in_the_outputs_folder(tmp_path: Path) -> None:
    files = PresetFiles(tmp_path)
    assert files.of(None) == Presets()
    files.change(None, lambda presets: presets.with_preset(preset("Oil")))
    files.change("ann", lambda presets: presets.with_preset(preset("Ink")))
    assert [[one.name for one in files.of(who).named] for who in (None, "ann", "bob")] == [["Oil"], ["Ink"], []]
    assert (tmp_path / "presets.json").is_file()
    assert len(list((tmp_path / ".presets").iterdir())) == 1


def test_what_an_older_version_has_written_is_read_and_an_unknown_field_is_passed_over(tmp_path: Path) -> None:
    files = PresetFiles(tmp_path)
    files.change(None, lambda presets: presets.with_preset(preset("Oil", "a")))
    path = tmp_path / "presets.json"
    path.write_text(path.read_text().replace('"prompt": "a"', '"width": 7, "gone": 1'))
    assert files.of(None).named[0].fields == {"width": 7}


def test_there_are_limits_and_a_refused_change_writes_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    files = PresetFiles(tmp_path)
    monkeypatch.setattr(module, "MAX_FILES", 1)
    monkeypatch.setattr(module, "MAX_BYTES_OF_OTHERS", 1024)
    files.change("ann", lambda presets: presets.with_preset(preset("a")))
    with pytest.raises(InvalidRequest, match="presets of 1 guests"):
        files.change("bob", lambda presets: presets.with_preset(preset("a")))
    with pytest.raises(InvalidRequest, match="presets of at most 1 KiB together: delete one first"):
        files.change("ann", lambda presets: presets.with_preset(preset("b", "x" * 1000)))
    assert files.of("ann").named == (preset("a"),)
    files.change(None, lambda presets: presets.with_preset(preset("b", "x" * 1000)))
    (tmp_path / "presets.json").write_text("{}" + " " * module.MAX_BYTES)
    with pytest.raises(
        InvalidRequest, match=r"presets.json.* a larger one is not allowed. Allowed: a file of at most 4"
    ):
        files.of(None)
