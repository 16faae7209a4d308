"""Cells of comparisons: beside the gallery, for their owner alone, kept on request, bounded."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from studio.answered.events import Picture
from studio.asked.fields import TextToImage
from studio.asked.resolved import Suits, resolve, with_suitable_values
from studio.picture import gallery as gallery_module
from studio.picture.gallery import Gallery
from studio.picture.infotext import parameters_text
from studio.picture.metadata import picture_info, read_png
from tests.picture.test_gallery import ANN, BOB, save


def part(gallery: Gallery, job: str, owner: str = ANN, seed: int = 7) -> Picture:
    from PIL import Image

    request = TextToImage(prompt="a fox", seed=seed, width=64, height=64)
    info = picture_info(resolve(request, Suits()), width=64, height=64)
    picture = Image.frombytes("RGB", (64, 64), os.urandom(64 * 64 * 3))
    return gallery.save(picture, info=info, parameters=parameters_text(info), owner=owner, part_of=job)


def test_a_part_is_found_by_its_owner_and_not_listed(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    whole, cell = save(gallery), part(gallery, "one")
    assert cell.file_name.startswith("compare/")
    for again in (gallery, Gallery(tmp_path)):
        assert again.earlier(ANN) == [whole]
        assert again.path(cell.id, ANN) == tmp_path / cell.file_name
        assert again.path(cell.id, BOB) is None
        assert again.thumbnail(cell.id, ANN)


def test_keep_puts_the_same_picture_among_the_others(tmp_path: Path) -> None:
    gallery = Gallery(tmp_path)
    cell = part(gallery, "one")
    assert gallery.keep(cell.id, BOB) is None
    assert gallery.keep("0" * 32, ANN) is None
    kept = gallery.keep(cell.id, ANN)
    assert kept is not None
    assert gallery.earlier(ANN) == [kept]
    assert not kept.file_name.startswith("compare/")
    ours, theirs = gallery.path(kept.id, ANN), gallery.path(cell.id, ANN)
    assert ours is not None
    assert theirs is not None
    assert ours.read_bytes() == theirs.read_bytes()
    assert read_png(ours) == replace(
        with_suitable_values(TextToImage(prompt="a fox", seed=7, width=64, height=64), Suits()), noise_schedule="karras"
    )


def test_the_oldest_comparisons_go_when_all_together_are_too_large(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gallery = Gallery(tmp_path)
    whole = save(gallery)
    old = [part(gallery, "old") for _ in range(2)]
    size = sum((tmp_path / picture.file_name).stat().st_size for picture in old)
    monkeypatch.setattr(gallery_module, "COMPARISON_BYTES", int(size * 1.6))
    new = [part(gallery, "new") for _ in range(2)]
    assert [gallery.path(picture.id, ANN) for picture in old] == [None, None]
    assert all(gallery.path(picture.id, ANN) for picture in new)
    assert not (tmp_path / old[0].file_name).exists()
    monkeypatch.setattr(gallery_module, "COMPARISON_BYTES", 0)
    newest = part(gallery, "new")  # a comparison never loses its own cells while it runs
    assert all(gallery.path(picture.id, ANN) for picture in [*new, newest])
    assert gallery.earlier(ANN) == [whole]
    assert Gallery(tmp_path).path(old[0].id, ANN) is None
