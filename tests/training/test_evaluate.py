"""The evaluation's arithmetic on made-up verdicts, and a floor for the shipped model that a broken one would miss."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from xml.etree import ElementTree

import numpy as np
import pytest
from PIL import Image

from training import curves, evaluate
from training.evaluate import JudgedPicture, diversity, is_right, objects_right, sentence, table
from training.evaluation_prompts import Prompt, draw_rows
from training.judge import JudgedObject, Verdict, judge
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
        objects_seen=(),
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
    assert rows["single object, without the right to say none"]["figure"] == 0.0, "nothing is found in made-up ones"
    seen = [JudgedObject(name=name, left=0, top=0, side=64, features=()) for name in asked["single"][3].objects]
    verdicts["single"][3] = replace(verdicts["single"][3], objects=(), objects_seen=tuple(seen))
    rows = table(asked, verdicts)
    assert rows["single object, without the right to say none"]["figure"] == 12.5
    assert rows["single object"]["figure"] == 87.5
    by_kind = rows["single object"]["by what is asked"]
    assert (by_kind[asked["single"][3].place], by_kind["neither size nor place"]) == (0.0, 100.0)
    assert (rows["style"]["figure"], rows["style"]["reached"]) == (87.5, False)


def test_diversity_counts_objects_nones_and_twins() -> None:
    blank = perfect(Prompt(prompt="", seed=0, objects=(), background="white"))
    pictures = [Image.fromarray(np.full((128, 128, 3), value, dtype=np.uint8)) for value in (0, 100, 103)]
    verdicts = [replace(blank, objects=(name,)) if name else blank for name in ("fox", "owl", "")]
    told_of = diversity([JudgedPicture(picture, verdict) for picture, verdict in zip(pictures, verdicts, strict=True)])
    assert (told_of["figure"], told_of["none"], told_of["reached"]) == (2, 33.3, False)
    assert told_of["nearest two, RMSE of 255"] == pytest.approx(3.0, abs=0.05)


def test_a_sheet_has_a_cell_for_each_picture(tmp_path: Path) -> None:
    prompt = draw_rows(1)["pairs"][0]
    cell = Cell(Image.new("RGB", (128, 128), "red"), prompt.prompt, sentence(perfect(prompt)), True)
    save_sheet(tmp_path / "sheet.jpg", [cell] * 12, columns=5)
    with Image.open(tmp_path / "sheet.jpg") as sheet:
        assert sheet.width > 5 * 128
        assert sheet.height > 3 * 128


class KnowingStudio:
    """Makes a blank picture of every prompt, and has a judge who sees in it what was asked, above guidance 2."""

    def __init__(self, checkpoint: Path, workers: int) -> None:
        rows = draw_rows(3)
        self._asked = {(p.prompt, p.seed): p for prompts in rows.values() for p in prompts}

    def judge_pictures(self, asked: list[tuple[str, int]], settings: Settings) -> list[JudgedPicture]:
        shown = [self._asked.get(one, Prompt(prompt="", seed=0, objects=("fox",), background="red")) for one in asked]
        verdicts = [perfect(prompt) for prompt in shown]
        if settings.guidance_scale <= 2 or settings.scheduler == "ddim":
            verdicts = [replace(verdict, objects=()) for verdict in verdicts]
        return [JudgedPicture(Image.new("RGB", (128, 128), (len(sentence(v)), 80, 90)), v) for v in verdicts]

    def close(self) -> None:
        pass


@pytest.fixture
def knowing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(evaluate, "Studio", KnowingStudio)
    monkeypatch.setattr(evaluate, "round_trip", lambda checkpoint: {"figure": 27.0})


@pytest.mark.usefixtures("knowing")
def test_the_table_comes_with_a_sheet_of_each_row(tmp_path: Path) -> None:
    found = evaluate.evaluate(CHECKPOINT, 3, 1, tmp_path, Settings())
    rows = found["rows"]
    assert isinstance(rows, dict)
    assert rows["single object"]["figure"] == 100.0
    assert rows["autoencoder, PSNR in dB"] == {"figure": 27.0}
    sheets = {path.stem for path in tmp_path.glob("*.jpg")}
    assert sheets == {row.replace(" ", "-") for row in draw_rows(3)} | {"empty-prompt"}
    json.dumps(found)


@pytest.mark.usefixtures("knowing")
def test_sweeps_go_over_guidance_1_to_15_and_1_to_50_steps_of_four_schedulers(tmp_path: Path) -> None:
    found = evaluate.sweep(CHECKPOINT, 3, 1, tmp_path)
    guidance, steps = found["guidance"], found["steps"]
    assert isinstance(guidance, list)
    assert isinstance(steps, dict)
    assert [scale for scale, _ in guidance] == list(evaluate.GUIDANCE_SCALES)
    assert (guidance[0], guidance[-1]) == ((1.0, 0.0), (15.0, 100.0))
    assert {name: right[-1] for name, right in steps.items()} == {
        "dpmpp_2m": (50.0, 100.0),
        "euler": (50.0, 100.0),
        "euler_a": (50.0, 100.0),
        "ddim": (50.0, 0.0),
    }
    for name, lines in (("accuracy-guidance", 1), ("accuracy-steps", 4)):
        drawn = (tmp_path / f"{name}.svg").read_text(encoding="utf-8")
        ElementTree.fromstring(drawn)
        assert drawn.count("<polyline") == lines


@pytest.mark.usefixtures("knowing")
def test_forecasts_are_measured_against_the_rows_that_they_spend(tmp_path: Path) -> None:
    found = evaluate.forecast_curve(CHECKPOINT, 3, 1, tmp_path, step_counts=(8, 25), schedulers=("euler",))
    rows = found["rows"]
    assert isinstance(rows, list)
    assert [(row["forecast"], row["steps"], row["rows"]) for row in rows] == [
        ("off", 8, 16), ("off", 25, 50), ("third", 8, 12), ("third", 25, 36), ("half", 8, 12), ("half", 25, 28),
        ("two_thirds", 8, 10), ("two_thirds", 25, 22),
    ]  # fmt: skip
    assert {row["right"] for row in rows} == {100.0}
    ElementTree.fromstring((tmp_path / "accuracy-forecast-euler.svg").read_text(encoding="utf-8"))
    json.dumps(found)


def test_curves_of_every_loss_whose_run_is_there(tmp_path: Path) -> None:
    figures = {
        "autoencoder": {"reconstruction": 0.5, "gradient": 0.2, "kl": 0.1, "head": 0.05},
        "unet": {"smooth": 0.06},
        "tiny": {"distillation": 0.1, "truth": 0.02, "psnr": 25.0},
    }
    for run, values in figures.items():
        (tmp_path / run).mkdir()
        lines = [json.dumps({"step": step} | {k: v / step for k, v in values.items()}) for step in (1, 2, 3)]
        (tmp_path / run / "figures.jsonl").write_text("\n".join(lines) + "\n")
    drawn = curves.draw(tmp_path)
    ElementTree.fromstring(drawn)
    assert drawn.count("<polyline") == 4 + 1 + 2 + 1
    assert all(f">{name}</text>" in drawn for name in ("reconstruction", "kl", "distillation", "to the decoder"))
    (tmp_path / "tiny" / "figures.jsonl").unlink()
    assert curves.draw(tmp_path).count("<polyline") == 4 + 1


def test_the_shipped_model_is_far_above_chance() -> None:
    """Chance is 1 in 16 for the background and less than 1 in 36 for the object."""
    known = {row["name"] for row in json.loads((CHECKPOINT / "world.json").read_text(encoding="utf-8"))["objects"]}
    asked = [p for p in draw_rows(60)["single"] if p.objects[0] in known and p.size != "small"][:10]
    pictures = make_pictures(load_checkpoint(CHECKPOINT), [(p.prompt, p.seed) for p in asked], Settings(steps=15))
    verdicts = [judge(picture) for picture in pictures]
    grounds = sum(p.background == v.background for p, v in zip(asked, verdicts, strict=True))
    named = sum(objects_right(p, v) for p, v in zip(asked, verdicts, strict=True))
    # What the judge would name if it had to: the model may be too soft for it and still know its words.
    found = sum(p.objects[0] in {one.name for one in v.objects_seen} for p, v in zip(asked, verdicts, strict=True))
    assert grounds >= 8, (grounds, found, named)
    assert found >= 8, (grounds, found, named)
    assert named >= 7, (grounds, found, named)
    assert all(objects_right(p, v) for p, v in zip(asked, verdicts, strict=True) if is_right(p, v))


def test_the_empty_prompt_of_the_shipped_model_draws_different_things() -> None:
    """Without guidance too: an unconditional part that has decided nothing draws what the judge calls none."""
    asked = [("", seed) for seed in range(10)]
    pictures = make_pictures(load_checkpoint(CHECKPOINT), asked, Settings(steps=15, guidance_scale=1.0))
    named = [name for picture in pictures for name in judge(picture).objects]
    assert len(named) >= 6, named
    assert len(set(named)) >= 4, named
