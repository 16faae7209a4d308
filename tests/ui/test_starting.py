"""What comes from the page beside an upload: masks in base64, files that have been swept, fields never filled in."""

from __future__ import annotations

import base64
from pathlib import Path

import pytest

from studio.asked.requests import MAX_IMAGE_BYTES, InvalidRequest
from studio.ui.generate import starting
from studio.ui.generate.controls import Controls


def test_a_drawn_mask_is_base64_or_nothing() -> None:
    assert starting.mask_of({"png": base64.b64encode(b"a file").decode()}) == b"a file"
    for nothing in (None, {}, {"png": ""}, "", [], 7):
        assert starting.mask_of(nothing) == b""


@pytest.mark.parametrize("bad", ["not base64!", "data:image/png;base64,AAAA", 7, ["AAAA"], "A" * (MAX_IMAGE_BYTES + 4)])
def test_what_is_no_drawn_mask_is_refused_by_name(bad: object) -> None:
    with pytest.raises(InvalidRequest, match="mask: ") as caught:
        starting.mask_of({"png": bad})
    assert len(str(caught.value)) < 300


def test_a_file_is_read_to_just_beyond_the_limit_and_one_that_is_gone_is_named(tmp_path: Path) -> None:
    file = tmp_path / "upload.png"
    file.write_bytes(bytes(MAX_IMAGE_BYTES + 10))
    assert len(starting.file_of(str(file))) == MAX_IMAGE_BYTES + 1
    assert starting.file_of(None) == b""
    with pytest.raises(InvalidRequest, match="image: a file that is gone"):
        starting.file_of(str(tmp_path / "swept.png"))


def test_a_number_that_was_never_typed_is_open() -> None:
    """Gradio sends it as 0; where the checkpoint decides, that is no value."""
    fields = {"width": "w", "height": "h", "extend_left": "e"}
    controls = Controls("inpaint", fields, *[None] * 7)  # type: ignore[arg-type]
    assert controls.given({"w": 0, "h": 64, "e": 0}) == {"width": None, "height": 64, "extend_left": 0}
