"""How good a checkpoint is: every row of the table in docs/built-in-model.md, measured, as JSON on the last line.

    python -m training.evaluate --checkpoint models/small-world-128            # 500 prompts a row: about an hour
    python -m training.evaluate --per-row 50                                   # the first 50 of each: some minutes
    python -m training.evaluate --sweeps                                       # guidance and steps instead, as SVG
    python -m training.evaluate --few-steps                                    # the fast LoRA beside the model alone
    python -m training.evaluate --forecast --per-row 100                       # right pictures against rows, as SVG
    python -m training.evaluate --contact-sheet                                # the 64 prompts of prompts.txt

The prompts are those of `evaluation_prompts`, the verdicts are `judge`'s, the pictures are the studio's own lanes'.
`--sheets` writes the first 50 pictures of each row with their verdicts.
"""

from __future__ import annotations

import argparse
import itertools
import json
import multiprocessing
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import get_args

import numpy as np
import torch
from PIL import Image

from studio.asked.forecast import FORECASTS, ForecastName
from studio.asked.schedulers import SCHEDULERS, SchedulerName
from training.charts import line_chart
from training.encode_latents import load_vae
from training.evaluation_prompts import PER_ROW, Prompt, draw_rows
from training.judge import Verdict, judge
from training.pictures import Settings, load_checkpoint, make_pictures, rows_per_picture
from training.sheets import Cell, save_sheet
from training.train_autoencoder import psnr
from training.world import BACKGROUNDS, draw_scene
from training.world_pictures import HELD_OUT_SEED, picture_batch

BATCH = 16  # pictures that share a U-Net call
DIVERSITY = 100  # seeds of the empty prompt
CONTACT_SEED = 1
PROMPTS = Path(__file__).parent / "prompts.txt"
SHEET_CELLS = 50  # of each row on its sheet
GUIDANCE_SCALES = (1.0, 2.0, 3.0, 5.0, 7.5, 10.0, 15.0)
STEP_COUNTS = (1, 2, 4, 8, 15, 25, 50)
FEW_STEPS = (1, 2, 3, 4, 6, 8)
FORECAST_STEPS = (8, 12, 18, 25, 40)
FORECAST_SCHEDULERS: tuple[SchedulerName, ...] = ("dpmpp_2m", "euler")
SWEPT_SCHEDULERS = ("dpmpp_2m", "euler", "euler_a", "ddim")


@dataclass(frozen=True)
class JudgedPicture:
    """A picture and what the judge says of it."""

    picture: Image.Image
    verdict: Verdict


# ------------------------------------------------------------------------------------------------ making and judging


class Studio:
    """Makes and judges pictures in `workers` single-threaded processes, each with the checkpoint in its memory."""

    def __init__(self, checkpoint: Path, workers: int) -> None:
        self._pool = ProcessPoolExecutor(
            workers, multiprocessing.get_context("spawn"), initializer=_enter, initargs=(checkpoint,)
        )

    def judge_pictures(self, prompts: Sequence[tuple[str, int]], settings: Settings) -> list[JudgedPicture]:
        """One picture for each (prompt, seed), judged, in their order."""
        parts = [list(prompts[start : start + BATCH]) for start in range(0, len(prompts), BATCH)]
        answers = self._pool.map(_work, parts, [settings] * len(parts))
        return [JudgedPicture(Image.fromarray(pixels), verdict) for part in answers for pixels, verdict in part]

    def close(self) -> None:
        self._pool.shutdown(cancel_futures=True)


_components = None  # of a worker process


def _enter(checkpoint: Path) -> None:
    global _components
    torch.set_num_threads(1)
    _components = load_checkpoint(checkpoint)


def _work(prompts: list[tuple[str, int]], settings: Settings) -> list[tuple[np.ndarray, Verdict]]:
    assert _components is not None
    pictures = make_pictures(_components, prompts, settings)
    return [(np.asarray(picture), judge(picture)) for picture in pictures]


# ------------------------------------------------------------------------------------------------ the table


def is_right(prompt: Prompt, verdict: Verdict) -> bool:
    """Whether the picture shows what was asked: all objects, and the background."""
    return objects_right(prompt, verdict) and prompt.background == verdict.background


def objects_right(prompt: Prompt, verdict: Verdict) -> bool:
    return sorted(verdict.objects) == sorted(prompt.objects)


def share(rights: Iterable[bool]) -> float | None:
    """Percentage of rights, one decimal; None of nothing."""
    values = list(rights)
    return round(100 * sum(values) / len(values), 1) if values else None


def table(prompts: dict[str, list[Prompt]], verdicts: dict[str, list[Verdict]]) -> dict[str, dict[str, object]]:
    """Row -> figure, its bar, whether it is reached, and of how many prompts. Percentages."""
    together = {row: list(zip(prompts[row], verdicts[row], strict=True)) for row in prompts}
    single, pairs, unseen = together["single"], together["pairs"], together["never seen"]
    both = [(p, v) for p, v in pairs if objects_right(p, v)]
    plain = share(is_right(p, v) for p, v in single) or 0.0
    other = share(is_right(p, v) for p, v in together["paraphrase"]) or 0.0
    unknown = share(is_right(p, v) for p, v in together["unknown word"]) or 0.0
    seen_score = _mean(plain, share(is_right(p, v) for p, v in pairs))
    unseen_score = _mean(*(share(is_right(p, v) for p, v in unseen if len(p.objects) == count) for count in (1, 2)))
    sized, placed = [(p, v) for p, v in single if p.size], [(p, v) for p, v in single if p.place]
    rows: dict[str, dict[str, object]] = {
        "background": _row(share(p.background == v.background for p, v in single), 97, len(single)),
        "single object": _row(share(objects_right(p, v) for p, v in single), 93, len(single)),
        "two objects": _row(share(objects_right(p, v) for p, v in pairs), 80, len(pairs)),
        "relation, given both objects": _row(
            share(v.holds(p.relation or "and", *p.objects) for p, v in both if p.relation != "and"),
            85,
            sum(p.relation != "and" for p, _ in both),
        ),
        "style": _row(share(p.style in v.styles for p, v in together["style"]), 95, len(prompts["style"])),
        "paraphrase, of the plain prompt's score": _row(
            round(100 * other / plain, 1) if plain else None, 90, len(prompts["paraphrase"]), score=other, plain=plain
        ),
        "unknown word, points lost": _row(
            round(plain - unknown, 1), 3, len(prompts["unknown word"]), at_most=True, score=unknown, plain=plain
        ),
        "never seen, points lost": _row(
            round(seen_score - unseen_score, 1), 5, len(unseen), at_most=True, score=unseen_score, seen=seen_score
        ),
        # Not in the table: what the words for sizes and places are worth, given the object.
        # And what the judge would say if "none" were not allowed: whether the model knows its words, however softly or
        # crookedly it draws them.
        "single object, without the right to say none": _named_at_all(single),
        "two objects, without the right to say none": _named_at_all(pairs),
        "size, given the object": _right_objects_share(sized, "size"),
        "place, given the object": _right_objects_share(placed, "place"),
    }
    # What is asked for in a small size or at a side is drawn worst, and the whole figure does not say so.
    kinds = [p.size or p.place or "neither size nor place" for p, _ in single]
    rows["single object"]["by what is asked"] = {
        kind: share(objects_right(p, v) for (p, v), of in zip(single, kinds, strict=True) if of == kind)
        for kind in dict.fromkeys(kinds)
    }
    for style in dict.fromkeys(p.style for p, _ in together["style"]):
        rows["style"][style] = share(style in v.styles for p, v in together["style"] if p.style == style)
    return rows


def _mean(*values: float | None) -> float:
    numbers = [value for value in values if value is not None]
    return round(sum(numbers) / len(numbers), 1) if numbers else 0.0


def _row(figure: float | None, bar: float, count: int, *, at_most: bool = False, **more: object) -> dict[str, object]:
    is_reached = figure is not None and (figure <= bar if at_most else figure >= bar)
    return {"figure": figure, "bar": bar, "at_most": at_most, "reached": is_reached, "prompts": count, **more}


def _right_objects_share(rows: list[tuple[Prompt, Verdict]], field: str) -> dict[str, object]:
    pairs = [(p, v) for p, v in rows if objects_right(p, v)]
    return {"figure": share(getattr(p, field) == getattr(v, field) for p, v in pairs), "prompts": len(pairs)}


def _named_at_all(rows: list[tuple[Prompt, Verdict]]) -> dict[str, object]:
    right = (sorted(one.name for one in v.objects_seen) == sorted(p.objects) for p, v in rows)
    return {"figure": share(right), "prompts": len(rows)}


def diversity(pictures: Sequence[JudgedPicture]) -> dict[str, object]:
    """The empty prompt without guidance: how many different objects, how often none, and how near the nearest two."""
    names = [name for one in pictures for name in one.verdict.objects[:1]]
    pixels = np.stack([np.asarray(one.picture, dtype=np.float32).ravel() for one in pictures])
    squares = (pixels**2).sum(axis=1)
    apart = (squares[:, None] + squares[None] - 2 * pixels @ pixels.T) / pixels.shape[1]
    apart[np.diag_indices(len(apart))] = np.inf
    none = share(not one.verdict.objects for one in pictures)
    nearest = round(float(np.sqrt(max(0.0, float(apart.min())))), 2)
    is_reached = len(set(names)) >= 40 and none is not None and none <= 15 and nearest >= 4
    return {
        "figure": len(set(names)),
        "bar": 40,
        "at_most": False,
        "reached": is_reached,
        "prompts": len(pictures),
        "none": none,
        "nearest two, RMSE of 255": nearest,
    }


@torch.inference_mode()
def round_trip(checkpoint: Path, count: int = 128) -> dict[str, object]:
    """PSNR on held-out renders, and how flat backgrounds shift in colour and ripple (8-bit values)."""
    vae = load_vae(checkpoint)
    pixels = picture_batch(HELD_OUT_SEED, range(count))
    decoded = torch.cat([vae.decode(vae.encode(part).latent_dist.mean).sample for part in pixels.split(8)]).clamp(-1, 1)
    shifts, ripples = [], []
    for index in range(count):
        scene = draw_scene(HELD_OUT_SEED, index)
        if scene.background not in BACKGROUNDS or scene.style != "plain":
            continue
        free = np.ones(pixels.shape[2:], dtype=bool)
        for placed in scene.objects:
            margin = 8  # the outline of an object is not flat
            box = np.s_[
                max(0, placed.top - margin) : placed.top + placed.side + margin,
                max(0, placed.left - margin) : placed.left + placed.side + margin,
            ]
            free[box] = False
        if free.sum() < 500:
            continue
        flat = (decoded[index] - pixels[index])[:, torch.from_numpy(free)] * 127.5  # (3, free pixels)
        shifts.append(float(flat.mean(dim=1).abs().max()))
        ripples.append(float(flat.std(dim=1).max()))
    figure = round(psnr(decoded, pixels), 2)
    return {
        "figure": figure,
        "bar": 27,
        "at_most": False,
        "reached": figure >= 27,
        "prompts": count,
        "colour shift of flat areas, mean": round(float(np.mean(shifts)), 2),
        "colour shift of flat areas, largest": round(float(np.max(shifts)), 2),
        "ripple of flat areas, mean": round(float(np.mean(ripples)), 2),
    }


def evaluate(
    checkpoint: Path, per_row: int, workers: int, sheets: Path | None, settings: Settings
) -> dict[str, object]:
    """The whole table. With `sheets`: a folder for the first 50 pictures of each row."""
    prompts_by_row = draw_rows(per_row)
    studio = Studio(checkpoint, workers)
    try:
        pictures = {}
        for row, prompts in prompts_by_row.items():
            pictures[row] = studio.judge_pictures([(prompt.prompt, prompt.seed) for prompt in prompts], settings)
            print(f"{row}: {len(prompts)} pictures", flush=True)
        free = Settings(steps=settings.steps, guidance_scale=1.0, scheduler=settings.scheduler)
        empty = studio.judge_pictures([("", seed) for seed in range(min(DIVERSITY, 2 * per_row))], free)
    finally:
        studio.close()
    rows = {"autoencoder, PSNR in dB": round_trip(checkpoint)}
    rows |= table(prompts_by_row, {row: [one.verdict for one in pictures[row]] for row in pictures})
    rows["different objects of the empty prompt"] = diversity(empty)
    if sheets is not None:
        for row in prompts_by_row:
            pairs = list(zip(prompts_by_row[row], pictures[row], strict=True))[:SHEET_CELLS]
            save_sheet(sheets / f"{row.replace(' ', '-')}.jpg", [_cell(prompt, one) for prompt, one in pairs])
        save_sheet(
            sheets / "empty-prompt.jpg", [Cell(one.picture, "", sentence(one.verdict)) for one in empty[:SHEET_CELLS]]
        )
    return {"checkpoint": str(checkpoint), "per_row": per_row, "settings": asdict(settings), "rows": rows}


def _cell(prompt: Prompt, one: JudgedPicture) -> Cell:
    verdict = one.verdict
    right = objects_right(prompt, verdict) and prompt.style in verdict.styles
    # Without colours the background's cannot be told.
    right = right and (prompt.style in ("black and white", "pencil sketch") or prompt.background == verdict.background)
    if prompt.relation and right:
        right = verdict.holds(prompt.relation, *prompt.objects)
    return Cell(one.picture, prompt.prompt, sentence(verdict), right)


def sentence(verdict: Verdict) -> str:
    """A verdict in words, as the sheets show it."""
    what = f" {verdict.relation} ".join(verdict.objects) if verdict.relation else "".join(verdict.objects)
    parts = [what or "none", verdict.background or "no background"]
    parts += [verdict.styles[0]] if verdict.styles[0] != "plain" else []
    return ", ".join(parts)


# ------------------------------------------------------------------------------------------------ sweeps, sheet


def sweep(checkpoint: Path, count: int, workers: int, out: Path) -> dict[str, object]:
    """Share of right pictures against guidance scale, and against steps for four schedulers; two SVGs."""
    prompts = draw_rows(count)["single"]
    pairs = [(prompt.prompt, prompt.seed) for prompt in prompts]
    studio = Studio(checkpoint, workers)

    def accuracy(settings: Settings) -> float:
        pictures = studio.judge_pictures(pairs, settings)
        figure = share(is_right(p, one.verdict) for p, one in zip(prompts, pictures, strict=True)) or 0.0
        print(json.dumps({**asdict(settings), "right": figure}), flush=True)
        return figure

    try:
        guidance = [(scale, accuracy(Settings(guidance_scale=scale))) for scale in GUIDANCE_SCALES]
        steps = {
            name: [(float(count), accuracy(Settings(steps=count, scheduler=name))) for count in STEP_COUNTS]
            for name in SWEPT_SCHEDULERS
        }
    finally:
        studio.close()
    line_chart(out / "accuracy-guidance.svg", "right, % against guidance scale", {"DPM++ 2M, 25 steps": guidance})
    at = f"guidance {Settings.guidance_scale:g}"
    line_chart(out / "accuracy-steps.svg", f"right, % against number of steps, {at}", steps)
    return {"prompts": count, "guidance": guidance, "steps": steps}


def few_steps(checkpoint: Path, count: int, workers: int) -> dict[str, object]:
    """Single objects and backgrounds right, in percent, in 1 to 8 steps: by the LoRA that came with the checkpoint,
    without guidance, and by the checkpoint alone, with it. Raises FileNotFoundError where there is no such LoRA."""
    file = next(iter(sorted((checkpoint / "lora").glob("*.safetensors"))), None)
    if file is None:
        raise FileNotFoundError(f"{checkpoint / 'lora'}: there is no LoRA")
    prompts = draw_rows(count)["single"]
    studio = Studio(checkpoint, workers)
    rows: list[dict[str, object]] = []
    try:
        for name in ("fast", "alone"):
            for steps in FEW_STEPS:
                settings = Settings(steps=steps)
                if name == "fast":
                    settings = Settings(steps=steps, guidance_scale=1.0, scheduler="lcm", lora=file)
                pictures = studio.judge_pictures([(prompt.prompt, prompt.seed) for prompt in prompts], settings)
                pairs = [(prompt, one.verdict) for prompt, one in zip(prompts, pictures, strict=True)]
                single = share(objects_right(p, v) for p, v in pairs)
                row = {"by": name, "steps": steps, "single object": single}
                rows.append(row | {"background": share(p.background == v.background for p, v in pairs)})
                print(json.dumps(rows[-1]), flush=True)
    finally:
        studio.close()
    return {"prompts": count, "rows": rows}


def forecast_curve(
    checkpoint: Path,
    count: int,
    workers: int,
    out: Path,
    step_counts: Sequence[int] = FORECAST_STEPS,
    schedulers: Sequence[SchedulerName] = FORECAST_SCHEDULERS,
) -> dict[str, object]:
    """Single objects and whole pictures right, in percent, against the rows of the U-Net that a picture costs: for each
    share of forecast evaluations and each number of steps; one SVG per scheduler. The lines of "off" say what fewer
    steps cost for the same rows."""
    prompts = draw_rows(count)["single"]
    components = load_checkpoint(checkpoint)
    studio = Studio(checkpoint, workers)
    rows: list[dict[str, object]] = []
    lines: dict[str, dict[str, list[tuple[float, float]]]] = {name: {} for name in schedulers}
    names: Sequence[ForecastName] = get_args(ForecastName)
    try:
        for scheduler, forecast, steps in itertools.product(schedulers, names, step_counts):
            settings = Settings(steps=steps, scheduler=scheduler, forecast=forecast)
            spent = rows_per_picture(components, settings)
            pictures = studio.judge_pictures([(prompt.prompt, prompt.seed) for prompt in prompts], settings)
            pairs = [(prompt, one.verdict) for prompt, one in zip(prompts, pictures, strict=True)]
            right = share(is_right(p, v) for p, v in pairs)
            row: dict[str, object] = {"scheduler": scheduler, "forecast": forecast, "steps": steps, "rows": spent}
            row |= {"right": right, "single object": share(objects_right(p, v) for p, v in pairs)}
            rows.append(row)
            lines[scheduler].setdefault(FORECASTS[forecast], []).append((float(spent), right or 0.0))
            print(json.dumps(row), flush=True)
    finally:
        studio.close()
    for scheduler, curves in lines.items():
        label = SCHEDULERS[scheduler].label
        line_chart(out / f"accuracy-forecast-{scheduler}.svg", f"right, % against rows of the U-Net, {label}", curves)
    return {"prompts": count, "rows": rows}


def contact_sheet(checkpoint: Path, workers: int, out: Path, settings: Settings) -> None:
    """All prompts of prompts.txt with seed 1, failures included."""
    prompts = [line for line in PROMPTS.read_text(encoding="utf-8").splitlines() if line]
    studio = Studio(checkpoint, workers)
    try:
        pictures = studio.judge_pictures([(prompt, CONTACT_SEED) for prompt in prompts], settings)
    finally:
        studio.close()
    cells = [Cell(one.picture, prompt, sentence(one.verdict)) for prompt, one in zip(prompts, pictures, strict=True)]
    save_sheet(out, cells, columns=8)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--per-row", type=int, default=PER_ROW, help="prompts per row, or per point of a sweep")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--steps", type=int, default=25)
    parser.add_argument("--guidance-scale", type=float, default=Settings.guidance_scale)
    parser.add_argument("--sheets", type=Path, help="folder for the first 50 pictures of each row")
    parser.add_argument(
        "--sweeps", action="store_true", help="accuracy against guidance and steps instead of the table"
    )
    parser.add_argument("--few-steps", action="store_true", help="the fast LoRA in 1 to 8 steps instead of the table")
    parser.add_argument("--forecast", action="store_true", help="accuracy against rows with forecasts instead of it")
    parser.add_argument("--contact-sheet", action="store_true", help="the 64 prompts instead of the table")
    parser.add_argument("--out", type=Path, default=Path("docs/images"), help="folder of plots and contact sheet")
    options = parser.parse_args()
    settings = Settings(steps=options.steps, guidance_scale=options.guidance_scale)
    if options.sweeps:
        result = sweep(options.checkpoint, options.per_row, options.workers, options.out)
    elif options.few_steps:
        result = few_steps(options.checkpoint, options.per_row, options.workers)
    elif options.forecast:
        result = forecast_curve(options.checkpoint, options.per_row, options.workers, options.out)
    elif options.contact_sheet:
        contact_sheet(options.checkpoint, options.workers, options.out / "contact-sheet.jpg", settings)
        result = {"sheet": str(options.out / "contact-sheet.jpg")}
    else:
        result = evaluate(options.checkpoint, options.per_row, options.workers, options.sheets, settings)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
