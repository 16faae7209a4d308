"""The world is the same everywhere, says the truth about itself, and needs no font."""

from __future__ import annotations

import numpy as np
import pytest

from training.world import GRID, OBJECTS, SIZE, SPRITES, draw_scene, render


def test_a_sample_depends_on_seed_and_index_alone() -> None:
    assert draw_scene(1, 17) == draw_scene(1, 17)
    assert draw_scene(1, 17) != draw_scene(2, 17)
    assert render(draw_scene(1, 17)).tobytes() == render(draw_scene(1, 17)).tobytes()


def test_every_object_has_a_sprite_and_a_readme_names_the_licence() -> None:
    for name in OBJECTS:
        assert (SPRITES / f"{name.replace(' ', '-')}.png").exists(), name
    assert "Open Font License" in (SPRITES / "README.md").read_text(encoding="utf-8")


def test_boxes_lie_inside_and_on_the_grid_of_the_latents() -> None:
    for index in range(300):
        for placed in draw_scene(5, index).objects:
            for start in (placed.left, placed.top):
                assert start % GRID == 0
                assert 0 <= start <= SIZE - placed.side


def test_relations_are_true_of_the_picture() -> None:
    seen = set()
    for index in range(600):
        scene = draw_scene(6, index)
        if len(scene.objects) != 2:
            assert scene.relation is None
            continue
        first, second = scene.objects
        seen.add(scene.relation)
        if scene.relation in ("left of", "and"):
            assert first.left + first.side <= second.left
        elif scene.relation == "right of":
            assert second.left + second.side <= first.left
        elif scene.relation == "above":
            assert first.top + first.side <= second.top
        else:
            assert second.top + second.side <= first.top
    assert seen == {"left of", "right of", "above", "below", "and"}


def test_captions_name_an_object_by_its_name_or_a_synonym() -> None:
    for index in range(300):
        scene = draw_scene(7, index)
        for placed in scene.objects:
            assert any(word in scene.caption for word in (placed.name, *OBJECTS[placed.name])), scene.caption


def test_styles_show_in_the_pixels() -> None:
    for index in range(400):
        scene = draw_scene(8, index)
        pixels = np.asarray(render(scene))
        assert pixels.shape == (SIZE, SIZE, 3)
        if scene.style == "black and white":
            assert (pixels[..., 0] == pixels[..., 1]).all()
            assert (pixels[..., 1] == pixels[..., 2]).all()
        elif scene.style == "pixel art":
            assert (pixels[::8, ::8] == pixels[7::8, 7::8]).all()


@pytest.mark.parametrize("prompt", ["apple", "snow", "fox"])
def test_the_first_prompts_of_the_product_are_in_the_world(prompt: str) -> None:
    captions = [draw_scene(9, index).caption for index in range(400)]
    assert any(prompt in caption for caption in captions)
