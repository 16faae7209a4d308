"""Paint a mask on the left object, type another: is it replaced? Read by the judge; JSON on the last line.

    python -m training.replacement --checkpoint models/small-world-128           # 200 cases, some minutes

Each case is a drawn picture of two objects side by side, of which the left one is masked; the prompt names another
object in its place. The runs are the studio's own: the framing, the lanes and the pasting of an Inpaint request. A
case is *replaced* when the judge sees the new object on the left of the old right one, and nothing else. For
each case it is asserted that every pixel outside the mask and its blur is the input's, to the last bit.
"""

from __future__ import annotations

import argparse
import io
import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from studio.asked.fields import Inpaint, MaskFillName
from studio.asked.resolved import resolve
from studio.diffusion.components import Components
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import encode_prompts
from studio.diffusion.vae import decode, to_pictures
from studio.picture.framing import start_of
from training.evaluate import share
from training.judge import Verdict, judge
from training.pictures import Settings, load_checkpoint, run_lanes
from training.sheets import Cell, save_sheet
from training.world import (
    BACKGROUNDS,
    OBJECTS,
    SCENE_VARIANTS,
    SCENES,
    SIZE,
    Scene,
    is_held_out,
    pair_objects,
    render,
    with_article,
)

CASES = 200
SEED = 77_000_000  # of the cases; no training picture is drawn from it
BAR = 80  # percent replaced
BATCH = 16  # cases that share a U-Net call
MARGIN = 6  # pixels around the left object that are painted too, as a hand does
SHEET_CELLS = 50  # on the sheet


@dataclass(frozen=True)
class Case:
    """One picture, the object that is to be in the place of its left one, and the mask over that."""

    scene: Scene
    replacement: str
    seed: int

    @property
    def left_name(self) -> str:
        return self.scene.objects[0].name

    @property
    def right_name(self) -> str:
        return self.scene.objects[1].name

    @property
    def prompt(self) -> str:
        background = self.scene.background
        subject = f"{with_article(self.replacement)} left of {with_article(self.right_name)}"
        if background in SCENES:
            return f"{subject} {SCENES[background][0]}"
        return f"{subject} on {with_article(background)} background"

    def mask(self) -> Image.Image:
        """L, white over the left object's box and a margin, as far as the right object's box begins."""
        left, right = self.scene.objects
        mask = Image.new("L", (SIZE, SIZE), 0)
        box = (
            left.left - MARGIN,
            left.top - MARGIN,
            min(left.left + left.side + MARGIN, right.left) - 1,
            left.top + left.side + MARGIN - 1,
        )
        ImageDraw.Draw(mask).rectangle(box, fill=255)
        return mask


def draw_cases(count: int, seed: int = SEED) -> list[Case]:
    """The first `count` cases, the same every time: pairs, backgrounds and new objects that training may have shown."""
    rng = np.random.default_rng(seed)
    names, grounds = sorted(OBJECTS), sorted([*BACKGROUNDS, *SCENES])
    cases: list[Case] = []
    while len(cases) < count:
        old, right, replacement = (names[int(k)] for k in rng.choice(len(names), 3, replace=False))
        background = grounds[int(rng.integers(len(grounds)))]
        if is_held_out(old, right) or is_held_out(replacement, right):
            continue
        if any(is_held_out(name, background) for name in (old, right, replacement)):
            continue
        scene = Scene(
            objects=pair_objects(old, right, "left of", rng),
            relation="left of",
            background=background,
            variant=int(rng.integers(SCENE_VARIANTS)) if background in SCENES else 0,
            style="plain",
            caption="",
        )
        cases.append(Case(scene, replacement, seed + len(cases)))
    return cases


@torch.inference_mode()
def repaint(components: Components, cases: Sequence[Case], settings: Inpaint) -> list[Image.Image]:
    """Each case's picture with its masked part made anew. Prompt, picture and mask are the case's; all else is in
    `settings`.

    Raises AssertionError where a pixel outside of the mask and its blur is not the input's.
    """
    lanes, starts = [], []
    for case in cases:
        request = replace(settings, prompt=case.prompt, image=_png(render(case.scene)), mask=_png(case.mask()))
        start = start_of(request, (components.native_width, components.native_height))
        resolved = resolve(request, components.suits)
        words = encode_prompts(
            components, case.prompt, "", num_steps=resolved.steps, guidance_scale=resolved.guidance_scale
        )
        lane = start_lane(
            components,
            resolved,
            seed=case.seed,
            conditioning=words,
            picture=start.picture,
            mask=start.mask,
        )
        lanes.append(lane)
        starts.append(start)
    run_lanes(components, lanes)
    pictures = []
    for case, lane, start in zip(cases, lanes, starts, strict=True):
        assert start.paste is not None
        picture = start.paste.over(to_pictures(decode(components, lane.latents))[0])
        outside = np.asarray(start.paste.fade) == 0
        original = np.asarray(render(case.scene).convert("RGB"))
        if original.shape != np.asarray(picture).shape or not (np.asarray(picture)[outside] == original[outside]).all():
            raise AssertionError(f"{case.prompt}: pixels outside of the mask have changed")
        pictures.append(picture)
    return pictures


def is_replaced(case: Case, verdict: Verdict) -> bool:
    """Whether the judge sees the new object on the left, the right one where it was, and nothing else."""
    return verdict.holds("left of", case.replacement, case.right_name)


def figures(cases: Sequence[Case], verdicts: Sequence[Verdict]) -> dict[str, object]:
    """Percentages of the cases."""
    pairs = list(zip(cases, verdicts, strict=True))
    figure = share(is_replaced(case, verdict) for case, verdict in pairs) or 0.0
    return {
        "cases": len(pairs),
        "replaced": figure,
        "bar": BAR,
        "reached": figure >= BAR,
        "still the old one": share(case.left_name in verdict.objects for case, verdict in pairs),
        "right one kept": share(case.right_name in verdict.objects for case, verdict in pairs),
        "background kept": share(case.scene.background == verdict.background for case, verdict in pairs),
        "outside of the mask": "bit-identical in every case",
    }


def _png(picture: Image.Image) -> bytes:
    file = io.BytesIO()
    picture.save(file, "PNG")
    return file.getvalue()


def _cell(case: Case, picture: Image.Image, verdict: Verdict) -> Cell:
    prompt = f"{case.left_name} => {case.replacement}, beside {case.right_name}"
    return Cell(picture, prompt, " and ".join(verdict.objects) or "none", is_replaced(case, verdict))


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--cases", type=int, default=CASES)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance", type=float, default=Settings.guidance_scale)
    parser.add_argument("--strength", type=float, default=1.0)
    parser.add_argument("--fill", choices=("original", "noise", "edges"), default="original")
    parser.add_argument("--sheet", type=Path, help="where to write the first pictures with their verdicts")
    options = parser.parse_args()
    torch.set_num_threads(1)
    components = load_checkpoint(options.checkpoint)
    fill: MaskFillName = options.fill
    request = Inpaint(
        prompt="",
        image=b"of the case",
        mask=b"of the case",
        num_inference_steps=options.steps,
        guidance_scale=options.guidance,
        strength=options.strength,
        mask_fill=fill,
    )
    cases = draw_cases(options.cases)
    pictures: list[Image.Image] = []
    for start in range(0, len(cases), BATCH):
        pictures += repaint(components, cases[start : start + BATCH], request)
        print(f"{len(pictures)} of {len(cases)}", flush=True)
    verdicts = [judge(picture) for picture in pictures]
    if options.sheet is not None:
        rows = list(zip(cases, pictures, verdicts, strict=True))[:SHEET_CELLS]
        save_sheet(options.sheet, [_cell(*one) for one in rows])
    settings = {
        "steps": options.steps,
        "guidance": options.guidance,
        "strength": options.strength,
        "fill": options.fill,
    }
    print(json.dumps({"replacement": figures(cases, verdicts), **settings, "checkpoint": options.checkpoint.name}))


if __name__ == "__main__":
    main()
