"""The ControlNet of the world's own segmentation maps: its maps, its training, what is exported, and how it is
measured."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import UNet2DConditionModel

from studio.checkpoints.controlnet_file import load_controlnet
from studio.checkpoints.palette import palette as read_palette
from tests.tiny import save_tiny_checkpoint, tiny_components
from tests.training.test_resume import DyingWorkers, Killed
from training.budget import Budget
from training.export import export_control, map_colors
from training.judge import judge
from training.options import RunOptions
from training.pictures import Settings
from training.placement import draw_cases, figures, is_good, is_placed, overlap, pictures_of
from training.segmentation import ANYTHING, NOTHING, object_mask, palette, segmentation_map
from training.state import save_state
from training.train_control import ControlConfig, draw_conditions, make_control, train
from training.workers import Workers
from training.world import OBJECTS, PLACES, RELATIONS, draw_scene, render

TINY = ControlConfig(map_channels=(4, 4, 4, 8), batch=4, warmup=2)


# ------------------------------------------------------------------------------------------------------ the maps


def test_every_object_has_a_colour_that_is_told_from_all_others() -> None:
    colors = [*palette().values(), NOTHING, ANYTHING]
    assert len(palette()) == len(OBJECTS)
    apart = [max(abs(a - b) for a, b in zip(one, other)) for k, one in enumerate(colors) for other in colors[:k]]
    assert min(apart) >= 60


def test_a_map_is_coloured_where_the_picture_shows_its_object_and_black_elsewhere() -> None:
    scenes = (draw_scene(7, index) for index in range(200))
    scene = next(s for s in scenes if len(s.objects) == 2 and s.style == "plain" and s.background == "white")
    drawn = np.asarray(segmentation_map(scene))
    shown = np.asarray(render(scene)).astype(int)
    covered = np.zeros((128, 128), dtype=bool)
    for placed in scene.objects:
        mask = np.asarray(object_mask(placed)) > 0
        assert (drawn[mask & ~covered] == palette()[placed.name]).all() or placed is scene.objects[0]
        covered |= mask
    assert (drawn[~covered] == NOTHING).all()
    assert (np.abs(shown - 250).max(axis=2)[~covered] <= 128).mean() > 0.99
    assert set(map(tuple, np.asarray(segmentation_map(scene, with_names=False)).reshape(-1, 3))) == {NOTHING, ANYTHING}


def test_a_rough_map_lies_over_the_exact_one() -> None:
    scene = next(s for s in (draw_scene(7, k) for k in range(50)) if len(s.objects) == 1)
    exact = np.asarray(object_mask(scene.objects[0])) > 0
    for shape in ("blob", "ellipse", "box"):
        rough = np.asarray(object_mask(scene.objects[0], shape)) > 0
        assert (rough & exact).sum() / exact.sum() > 0.7, shape
        assert not (rough == exact).all(), shape


# ---------------------------------------------------------------------------------------------------- the training


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return save_tiny_checkpoint(tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def latents(tmp_path_factory: pytest.TempPathFactory) -> Path:
    file = tmp_path_factory.mktemp("latents") / "latents.pt"
    generator = torch.Generator().manual_seed(1)
    known = torch.randn(12, 4, 16, 16, generator=generator).half()
    save_state(file, {"latents": known, "seed": 2, "scaling_factor": 0.5})
    return file


def weights(folder: Path, key: str) -> dict[str, torch.Tensor]:
    state: dict[str, torch.Tensor] = torch.load(folder / "state.pt", weights_only=True)[key]
    return state


def test_it_changes_nothing_before_it_has_learned_and_begins_as_the_unets_own_blocks(checkpoint: Path) -> None:
    unet = UNet2DConditionModel.from_pretrained(checkpoint, subfolder="unet")
    control = make_control(unet, TINY)
    size = (2, 77, unet.config.cross_attention_dim)
    down, mid = control(
        torch.randn(2, 4, 16, 16), torch.tensor([1, 900]), torch.randn(size), torch.rand(2, 3, 128, 128),
        return_dict=False,
    )  # fmt: skip
    assert all(not tensor.any() for tensor in (*down, mid))
    torch.testing.assert_close(control.conv_in.weight, unet.conv_in.weight)


def test_a_run_killed_in_the_middle_gives_the_same_weights_and_leaves_the_unet_alone(
    checkpoint: Path, latents: Path, tmp_path: Path
) -> None:
    budget = Budget(learning_rate=1e-2, warmup=2, steps=6)
    before = (checkpoint / "unet" / "diffusion_pytorch_model.safetensors").read_bytes()

    def run(workers: Workers, name: str) -> None:
        train(workers, TINY, budget, tmp_path / name, latents, checkpoint, save_every=2)

    run(Workers(), "whole")
    with pytest.raises(Killed):
        run(DyingWorkers(5), "broken")
    run(Workers(), "broken")
    for key in ("weights", "optimizer"):
        torch.testing.assert_close(weights(tmp_path / "broken", key), weights(tmp_path / "whole", key), rtol=0, atol=0)
    assert (checkpoint / "unet" / "diffusion_pytorch_model.safetensors").read_bytes() == before

    learned = weights(tmp_path / "whole", "weights")
    assert learned["controlnet_mid_block.weight"].any(), "what began as zero has learned"
    step = export_control(tmp_path / "whole", checkpoint)
    assert step == 6
    net = load_controlnet(checkpoint / "control-segmentation", tiny_components())
    averaged = weights(tmp_path / "whole", "average")["weights"]
    torch.testing.assert_close(net.conv_in.weight, averaged["conv_in.weight"], rtol=1e-3, atol=1e-3)  # type: ignore[index]

    still = Budget(learning_rate=0.0, warmup=1, steps=1)
    begun = checkpoint / "control-segmentation"
    train(Workers(), TINY, still, tmp_path / "on", latents, checkpoint, earlier=begun)
    went_on = weights(tmp_path / "on", "weights")["controlnet_mid_block.weight"]
    torch.testing.assert_close(went_on, net.controlnet_mid_block.weight, rtol=0, atol=0)
    assert went_on.any()


def test_a_sheet_shows_maps_and_what_is_made_of_them(
    checkpoint: Path, latents: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        "training.train_control.Timer", lambda minutes: type("Due", (), {"is_due": lambda self: True})()
    )
    monkeypatch.setattr("training.train_control.Settings", lambda: Settings(steps=1))
    budget = Budget(learning_rate=1e-3, warmup=2, steps=1)
    train(Workers(), TINY, budget, tmp_path / "run", latents, checkpoint, RunOptions(sheet_minutes=1.0))
    assert (tmp_path / "run" / "samples" / "step-000001.png").stat().st_size > 1000


def test_conditions_depend_on_the_step_and_leave_places_to_the_map() -> None:
    captions, maps = draw_conditions(TINY, 2, list(range(8)), 3)
    again = draw_conditions(TINY, 2, list(range(8)), 3)
    assert captions == again[0]
    assert (maps == again[1]).all()
    assert maps.shape == (8, 128, 128, 3)
    assert (maps != draw_conditions(TINY, 2, list(range(8)), 4)[1]).any()
    silent = replace(TINY, unsaid=1.0, caption_dropout=0.0)
    said = draw_conditions(silent, 2, list(range(100)), 3)[0]
    places = [phrase for phrases in PLACES.values() for phrase in phrases]
    beside = [phrase for name, phrases in RELATIONS.items() if name != "and" for phrase in phrases]
    bare = [caption.replace("under the stars", "at night") for caption in said]  # the night sky, not a place
    assert not any(f" {phrase} " in f" {caption} " for caption in bare for phrase in (*places, *beside))
    assert all(draw_conditions(replace(TINY, caption_dropout=1.0), 2, [1, 2], 3)[0][k] == "" for k in range(2))


def test_the_colours_that_are_exported_are_what_the_studio_reads() -> None:
    rows = dict(read_palette(map_colors()))
    assert rows[""] == "#000000"
    assert rows["*"] == "#ffffff"
    assert {name: rows[name] for name in OBJECTS} == {
        name: "#{:02x}{:02x}{:02x}".format(*color) for name, color in palette().items()
    }


# ----------------------------------------------------------------------------------------------------- the figures


def test_cases_are_fixed_and_say_no_place() -> None:
    cases = draw_cases(24)
    assert cases == [*draw_cases(12), *cases[12:]]
    assert len({case.seed for case in cases}) == 24
    assert {case.shape for case in cases} == {"silhouette", "ellipse"}
    assert sum(len(case.scene.objects) == 2 for case in cases) == 8
    words = [phrase for table in (PLACES, RELATIONS) for name, row in table.items() if name != "and" for phrase in row]
    assert not any(f" {phrase} " in f" {case.prompt} " for case in cases for phrase in words)


def test_an_object_is_placed_where_its_map_says_and_nowhere_else() -> None:
    case = next(c for c in draw_cases(9) if c.scene.objects[0].size == "small")
    verdict = judge(render(case.scene))
    assert is_placed(case, verdict)
    assert is_good(case, verdict)
    (placed,) = case.scene.objects
    moved = replace(placed, left=(placed.left + 36) % (128 - placed.side))
    elsewhere = replace(case, scene=replace(case.scene, objects=(moved,)))
    assert overlap(moved, verdict) < overlap(placed, verdict)
    assert not is_placed(elsewhere, verdict)
    told = figures([case, elsewhere], [verdict, verdict])
    assert (told["placed"], told["placed and good"], told["good, anywhere"]) == (50.0, 50.0, 100.0)
    assert told["placed, two objects"] is None


def test_the_map_is_what_the_pictures_differ_by() -> None:
    with torch.random.fork_rng(devices=[]):
        components = tiny_components()
        control = make_control(components.unet, TINY)
        for name, weight in control.named_parameters():
            if "controlnet_" in name:
                torch.nn.init.normal_(weight, std=0.3)
    control.requires_grad_(False)
    cases, settings = draw_cases(2), Settings(steps=2)
    make: Callable[..., list[np.ndarray]] = lambda *arguments: [  # noqa: E731
        np.asarray(picture) for picture in pictures_of(components, cases, settings, *arguments)
    ]
    without, silent, held = make(None, 1.0), make(control, 0.0), make(control, 1.0)
    assert all((a == b).all() for a, b in zip(without, silent))
    assert all((a != b).any() for a, b in zip(without, held))
