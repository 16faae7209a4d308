"""The upscaler's training at tiny size: what it learns from, how it is measured, that it goes on, what it writes."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from safetensors import safe_open
from safetensors.torch import load_file

from tests.training.test_resume import TINY_AUTOENCODER, TINY_UNET, DyingWorkers, Killed
from training.budget import Budget
from training.compact import Compact
from training.large_pictures import LargeWorld
from training.state import generator_for
from training.tokenizer import ensure_tokenizer, load_tokenizer
from training.train_autoencoder import make_autoencoder
from training.train_unet import make_text_encoder, make_unet
from training.train_upscaler import (
    Examiner,
    UpscalerConfig,
    averaged,
    compare,
    edges,
    export,
    lanczos,
    load_studio,
    train,
    upscaling_loss,
)
from training.upscaler_inputs import Rounds, choose_crop, from_unit, to_unit
from training.vector_sprites import SAME, SCALE, draw_all, locate
from training.workers import Workers
from training.world import SCENES, SIZES, SPRITES, STYLES, background_image, draw_scene, fit, render

TINY = UpscalerConfig(width=4, depth=1, round_rows=3, steps_per_round=2, pool=2, scenes=2, crop=16, warmup=2)
OBJECTS = ("fox", "star", "heart", "tree", "ice cream", "key", "robot", "pear", "lemon", "frog")


@pytest.fixture(scope="module")
def sprites(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Ten objects, from the small sprites: the vector drawings are not in the repository."""
    folder = tmp_path_factory.mktemp("sprites")
    for name in OBJECTS:
        with Image.open(SPRITES / f"{name.replace(' ', '-')}.png") as file:
            sprite = file.convert("RGBA")
        for side in SIZES.values():
            left, top, width, height = (SCALE * length for length in fit(sprite.size, side))
            box = Image.new("RGBA", (SCALE * side, SCALE * side))
            box.paste(sprite.resize((width, height), Image.Resampling.LANCZOS), (left, top))
            box.save(folder / f"{name.replace(' ', '-')}-{side}.png")
    return folder


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("checkpoint")
    ensure_tokenizer(folder / "tokenizer")
    make_unet(TINY_UNET).save_pretrained(folder / "unet")
    make_text_encoder(TINY_UNET, load_tokenizer(folder / "tokenizer")).save_pretrained(folder / "text_encoder")
    make_autoencoder(TINY_AUTOENCODER).save_pretrained(folder / "vae")
    return folder


@pytest.fixture
def budget() -> Budget:
    return Budget(learning_rate=1e-3, warmup=2, steps=6)


def psnr(picture: Image.Image, other: Image.Image) -> float:
    difference = np.asarray(picture, dtype=np.float64) - np.asarray(other, dtype=np.float64)
    return float(10 * np.log10(255**2 / max(np.square(difference).mean(), 1e-6)))


def test_a_large_picture_is_the_small_one_pixel_for_pixel(sprites: Path) -> None:
    """Shrunk four times it is what the world draws: else the upscaler would learn to move things."""
    world = LargeWorld(sprites)
    scenes = [draw_scene(5, index) for index in world.indices(5, 0, 40)]
    seen = set()
    for scene in scenes:
        large = world.render(scene)
        assert large.size == (512, 512)
        assert psnr(large.resize((128, 128), Image.Resampling.BOX), render(scene)) > 29, scene.caption
        seen.add(scene.style)
    assert seen == set(STYLES)


def test_backgrounds_of_any_size_are_the_same_drawing() -> None:
    for name in SCENES:
        large = background_image(name, 2, SCALE)
        assert large.size == (512, 512)
        small = large.resize((128, 128), Image.Resampling.BOX)
        assert psnr(small, background_image(name, 2)) > 36, name
        assert psnr(small, background_image(name, 3)) < 30, name


def test_only_objects_with_a_large_sprite_are_drawn(sprites: Path, tmp_path: Path) -> None:
    world = LargeWorld(sprites)
    assert world.objects == set(OBJECTS)
    for index in world.indices(5, 100, 10):
        assert {placed.name for placed in draw_scene(5, index).objects} <= set(OBJECTS)
    other = next(scene for scene in (draw_scene(5, index) for index in range(99)) if scene.objects)
    stranger = dataclasses.replace(other.objects[0], name="dog")
    with pytest.raises(KeyError, match="no large sprite of 'dog'"):
        world.render(dataclasses.replace(other, objects=(stranger,)))
    with pytest.raises(FileNotFoundError, match="vector_sprites"):
        LargeWorld(tmp_path)


def test_a_sprite_is_found_in_its_drawing_and_another_is_not() -> None:
    fox, cat = (Image.open(SPRITES / f"{name}.png").convert("RGBA") for name in ("fox", "cat"))
    drawing = Image.new("RGBA", (128, 128))
    drawing.paste(fox, (3, 9))
    assert locate(drawing, fox) == (0.0, 3, 9)
    assert locate(drawing, cat).difference > 5 * SAME


def test_vector_drawings_become_large_sprites(tmp_path: Path) -> None:
    """By the real renderer, where it is installed: a drawing that differs from the sprite is named and has no file."""
    pytest.importorskip("resvg_py")
    from training.make_sprites import CODE_POINTS

    characters = {f"{ord(character):x}": name for name, character in CODE_POINTS.items()}
    circle = {"body": '<circle cx="64" cy="64" r="60" fill="#f00"/>'}
    (tmp_path / "chars.json").write_text(json.dumps(characters))
    (tmp_path / "icons.json").write_text(json.dumps({"icons": dict.fromkeys(CODE_POINTS, circle), "aliases": {}}))
    left_out = draw_all(tmp_path, tmp_path / "out")
    assert set(left_out) == set(CODE_POINTS)
    assert json.loads((tmp_path / "out" / "left-out.json").read_text()) == left_out


def test_the_network_has_the_published_names_and_begins_at_nearest_pixels() -> None:
    network = Compact(width=4, depth=2)
    assert [name for name in network.state_dict() if name.endswith("weight")] == [
        f"body.{number}.weight" for number in range(7)
    ]
    assert network.body[6].weight.shape == (48, 4, 3, 3)
    for parameter in network.parameters():
        parameter.data.zero_()
    small = torch.rand(1, 3, 5, 6)
    assert torch.equal(network(small), small.repeat_interleave(4, 2).repeat_interleave(4, 3))


def test_at_first_the_picture_reaches_the_last_layer_and_nothing_is_added() -> None:
    """Where it is shrunk to nothing on the way only the last bias learns."""
    torch.manual_seed(1)
    network, small = Compact(width=64, depth=16), torch.rand(2, 3, 8, 8)
    assert torch.equal(network(small), small.repeat_interleave(4, 2).repeat_interleave(4, 3))
    values = small
    for layer in list(network.body)[:-1]:
        values = layer(values)
    assert 0.05 < float((values[0] - values[1]).std()) < 5


def test_edges_are_sobels() -> None:
    ramp = torch.arange(6.0).expand(1, 1, 5, 6)  # grows by one a pixel to the right
    assert torch.allclose(edges(ramp)[:, 0], torch.full((1, 3, 4), 2.0))
    assert torch.allclose(edges(ramp)[:, 1], torch.zeros(1, 3, 4))


def test_a_soft_edge_is_worse_than_its_pixels_say() -> None:
    sharp = torch.zeros(1, 3, 8, 8)
    sharp[..., 4:] = 1
    soft = sharp.clone()
    soft[..., 3], soft[..., 4] = 0.33, 0.67
    plain, with_edges = (float(upscaling_loss(soft, sharp, weight)) for weight in (0.0, 0.5))
    assert plain == pytest.approx(0.33 * 2 / 8, rel=0.01)
    assert with_edges > plain
    assert compare(sharp, sharp)["edge_error"] == 0
    assert 0 < compare(soft, sharp)["edge_error"] < 1
    assert compare(torch.full_like(sharp, 0.5), sharp)["edge_error"] == pytest.approx(1)
    assert compare(sharp * 0.9, sharp)["psnr"] == pytest.approx(-10 * np.log10(0.01 / 2), abs=0.01)


def test_what_is_cropped_lies_at_the_same_place(checkpoint: Path, sprites: Path, tmp_path: Path) -> None:
    studio = load_studio(checkpoint, sprites, TINY)
    rounds = Rounds(tmp_path, studio, seed=3, rows=2, size=2)
    rounds.advance(0)
    for chosen in rounds._rounds.values():  # as if the studio made them perfectly
        for row, index in enumerate(chosen.indices):
            chosen.pictures[row] = np.asarray(render(draw_scene(3, index)))
    small, large = rounds.draw(6, 2, 32, np.random.default_rng(1))
    assert small.shape == (12, 3, 32, 32)
    assert large.shape == (12, 3, 128, 128)
    shrunk = torch.nn.functional.avg_pool2d(large, 4)
    assert float((shrunk - small).abs().mean()) < 0.02
    scene = draw_scene(3, 7)
    assert all(0 <= place <= 96 for _ in range(50) for place in choose_crop(scene, 32, np.random.default_rng(2)))


def test_rounds_are_drawn_once_and_the_same_again(checkpoint: Path, sprites: Path, tmp_path: Path) -> None:
    studio = load_studio(checkpoint, sprites, TINY)
    rounds = Rounds(tmp_path, studio, seed=3, rows=3, size=2)
    for newest in range(3):
        rounds.advance(newest)
    assert {file.name for file in tmp_path.iterdir()} == {"1.pt", "2.pt"}
    (tmp_path / "2.pt").unlink()
    again = Rounds(tmp_path, studio, seed=3, rows=3, size=2)
    again.advance(2)
    for number in (1, 2):
        assert np.array_equal(rounds._rounds[number].pictures, again._rounds[number].pictures)
        assert rounds._rounds[number].indices == again._rounds[number].indices
    none, all_of_them = (
        dataclasses.replace(studio, drawn_share=share).draw_round(3, 2, 3).pictures for share in (0.0, 1.0)
    )
    assert not np.array_equal(none[0], all_of_them[0])  # the U-Net's own is another picture than the decoded one


def test_a_killed_run_goes_on_to_the_same_weights(
    checkpoint: Path, sprites: Path, budget: Budget, tmp_path: Path
) -> None:
    def run(workers: Workers, name: str) -> None:
        train(workers, TINY, budget, tmp_path / name, checkpoint, sprites, save_every=2)

    run(Workers(), "whole")
    with pytest.raises(Killed):
        run(DyingWorkers(5), "killed")  # one step after the last save
    run(Workers(), "killed")
    whole, killed = (torch.load(tmp_path / name / "state.pt", weights_only=True) for name in ("whole", "killed"))
    assert whole["step"] == killed["step"] == 6
    for part in ("weights", "average", "optimizer"):
        torch.testing.assert_close(killed[part], whole[part], rtol=0, atol=0)
    assert json.loads((tmp_path / "killed" / "config.json").read_text())["width"] == 4


def test_it_is_compared_with_lanczos_and_shown(checkpoint: Path, sprites: Path, budget: Budget, tmp_path: Path) -> None:
    train(Workers(), TINY, budget, tmp_path, checkpoint, sprites, judge_every=6, judge_count=2)
    lines = [json.loads(line) for line in (tmp_path / "judged.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [6]
    assert set(lines[0]) == {"step", "drawn_psnr", "drawn_edge_error", "decoded_psnr", "decoded_edge_error"}
    with Image.open(tmp_path / "samples" / "step-000006.png") as sheet:
        assert sheet.size == (2 * 512, 3 * 512)
    examiner = Examiner(load_studio(checkpoint, sprites, TINY), 2)
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    figures = examiner.figures(averaged(TINY, state["average"]["weights"]))
    assert figures["drawn_psnr"] == pytest.approx(lines[0]["drawn_psnr"], abs=1e-4)
    assert examiner.figures(None) != figures


def test_pictures_and_values_are_the_same() -> None:
    pictures = torch.randint(0, 256, (2, 8, 8, 3), generator=generator_for(1, 1)).byte().numpy()
    assert np.array_equal(np.stack([np.asarray(one) for one in from_unit(to_unit(pictures))]), pictures)
    assert lanczos(pictures).shape == (2, 3, 32, 32)


def test_what_is_written_is_the_average_in_float16(
    checkpoint: Path, sprites: Path, budget: Budget, tmp_path: Path
) -> None:
    train(Workers(), TINY, budget, tmp_path, checkpoint, sprites)
    file = tmp_path / "out" / "upscaler.safetensors"
    export(tmp_path, file)
    tensors = load_file(file)
    weights = torch.load(tmp_path / "state.pt", weights_only=True)["average"]["weights"]
    assert all(torch.equal(tensors[name], value.half()) for name, value in weights.items())
    with safe_open(file, "pt") as opened:
        assert opened.metadata()["ss_steps"] == "6"
    assert file.stat().st_mode & 0o444 == 0o444  # others may read it
    published = Compact(UpscalerConfig().width, UpscalerConfig().depth)
    assert 2 * sum(parameter.numel() for parameter in published.parameters()) < 2e6  # the built-in one's bytes


def test_without_a_run_nothing_is_written(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError, match="no such run"):
        export(tmp_path, tmp_path / "upscaler.safetensors")
    assert not list(tmp_path.iterdir())
