"""The figures of the runs as one SVG: every term of every loss, and the PSNR of what decodes.

python -m training.curves --out docs/images/training-curves.svg
"""

from __future__ import annotations

import argparse
import json
import math
from pathlib import Path

from training.world_pictures import RUNS

WIDTH, HEIGHT, MARGIN = 360, 220, 44  # of one panel
ACROSS = 3  # panels in a row
COLORS = ("#1f77b4", "#d95f02", "#2a9d4a", "#8856a7")

Points = list[tuple[float, float]]


def read_figure(file: Path, name: str) -> Points:
    """(step, value) of every line of a figures.jsonl that has that figure; nothing where there is no such run."""
    if not file.exists():
        return []
    lines = [json.loads(line) for line in file.read_text().splitlines()]
    return [(line["step"], line[name]) for line in lines if name in line]


def panel(title: str, curves: dict[str, Points], left: int, logarithmic: bool = False) -> str:
    """One diagram: steps to the right, the figure upwards."""
    curves = {name: points for name, points in curves.items() if points}
    every = [point for points in curves.values() for point in points]
    if not every:
        return ""
    scale = (lambda value: math.log10(value)) if logarithmic else (lambda value: value)
    last = max(step for step, _ in every)
    low, high = min(scale(value) for _, value in every), max(scale(value) for _, value in every)

    def place(step: float, value: float) -> str:
        x = left + MARGIN + (WIDTH - MARGIN - 12) * step / last
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (scale(value) - low) / ((high - low) or 1)
        return f"{x:.1f},{y:.1f}"

    parts = [
        f'<text x="{left + WIDTH // 2}" y="22" text-anchor="middle" font-size="13">{title}</text>',
        f'<rect x="{left + MARGIN}" y="{MARGIN}" width="{WIDTH - MARGIN - 12}" height="{HEIGHT - 2 * MARGIN}" '
        'fill="none" stroke="#bbb"/>',
        f'<text x="{left + WIDTH - 12}" y="{HEIGHT - 24}" text-anchor="end">{last:,.0f} steps</text>',
    ]
    for level in (low, high):
        value = 10**level if logarithmic else level
        y = HEIGHT - MARGIN - (HEIGHT - 2 * MARGIN) * (level - low) / ((high - low) or 1)
        parts.append(f'<text x="{left + MARGIN - 4}" y="{y + 4:.0f}" text-anchor="end">{value:.3g}</text>')
    for number, (name, points) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        line = " ".join(place(*point) for point in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="1.3"/>')
        parts.append(f'<text x="{left + 10 + 88 * number}" y="{HEIGHT - 8}" fill="{color}">{name}</text>')
    return "\n".join(parts)


def draw(runs: Path) -> str:
    """The diagrams of all runs that lie in the folder, side by side, as one SVG."""
    autoencoder, unet, tiny = (runs / name / "figures.jsonl" for name in ("autoencoder", "unet", "tiny"))
    terms = ("reconstruction", "gradient", "kl", "head")
    figures = [
        ("autoencoder: each term of its loss", {name: read_figure(autoencoder, name) for name in terms}, True),
        (
            "autoencoder: PSNR on held-out pictures, dB",
            {"decoder": read_figure(autoencoder, "psnr"), "linear head": read_figure(autoencoder, "head_psnr")},
            False,
        ),
        ("U-Net: L_LDM, mean of the last 50 steps", {"loss": read_figure(unet, "smooth")}, True),
        (
            "tiny decoder: each term of its loss",
            {name: read_figure(tiny, name) for name in ("distillation", "truth")},
            True,
        ),
        (
            "tiny decoder: PSNR on held-out pictures, dB",
            {"to the decoder": read_figure(tiny, "psnr"), "to the picture": read_figure(tiny, "truth_psnr")},
            False,
        ),
    ]
    figures_with_points = [(title, curves, scale) for title, curves, scale in figures if any(curves.values())]
    panels = [
        f'<g transform="translate(0 {number // ACROSS * HEIGHT})">'
        + panel(title, curves, number % ACROSS * WIDTH, logarithmic)
        + "</g>"
        for number, (title, curves, logarithmic) in enumerate(figures_with_points)
    ]
    width, height = min(len(figures_with_points), ACROSS) * WIDTH, -(-len(figures_with_points) // ACROSS) * HEIGHT
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" font-family="sans-serif" '
        f'font-size="11" fill="#333"><rect width="100%" height="100%" fill="white"/>\n'
        + "\n".join(panels)
        + "\n</svg>\n"
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=Path, default=RUNS)
    parser.add_argument("--out", type=Path, default=Path("docs/images/training-curves.svg"))
    options = parser.parse_args()
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(draw(options.runs), encoding="utf-8")


if __name__ == "__main__":
    main()
