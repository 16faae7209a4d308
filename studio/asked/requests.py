"""What is asked: the kinds of request, read back from what was written of them. The fields are in `fields`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from studio.asked.fields import SCHEMA_VERSION, ImageToImage, Inpaint, TextToImage
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, Range, quoted_value
from studio.asked.rows import Row

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
        raise InvalidRequest(
            Problem("schema", quoted_value(schema), Message("versions 1 to {last}", last=SCHEMA_VERSION))
        )
    request_class = REQUEST_KINDS.get(kind) if isinstance(kind, str) else None
    if request_class is None:
        raise InvalidRequest(Problem("kind", quoted_value(kind), " or ".join(REQUEST_KINDS)))
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
