"""AUTOMATIC1111's extra-single-image and extra-batch-images: their bodies as orders to enlarge pictures, and their
answers.

What the studio lacks and would change the picture is refused by its field, as in a run's body.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.upscale import LANCZOS, Upscale
from studio.web import base64_pictures

MOST_PICTURES = 16  # of one call, as of a run
NONE = "None"  # the upscaler that leaves a picture as it is
# Abilities that the studio lacks: any value but these would change the picture.
_LACKING: Mapping[str, tuple[object, ...]] = {
    "gfpgan_visibility": (0,),
    "codeformer_visibility": (0,),
}
# They say nothing of the picture: they belong to what is refused, or to AUTOMATIC1111's own page.
_WITHOUT_EFFECT = frozenset({"codeformer_weight", "upscale_first", "show_extras_results"})
_READ = frozenset(
    {
        "image", "resize_mode", "upscaling_resize", "upscaling_resize_w", "upscaling_resize_h", "upscaling_crop",
        "upscaler_1", "upscaler_2", "extras_upscaler_2_visibility",
    }
)  # fmt: skip
_THEIR_NAMES = {
    "factor": "upscaling_resize",
    "width": "upscaling_resize_w",
    "height": "upscaling_resize_h",
    "upscaler": "upscaler_1",
    "crop": "upscaling_crop",
}


def read(body: object) -> Upscale:
    """The order that a body is. Its picture is not decoded. Raises InvalidRequest with every problem."""
    if not isinstance(body, dict):
        raise InvalidRequest(Problem("body", quoted_value(body), "a JSON object with an image"))
    values = {name: value for name, value in body.items() if value is not None}
    known = (*_READ, *_LACKING, *_WITHOUT_EFFECT)
    problems = [
        Problem(name, quoted_value(values[name]), f"the fields {', '.join(known)}")
        for name in values
        if name not in known
    ]
    problems += [
        Problem(name, quoted_value(values[name]), " or ".join(map(str, allowed)))
        for name, allowed in _LACKING.items()
        if name in values and not _is_one_of(values[name], allowed)
    ]
    second = values.get("upscaler_2", NONE)
    if second not in (NONE, "") and not _is_one_of(values.get("extras_upscaler_2_visibility", 0), (0,)):
        problems.append(Problem("upscaler_2", quoted_value(second), f"{NONE}: one upscaler is used"))
    mode = values.get("resize_mode", 0)
    if not _is_one_of(mode, (0, 1)):
        problems.append(Problem("resize_mode", quoted_value(mode), "0 (by upscaling_resize) or 1 (to a size)"))
    crop = values.get("upscaling_crop", True)
    if problems:
        raise InvalidRequest(*problems)
    image = base64_pictures.read("image", values.get("image"))
    upscaler = values.get("upscaler_1", NONE)
    if upscaler in (NONE, ""):
        return Upscale(image=image, upscaler=LANCZOS, factor=1)
    if mode == 0:
        order = Upscale(image=image, upscaler=upscaler, factor=values.get("upscaling_resize", 2))
    else:
        order = Upscale(
            image=image,
            upscaler=upscaler,
            width=values.get("upscaling_resize_w", 512),
            height=values.get("upscaling_resize_h", 512),
            crop=crop,
        )
    if wrong := order.problems():
        raise InvalidRequest(*map(_theirs, wrong))
    return order


def read_all(body: object) -> list[Upscale]:
    """The orders that a body with several pictures is: `imageList`, of `data` and `name`. Raises InvalidRequest."""
    if not isinstance(body, dict):
        raise InvalidRequest(Problem("body", quoted_value(body), "a JSON object with an imageList"))
    pictures = body.get("imageList")
    alike = {name: value for name, value in body.items() if name != "imageList"}
    good = isinstance(pictures, list) and all(isinstance(one, dict) and "data" in one for one in pictures)
    if not good or not isinstance(pictures, list) or not 0 < len(pictures) <= MOST_PICTURES:
        allowed = f"a list of 1 to {MOST_PICTURES} objects with the fields data (base64) and name"
        raise InvalidRequest(Problem("imageList", quoted_value(pictures), allowed))
    return [read({**alike, "image": one["data"]}) for one in pictures]


def refusal(error: InvalidRequest) -> InvalidRequest:
    """What an engine says of an order, by the names of the body's fields."""
    return InvalidRequest(*map(_theirs, error.problems))


def answer(file: bytes) -> dict[str, Any]:
    """The answer's form; there is no page of AUTOMATIC1111's here that its HTML would stand on."""
    return {"html_info": "", "image": base64_pictures.encode(file)}


def answer_all(files: Sequence[bytes]) -> dict[str, Any]:
    """The form for several pictures, in their order."""
    return {"html_info": "", "images": [base64_pictures.encode(file) for file in files]}


def _theirs(problem: Problem) -> Problem:
    return Problem(_THEIR_NAMES.get(problem.field, problem.field), problem.value, problem.allowed)


def _is_one_of(value: object, allowed: tuple[object, ...]) -> bool:
    return not isinstance(value, bool) and value in allowed
