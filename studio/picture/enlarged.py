"""An enlarged picture as a file: brought to its size, cut, and with what its original says of how it was made."""

from __future__ import annotations

import io

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.asked.upscale import Size
from studio.picture import framing
from studio.picture.file_formats import A1111_CHUNK, OWN_CHUNK
from studio.picture.metadata import texts_of


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
    if OWN_CHUNK in texts:
        info.add_text(OWN_CHUNK, texts[OWN_CHUNK])
    file = io.BytesIO()
    picture.save(file, "PNG", pnginfo=info, compress_level=4)
    return file.getvalue()


def _quoted(name: str) -> str:
    """A name as AUTOMATIC1111 writes values that a comma or a colon would end."""
    if not any(sign in name for sign in ',\n:"'):
        return name
    return '"' + name.replace("\\", "\\\\").replace('"', '\\"').replace("\n", " ") + '"'
