"""The judge: right on what was drawn, silent on what was spoiled, and honest about what cannot be told."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image, ImageFilter

from training.encode_latents import load_vae
from training.judge import SPOILS, Verdict, acceptance, fresh_scenes, is_right, judge, spoiled_pictures, through
from training.world import render

CHECKPOINT = Path("models/small-world-128")


def test_it_is_right_on_fresh_renders() -> None:
    scenes = fresh_scenes(77, 24)
    verdicts = [judge(render(scene)) for scene in scenes]
    wrong = [(scene, verdict) for scene, verdict in zip(scenes, verdicts, strict=True) if not is_right(scene, verdict)]
    assert len(wrong) <= 1, wrong
    assert {len(scene.objects) for scene in scenes} == {1, 2}


def test_it_says_none_of_spoiled_ones() -> None:
    """As it meets pictures: passed once through the autoencoder. The bar is a tenth."""
    vae, spoiled = load_vae(CHECKPOINT), spoiled_pictures(78, 10)
    assert set(spoiled) == set(SPOILS)
    named = [kind for kind, drawn in spoiled.items() for picture in through(vae, drawn) if judge(picture).objects]
    assert len(named) <= 4, named


@pytest.mark.parametrize("color", ["white", "black", (50, 100, 205)])
def test_an_empty_picture_shows_nothing(color: str) -> None:
    assert judge(Image.new("RGB", (128, 128), color)).objects == ()


def test_a_soft_plain_drawing_is_not_taken_for_pixel_art() -> None:
    """Squares of 8 pixels have no details to be wrong: they fit a very soft drawing about as well as its own sprite."""
    scenes = [scene for scene in fresh_scenes(79, 40) if scene.style == "plain" and len(scene.objects) == 1][:4]
    soft = [render(scene).filter(ImageFilter.GaussianBlur(3)) for scene in scenes]
    assert [judge(picture).styles[0] for picture in soft] == ["plain"] * 4


def test_relations_hold_both_ways_round() -> None:
    verdict = Verdict(
        objects=("fox", "owl"),
        relation="left of",
        size=None,
        place=None,
        background="red",
        styles=("plain",),
        objects_seen=(),
    )
    assert verdict.holds("left of", "fox", "owl")
    assert verdict.holds("right of", "owl", "fox")
    assert verdict.holds("and", "owl", "fox")
    assert not verdict.holds("left of", "owl", "fox")
    assert not verdict.holds("above", "fox", "owl")
    assert not verdict.holds("left of", "fox", "pig")


@pytest.mark.slow
def test_it_is_accepted() -> None:
    """The issue's bars, on pictures passed once through the shipped autoencoder."""
    told = acceptance(load_vae(CHECKPOINT), 120)
    assert told["fresh right"] >= 98, told
    assert told["spoiled none"] >= 90, told
