"""Does an object stand where its map says? With the ControlNet and without, read by the judge; JSON on the last line.

    python -m training.placement --cases 120                   # some minutes

Each case has a scene that training did not draw: objects and background in words that say no place and no size, and a
map that says both, exact or as an oval that a hand would draw. All is made twice from the same seed, with the map and
without. An object *stands where the map says* when the judge finds it there: the silhouettes of what it finds and of
what is meant overlap by IOU or more, intersection over union. A case holds when all its objects do. The judge says
"none" of a picture that is not good enough, which is another matter than its places, so both are told: *placed* by what
it finds first, *good* by what it stands for. The runs are the studio's own.
"""

from __future__ import annotations

import argparse
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from studio.asked.control import Control
from studio.asked.fields import TextToImage
from studio.asked.resolved import resolve
from studio.checkpoints.controlnet_file import load_controlnet
from studio.diffusion.components import Components
from studio.diffusion.controlnet import applied_control
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.vae import decode, to_pictures
from training.evaluate import share
from training.judge import Verdict, judge
from training.pictures import Settings, load_checkpoint, run_lanes
from training.segmentation import CONTROL, Shape, object_mask, segmentation_map
from training.sheets import Cell, save_sheet
from training.world import (
    BACKGROUNDS,
    OBJECTS,
    RELATIONS,
    SCENE_VARIANTS,
    SCENES,
    SIZE,
    PlacedObject,
    Scene,
    is_held_out,
    pair_objects,
    place_object,
    with_article,
)

CASES = 120
SEED = 78_000_000  # of the cases; no training picture is drawn from it
IOU = 0.5
BATCH = 16  # cases that share a U-Net call
SHEET_CASES = 30  # of the cases, three cells each
PLACES = ("left", "right", "top", "bottom")


@dataclass(frozen=True)
class Case:
    """A scene whose places only the map tells."""

    scene: Scene
    shape: Shape
    seed: int

    @property
    def prompt(self) -> str:
        background = self.scene.background
        subject = " and ".join(with_article(placed.name) for placed in self.scene.objects)
        if background in SCENES:
            return f"{subject} {SCENES[background][0]}"
        return f"{subject} on {with_article(background)} background"

    def map(self) -> Image.Image:
        """RGB, as large as the picture."""
        return segmentation_map(self.scene, shape=self.shape)


def draw_cases(count: int, seed: int = SEED) -> list[Case]:
    """The first `count` cases, the same every time: one in three a pair, half of the maps ovals."""
    rng = np.random.default_rng(seed)
    names, grounds = sorted(OBJECTS), sorted([*BACKGROUNDS, *SCENES])
    cases: list[Case] = []
    while len(cases) < count:
        first, second = (names[int(k)] for k in rng.choice(len(names), 2, replace=False))
        background = grounds[int(rng.integers(len(grounds)))]
        is_pair = len(cases) % 3 == 2
        if is_held_out(first, background) or (is_pair and is_held_out(second, background)):
            continue
        if is_pair and is_held_out(first, second):
            continue
        relation = list(RELATIONS)[int(rng.integers(4))] if is_pair else None  # not "and": that is "left of"
        if relation is not None:
            objects = pair_objects(first, second, relation, rng)
        else:
            size = "small" if rng.random() < 0.5 else "normal"
            objects = (place_object(first, size, PLACES[int(rng.integers(len(PLACES)))], rng),)
        scene = Scene(
            objects=objects,
            relation=relation,
            background=background,
            variant=int(rng.integers(SCENE_VARIANTS)) if background in SCENES else 0,
            style="plain",
            caption="",
        )
        cases.append(Case(scene, "ellipse" if len(cases) % 2 else "silhouette", seed + len(cases)))
    return cases


@torch.inference_mode()
def pictures_of(
    components: Components, cases: Sequence[Case], settings: Settings, control: torch.nn.Module | None, scale: float
) -> list[Image.Image]:
    """Each case's picture, held to its map where there is a ControlNet."""
    lanes = []
    for case in cases:
        request = TextToImage(
            prompt=case.prompt,
            num_inference_steps=settings.steps,
            guidance_scale=settings.guidance_scale,
            scheduler=settings.scheduler,
            width=SIZE,
            height=SIZE,
        )
        words = encode_prompts(
            components, case.prompt, "", num_steps=settings.steps, guidance_scale=settings.guidance_scale
        )
        control_request = Control(model=CONTROL, image=b"of the case", scale=scale)
        controls = () if control is None else (applied_control(components, control, control_request, case.map()),)
        lanes.append(
            start_lane(
                components, resolve(request, components.suits), seed=case.seed, conditioning=words, controls=controls
            )
        )
    run_lanes(components, lanes)
    return [to_pictures(decode(components, lane.latents))[0] for lane in lanes]


def overlap(placed: PlacedObject, verdict: Verdict) -> float:
    """Intersection over union of the silhouettes of an object and of the one of its name that the judge found, in
    [0, 1]; 0 when it found none."""
    target = _mask(placed.name, placed.left, placed.top, placed.side)
    masks = [_mask(one.name, one.left, one.top, one.side) for one in verdict.objects_seen if one.name == placed.name]
    return max((float((mask & target).sum() / (mask | target).sum()) for mask in masks), default=0.0)


def _mask(name: str, left: int, top: int, side: int) -> np.ndarray:
    placed = PlacedObject(name=name, size="", place="", left=left, top=top, side=side)
    mask: np.ndarray = np.asarray(object_mask(placed)) > 0
    return mask


def is_placed(case: Case, verdict: Verdict) -> bool:
    """Whether every object of the case was found where its map says."""
    return all(overlap(placed, verdict) >= IOU for placed in case.scene.objects)


def is_good(case: Case, verdict: Verdict) -> bool:
    """Whether the judge stands for every object of the case, wherever it is, and for no other."""
    return sorted(placed.name for placed in case.scene.objects) == sorted(verdict.objects)


def figures(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Percentages of the cases, and the mean overlap of all objects."""
    pairs = list(zip(cases, verdicts, strict=True))
    overlaps = [overlap(placed, verdict) for case, verdict in pairs for placed in case.scene.objects]
    return {
        "placed": share(is_placed(*pair) for pair in pairs),
        "placed, one object": share(is_placed(*pair) for pair in pairs if len(pair[0].scene.objects) == 1),
        "placed, two objects": share(is_placed(*pair) for pair in pairs if len(pair[0].scene.objects) == 2),
        "placed, map exact": share(is_placed(*pair) for pair in pairs if pair[0].shape == "silhouette"),
        "placed, map of ovals": share(is_placed(*pair) for pair in pairs if pair[0].shape == "ellipse"),
        "placed and good": share(is_placed(*pair) and is_good(*pair) for pair in pairs),
        "good, anywhere": share(is_good(*pair) for pair in pairs),
        "mean overlap": round(float(np.mean(overlaps)), 3),
    }


def _cells(case: Case, verdicts: Sequence[Verdict], pictures: Sequence[Image.Image]) -> list[Cell]:
    sentences = [" and ".join(verdict.objects) or "none" for verdict in verdicts]
    cells = zip(pictures, sentences, verdicts, ("without", "with the map"), strict=True)
    return [
        Cell(case.map(), case.prompt, ""),
        *(Cell(picture, name, words, is_placed(case, verdict)) for picture, words, verdict, name in cells),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--control", type=Path, help="folder of the ControlNet; else the checkpoint's own")
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=Settings.guidance_scale)
    parser.add_argument("--scale", type=float, default=1.0)
    parser.add_argument("--sheet", type=Path, help="where to write the first pictures with their verdicts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    components = load_checkpoint(options.checkpoint)
    control = load_controlnet(options.control or options.checkpoint / CONTROL, components)
    settings = Settings(steps=options.steps, guidance_scale=options.guidance)
    cases = draw_cases(options.cases)
    rounds: list[list[Image.Image]] = []
    for net in (None, control):
        pictures: list[Image.Image] = []
        for start in range(0, len(cases), BATCH):
            pictures += pictures_of(components, cases[start : start + BATCH], settings, net, options.scale)
            print(f"{len(pictures)} of {len(cases)} {'without' if net is None else 'with the map'}", flush=True)
        rounds.append(pictures)
    verdicts = [[judge(picture) for picture in pictures] for pictures in rounds]
    if options.sheet is not None:
        rows = list(zip(cases, zip(*verdicts, strict=True), zip(*rounds, strict=True), strict=True))[:SHEET_CASES]
        save_sheet(options.sheet, [cell for row in rows for cell in _cells(*row)], columns=9)
    without, with_map = (figures(cases, one) for one in verdicts)
    print(
        json.dumps(
            {
                "placement": {"cases": len(cases), "overlap asked": IOU, "without": without, "with the map": with_map},
                "steps": options.steps,
                "guidance": options.guidance,
                "scale": options.scale,
                "checkpoint": options.checkpoint.name,
            }
        )
    )


if __name__ == "__main__":
    main()
