"""The evaluation's arithmetic on made-up verdicts, and a floor for the shipped model that a broken one would miss."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from training.evaluate import Judged, diversity, is_right, objects_right, table, told
from training.evaluation_prompts import Prompt, draw_rows
from training.judge import Verdict, judge
from training.pictures import Settings, load_checkpoint, make_pictures
from training.sheets import Cell, save_sheet

CHECKPOINT = Path("models/small-world-128")
OPPOSITE = {"right of": "left of", "below": "above"}


def perfect(prompt: Prompt) -> Verdict:
    """What the judge says of a picture that shows what was asked."""
    names, relation = prompt.objects, None
    if prompt.relation is not None:
        relation = OPPOSITE.get(prompt.relation, "left of" if prompt.relation == "and" else prompt.relation)
        names = names[::-1] if prompt.relation in OPPOSITE else names
    return Verdict(
        objects=names,
        relation=relation,
        size=prompt.size or "normal",
        place=prompt.place or "center",
        background=prompt.background,
        styles=(prompt.style,),
        found=(),
    )


def test_perfect_verdicts_reach_every_bar() -> None:
    asked = draw_rows(40)
    rows = table(asked, {row: [perfect(prompt) for prompt in prompts] for row, prompts in asked.items()})
    assert all(row["reached"] for row in rows.values() if "reached" in row), rows
    assert rows["never seen, points lost"]["figure"] == 0
    assert rows["paraphrase, of the plain prompt's score"]["figure"] == 100


def test_each_row_counts_its_own_failures() -> None:
    asked = draw_rows(8)
    verdicts = {row: [perfect(prompt) for prompt in prompts] for row, prompts in asked.items()}
    verdicts["single"][:2] = [replace(verdict, background="nowhere") for verdict in verdicts["single"][:2]]
    verdicts["pairs"][0] = replace(verdicts["pairs"][0], objects=())
    verdicts["paraphrase"] = [replace(verdict, objects=("nothing",)) for verdict in verdicts["paraphrase"]]
    verdicts["style"][0] = replace(verdicts["style"][0], styles=("plain",))
    rows = table(asked, verdicts)
    assert (rows["background"]["figure"], rows["single object"]["figure"]) == (75.0, 100.0)
    assert rows["two objects"]["figure"] == 87.5
    assert rows["relation, given both objects"]["figure"] == 100.0
    assert rows["paraphrase, of the plain prompt's score"]["figure"] == 0.0
    assert rows["unknown word, points lost"]["figure"] == -25.0
    assert (rows["style"]["figure"], rows["style"]["reached"]) == (87.5, False)


def test_diversity_counts_objects_nones_and_twins() -> None:
    blank = perfect(Prompt(prompt="", seed=0, objects=(), background="white"))
    pictures = [Image.fromarray(np.full((128, 128, 3), value, dtype=np.uint8)) for value in (0, 100, 103)]
    verdicts = [replace(blank, objects=(name,)) if name else blank for name in ("fox", "owl", "")]
    told_of = diversity([Judged(picture, verdict) for picture, verdict in zip(pictures, verdicts, strict=True)])
    assert (told_of["figure"], told_of["none"], told_of["reached"]) == (2, 33.3, False)
    assert told_of["nearest two, RMSE of 255"] == pytest.approx(3.0, abs=0.05)


def test_a_sheet_has_a_cell_for_each_picture(tmp_path: Path) -> None:
    prompt = draw_rows(1)["pairs"][0]
    cell = Cell(Image.new("RGB", (128, 128), "red"), prompt.prompt, told(perfect(prompt)), True)
    save_sheet(tmp_path / "sheet.jpg", [cell] * 12, columns=5)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 5 * 128
        assert sheet.height > 3 * 128


def test_the_shipped_model_is_far_above_chance() -> None:
    """Chance is 1 in 16 for the background and less than 1 in 36 for the object."""
    known = {row["name"] for row in json.loads((CHECKPOINT / "world.json").read_text(encoding="utf-8"))["objects"]}
    asked = [p for p in draw_rows(60)["single"] if p.objects[0] in known and p.size != "small"][:10]
    pictures = make_pictures(load_checkpoint(CHECKPOINT), [(p.prompt, p.seed) for p in asked], Settings(steps=15))
    verdicts = [judge(picture) for picture in pictures]
    grounds = sum(p.background == v.background for p, v in zip(asked, verdicts, strict=True))
    # What the judge would name if it had to: the model may be too soft for it and still know its words.
    found = sum(p.objects[0] in {one.name for one in v.found} for p, v in zip(asked, verdicts, strict=True))
    assert grounds >= 6, (grounds, found)
    assert found >= 3, (grounds, found)
    assert all(objects_right(p, v) for p, v in zip(asked, verdicts, strict=True) if is_right(p, v))
