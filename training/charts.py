"""Line charts as SVG, for docs: a few curves over one axis, values in percent."""

from __future__ import annotations

import html
from pathlib import Path

WIDTH, HEIGHT, LEFT, BOTTOM, TOP = 520, 300, 44, 56, 34
COLORS = ("#1f77b4", "#d95f02", "#2a9d4a", "#8856a7")


def line_chart(path: Path, title: str, curves: dict[str, list[tuple[float, float]]]) -> None:
    """Writes curves of (place, percentage). Places are evenly spaced and labelled with their values: 1, 2, 4, 8, ..."""
    places = sorted({place for points in curves.values() for place, _ in points})
    across = (WIDTH - LEFT - 16) / max(1, len(places) - 1)

    def at(place: float, value: float) -> tuple[float, float]:
        return LEFT + places.index(place) * across, HEIGHT - BOTTOM - (HEIGHT - BOTTOM - TOP) * value / 100

    parts = [f'<text x="{WIDTH / 2}" y="20" text-anchor="middle" font-size="14">{html.escape(title)}</text>']
    for level in range(0, 101, 25):
        y = at(places[0], level)[1]
        parts.append(f'<line x1="{LEFT}" x2="{WIDTH - 16}" y1="{y:.1f}" y2="{y:.1f}" stroke="#ddd"/>')
        parts.append(f'<text x="{LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{level}</text>')
    for place in places:
        x = at(place, 0)[0]
        parts.append(f'<text x="{x:.1f}" y="{HEIGHT - BOTTOM + 16}" text-anchor="middle">{place:g}</text>')
    for number, (name, points) in enumerate(curves.items()):
        color = COLORS[number % len(COLORS)]
        line = " ".join("{:.1f},{:.1f}".format(*at(*point)) for point in points)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{color}" stroke-width="2"/>')
        parts += ['<circle cx="{:.1f}" cy="{:.1f}" r="2.5" fill="{}"/>'.format(*at(*point), color) for point in points]
        x = LEFT + number * (WIDTH - LEFT) / max(1, len(curves))
        parts.append(f'<text x="{x:.0f}" y="{HEIGHT - 14}" fill="{color}">{html.escape(name)}</text>')
    path.parent.mkdir(parents=True, exist_ok=True)
    head = f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" '
    head += 'font-size="12" fill="#333"><rect width="100%" height="100%" fill="white"/>'
    path.write_text("\n".join([head, *parts, "</svg>"]) + "\n", encoding="utf-8")
