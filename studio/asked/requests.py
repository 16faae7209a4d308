"""What is asked: the kinds of request, read back from what was written of them. The fields are in `fields`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.asked.control import CONTROL_RANGES as CONTROL_RANGES
from studio.asked.control import MAX_CONTROLS as MAX_CONTROLS
from studio.asked.control import PREPROCESSORS as PREPROCESSORS
from studio.asked.control import Control as Control
from studio.asked.control import PreprocessorName as PreprocessorName
from studio.asked.fields import HIRES_UPSCALERS as HIRES_UPSCALERS
from studio.asked.fields import INPAINT_AREAS as INPAINT_AREAS
from studio.asked.fields import MASK_FILLS as MASK_FILLS
from studio.asked.fields import PREVIEWS as PREVIEWS
from studio.asked.fields import RESIZE_MODES as RESIZE_MODES
from studio.asked.fields import SCHEMA_VERSION as SCHEMA_VERSION
from studio.asked.fields import HiresUpscalerName as HiresUpscalerName
from studio.asked.fields import ImageToImage as ImageToImage
from studio.asked.fields import Inpaint as Inpaint
from studio.asked.fields import InpaintAreaName as InpaintAreaName
from studio.asked.fields import MaskFillName as MaskFillName
from studio.asked.fields import PreviewName as PreviewName
from studio.asked.fields import ResizeModeName as ResizeModeName
from studio.asked.fields import TextToImage as TextToImage
from studio.asked.problems import MAX_IMAGE_BYTES as MAX_IMAGE_BYTES
from studio.asked.problems import InvalidRequest as InvalidRequest
from studio.asked.problems import Problem as Problem
from studio.asked.problems import Range as Range
from studio.asked.problems import clean_text as clean_text
from studio.asked.problems import one_of as one_of
from studio.asked.problems import short_name as short_name
from studio.asked.problems import shown as shown
from studio.asked.rows import MAX_PROMPT_CHARACTERS as MAX_PROMPT_CHARACTERS
from studio.asked.rows import MAX_SEED as MAX_SEED
from studio.asked.rows import Row
from studio.asked.rows import parse_seed as parse_seed
from studio.asked.schedulers import NOISE_SCHEDULES as NOISE_SCHEDULES
from studio.asked.schedulers import SCHEDULERS as SCHEDULERS
from studio.asked.schedulers import NoiseScheduleName as NoiseScheduleName
from studio.asked.schedulers import SchedulerFacts as SchedulerFacts
from studio.asked.schedulers import SchedulerName as SchedulerName
from studio.asked.schedulers import evaluations as evaluations
from studio.asked.schedulers import resolve_noise_schedule as resolve_noise_schedule
from studio.asked.schedulers import steps_run as steps_run

RANDOM_SEEDS = 2**32  # as many as other studios draw from, so that a drawn seed can be typed anywhere

Request = TextToImage | ImageToImage | Inpaint
Kind = type[TextToImage] | type[ImageToImage] | type[Inpaint]
REQUEST_KINDS: Mapping[str, Kind] = {kind.kind: kind for kind in (TextToImage, ImageToImage, Inpaint)}
# The rows of all kinds; where two kinds differ (in a default alone), those of the first one.
ROWS: Mapping[str, Row] = {**Inpaint.rows(), **ImageToImage.rows(), **TextToImage.rows()}
RANGES: Mapping[str, Range] = {name: row.allowed for name, row in ROWS.items() if row.allowed is not None}
CHOICES: Mapping[str, Mapping[str, str]] = {name: row.choices for name, row in ROWS.items() if row.choices}


def request_from_dict(
    values: Mapping[str, object],
    *,
    image: bytes | None = None,
    mask: bytes | None = None,
    control_images: Sequence[bytes] = (),
) -> Request:
    """Read `to_dict` back, also what an earlier version has written. A request that starts from a picture needs its
    bytes again, and those of its mask; one with controls those of their pictures, in order.

    Raises InvalidRequest for an unknown schema or kind and for every bad field.
    """
    rest = dict(values)
    schema, kind = rest.pop("schema", None), rest.pop("kind", None)
    if type(schema) is not int or not 1 <= schema <= SCHEMA_VERSION:
        raise InvalidRequest(Problem("schema", shown(schema), f"versions 1 to {SCHEMA_VERSION}"))
    request_class = REQUEST_KINDS.get(kind) if isinstance(kind, str) else None
    if request_class is None:
        raise InvalidRequest(Problem("kind", shown(kind), " or ".join(REQUEST_KINDS)))
    for name, data in {"image": image, "mask": mask or b""}.items():
        if name in request_class.files():
            rest.pop(f"{name}_sha256", None)
            rest[name] = data
    controls = rest.get("controls")
    if isinstance(controls, list):
        rest["controls"] = [_with_image(one, control_images, number) for number, one in enumerate(controls)]
    return request_class.parse(rest)


def _with_image(control: object, images: Sequence[bytes], number: int) -> object:
    """What `Control.to_dict` gave, with its picture in the place of the hash."""
    if not isinstance(control, Mapping):
        return control
    values = {name: value for name, value in control.items() if name != "image_sha256"}
    return values | {"image": images[number] if number < len(images) else b""}
