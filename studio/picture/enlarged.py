"""An enlarged picture as a file: brought to its size, cut, and with what its original says of how it was made; and
saved, as one more picture of its owner."""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.answered.events import Picture
from studio.asked.upscale import Size
from studio.picture import chunks, framing
from studio.picture.file_formats import A1111_CHUNK, OWN_CHUNK
from studio.picture.gallery import Gallery
from studio.picture.infotext import MAX_TEXT_BYTES, parse_parameters
from studio.picture.metadata import MADE_ELSEWHERE, info_of_texts, texts_of

# What our own record says of it, a list with one entry a time that it was enlarged: `upscaler`, `factor`, and the
# `size` in pixels that it has since. All else in the record is of the making, also its `width` and `height`.
POSTPROCESS = "postprocess"


def to_size(picture: Image.Image, whole: Size, shown: Size) -> Image.Image:
    """The picture at size `whole` by Lanczos, and of that the middle of size `shown`."""
    if picture.size != whole:
        picture = picture.resize(whole, Image.Resampling.LANCZOS)
    return framing.frame(picture, shown, "crop")


def png(picture: Image.Image, original: bytes, factor: float, upscaler: str) -> bytes:
    """The picture's file. It keeps the settings of its original's, and says in AUTOMATIC1111's words by what it was
    enlarged: so the original's size in them stays true."""
    texts = texts_of(original)
    how = f"Postprocess upscale by: {factor:g}, Postprocess upscaler: {_quoted(upscaler)}"
    info = PngInfo()
    parameters = texts.get(A1111_CHUNK, "")
    info.add_text(A1111_CHUNK, f"{parameters}, {how}" if parameters else how)
    record = _record(texts)
    step = {"upscaler": upscaler, "factor": factor, "size": list(picture.size)}
    info.add_text(OWN_CHUNK, json.dumps(record | {POSTPROCESS: [*_steps(record), step]}))
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=info, compress_level=4)
    return file.getvalue()


def save(content: bytes, gallery: Gallery, owner: str) -> Picture:
    """Save a file of `png` among the owner's pictures, in the format that this studio saves. Raises SaveFailed."""
    texts = chunks.texts(content, limit=MAX_TEXT_BYTES)
    with Image.open(io.BytesIO(content), formats=("PNG",)) as image:
        image.load()
        return gallery.save(
            image, info=json.loads(texts[OWN_CHUNK]), parameters=texts.get(A1111_CHUNK, ""), owner=owner
        )


def upscalers_of(info: Mapping[str, object]) -> list[tuple[str, float]]:
    """By what a picture was enlarged after its making and how many times, in this order."""
    return [
        (str(one.get("upscaler", "")), float(factor))
        for one in _steps(info)
        if isinstance(factor := one.get("factor"), (int, float))
    ]


def _record(texts: Mapping[str, str]) -> dict[str, object]:
    """The record of the making. Of a picture that another program has made: its seed and prompt, and that it was."""
    info = info_of_texts(texts)
    if info is not None and _is_ours(info):
        return info
    prompt, _, pairs = parse_parameters(texts.get(A1111_CHUNK, ""))
    seed = pairs.get("Seed", "")
    record: dict[str, object] = {
        MADE_ELSEWHERE: True,
        "seed": int(seed) if re.fullmatch(r"[0-9]{1,20}", seed) else 0,
        "prompt": prompt if "Steps" in pairs else "",
    }
    earlier = info_of_texts(texts, of_making=False) or {}
    return record | ({POSTPROCESS: _steps(earlier)} if upscalers_of(earlier) else {})


def _is_ours(info: Mapping[str, object]) -> bool:
    """Whether it is a record that a saved picture may have: with a seed, and without NaN."""
    seed = info.get("seed")
    if not isinstance(seed, int) or isinstance(seed, bool) or seed < 0:
        return False
    try:
        json.dumps(info, allow_nan=False)
    except ValueError:
        return False
    return True


def _steps(record: Mapping[str, object]) -> list[dict[str, object]]:
    steps = record.get(POSTPROCESS)
    return [one for one in steps if isinstance(one, dict)] if isinstance(steps, list) else []


def _quoted(name: str) -> str:
    """A name as AUTOMATIC1111 writes values that a comma or a colon would end."""
    if not any(sign in name for sign in ',\n:"'):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
