"""A comparison around one picture: its own steps and guidance in the middle of steps and guidance. No gradio."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.asked.compare import Comparison
from studio.asked.fields import TextToImage
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, Range, quoted_value


def comparison_around(settings: Mapping[str, object]) -> tuple[Comparison, int]:
    """The comparison of steps and guidance around a picture, and the cell that is the picture itself.

    `settings`: a picture's settings as the page has them (`render.settings_of`). Raises InvalidRequest where they are
    none of a text to image picture.
    """
    if settings.get("kind", "text_to_image") != "text_to_image":
        raise InvalidRequest(
            Problem("kind", quoted_value(settings.get("kind")), Message("a picture made from words alone"))
        )
    picture = TextToImage.parse({name: settings[name] for name in TextToImage.rows() if name in settings})
    columns, column = _steps(picture.num_inference_steps or 25)
    rows, row = _guidance(picture.guidance_scale if picture.guidance_scale is not None else 5.0)
    values = {name: value for name, value in picture.to_dict().items() if name in TextToImage.rows()}
    axes = {"x": "num_inference_steps", "x_values": columns, "y": "guidance_scale", "y_values": rows}
    return Comparison.parse(values | {"num_images_per_prompt": 1, "controls": ()} | axes), row * len(columns) + column


def _steps(own: int) -> tuple[list[float], int]:
    """A quarter, half, all and twice of a picture's steps, as far as that is allowed; and the place of its own."""
    return _around(own, [max(1, round(own / 4)), max(1, round(own / 2)), 2 * own], "num_inference_steps")


def _guidance(own: float) -> tuple[list[float], int]:
    """None (1), half the guidance's distance from it, the picture's own, and twice the distance; and the place of its
    own."""
    others = [1.0, round((1 + own) / 2, 1), 2 * own - 1] if own > 1 else [1.0, 2.0, 4.0]
    return _around(own, others, "guidance_scale")


def _around(own: float, others: Sequence[float], field: str) -> tuple[list[float], int]:
    allowed = TextToImage.rows()[field].allowed
    assert isinstance(allowed, Range)
    values = sorted({own, *(round(min(max(one, allowed.low), allowed.high), 4) for one in others)})
    return values, values.index(own)
