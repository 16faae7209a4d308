"""What a picture says about itself: our own JSON, and the A1111 `parameters` text that other studios write and read.
Which file holds them where: studio.picture.file_formats.

Plain values and Pillow's containers: no torch, no page. Whatever is read back goes through the requests' own gate.

`info` is one finished picture as a flat dict: `Request.to_dict()` with everything resolved (`picture_info` below), plus
facts about the run. These facts are understood here, all of them optional:

    model_hash             hex SHA-256 of the weights, 10 digits shown
    upscaler_hash          hex SHA-256 of the file of the upscaler between two passes
    upscale_hash           hex SHA-256 of the file of the upscaler that enlarged the finished picture
    vae, vae_hash          name and SHA-256 of the file whose VAE was chosen instead of the checkpoint's own
    vae_is_tiny            true where that is a tiny autoencoder (TAESD)
    lora_hashes            name in the prompt -> SHA-256 of the file
    lora_short_hashes      the same as A1111 counts them
    embedding_hashes       name in the prompt -> SHA-256 of the file
    prediction_type        what the owner says that the checkpoint predicts, where its file does not
    flow_shift             the shift that the owner chose for a rectified flow
    prompt_template        what the prompt was chosen from, where that differs; negative_prompt_template alike
    prompt_notes           sentences about what of the prompts is left out or read otherwise than it may be meant
    word_weights           weights of words in a branch, for whose evaluations (`studio.engine.forks.Fork.weight_facts`)
    word_swap              `word` that `replacement` took the place of in a branch, at evaluation `first`, in the former
                           layout up to and not with evaluation `until` (counted from 0)
    dtype                  precision of the U-Net, as torch calls it; older pictures say it where it is not float32
    vae_dtype, text_dtype  of the VAE and of the text encoders, where it is another one
    threads                numbers of CPU threads of its calls; with another number the last bits differ
    versions               name -> version; the studio's own is added
    postprocess            by what the finished picture was enlarged later (`studio.picture.enlarged`)
    made_elsewhere         true where another program has made the picture, and the studio has only enlarged it: then
                           the record says nothing of the making, and the A1111 text does

Others (evaluations, seconds, ...) are kept as they are.
"""

from __future__ import annotations

import io
import json
import struct
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import fields
from pathlib import Path

from PIL import Image

from studio import __version__
from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.messages import Message
from studio.asked.problems import MAX_IMAGE_BYTES, InvalidRequest, Problem
from studio.asked.requests import REQUEST_KINDS, Request, request_from_dict
from studio.asked.resolved import Resolved
from studio.asked.template import is_template
from studio.picture import chunks, draw_things, stealth
from studio.picture.decode import FORMATS
from studio.picture.file_formats import A1111_CHUNK, EXIF_IFD, OWN_CHUNK, USER_COMMENT, record_of_xmp
from studio.picture.infotext import MAX_TEXT_BYTES, parse_parameters, read_parameters
from studio.picture.named_files import hashes_of_pairs

MADE_ELSEWHERE = "made_elsewhere"

# ------------------------------------------------------------------------------------------------------ writing


def picture_info(
    resolved: Resolved,
    *,
    width: int,
    height: int,
    **facts: object,
) -> dict[str, object]:
    """The info of the picture of a run of one image: what has to be asked to get this picture again, and facts about
    its run.

    `width` and `height` are the picture's, in pixels. The picture of a masked run, or of one that is made twice or
    enlarged, may have another size than the one that was asked for; then the latter stays, and `picture_size` is the
    former.
    `facts`: see the module docstring; JSON-able, no name of a request's field.
    """
    request = resolved.request
    values: dict[str, object] = {"width": width, "height": height, "noise_schedule": resolved.noise_schedule}
    if not resolved.variation_seeds:
        values["variation_seed"] = None
    if isinstance(request, Inpaint) or resolved.second_pass is not None or resolved.finishing_upscaler:
        values |= {"width": request.width, "height": request.height, "picture_size": [width, height]}
    if resolved.template is not None:
        pairs = zip(("prompt", "negative_prompt"), resolved.template)
        values |= {f"{name}_template": text for name, text in pairs if text != getattr(request, name)}
    version_facts = facts.get("versions")
    versions = {"Latent Studio": __version__} | (dict(version_facts) if isinstance(version_facts, Mapping) else {})
    return request.to_dict() | values | facts | {"versions": versions}


# ------------------------------------------------------------------------------------------------------ reading


def read_png(
    source: bytes | Path,
    *,
    image: bytes | None = None,
    mask: bytes | None = None,
    control_images: Sequence[bytes] = (),
) -> Request | None:
    """The request that a picture's file was made by, or None when the file says nothing that is understood.

    Reads our own JSON first, then the A1111 text of a PNG, JPEG, WebP or AVIF file (by us or another studio). `image`,
    `mask` and `control_images`: the pictures that a run was given, which no file holds. Raises InvalidRequest for
    settings that the studio would not run, from wherever they come.
    """
    texts = texts_of(source)
    own = info_of_texts(texts)
    if own is not None:
        return request_from_info(own, image=image, mask=mask, control_images=control_images)
    return read_parameters(texts.get(A1111_CHUNK, ""), image=image, mask=mask)


def file_hashes(source: bytes | Path) -> Mapping[str, object]:
    """What a picture's file says of the LoRAs and embeddings that its prompt names, for `named_files.compared`; empty
    where it says nothing."""
    return hashes_of_texts(texts_of(source))


def hashes_of_texts(texts: Mapping[str, str]) -> Mapping[str, object]:
    """As `file_hashes`, of the texts of a file."""
    own = info_of_texts(texts)
    return own if own is not None else hashes_of_pairs(parse_parameters(texts.get(A1111_CHUNK, ""))[2])


def templates_of_texts(texts: Mapping[str, str]) -> dict[str, str]:
    """The templates that a picture's prompts were chosen from, by field: our own, and those that the extension Dynamic
    Prompts writes. Empty for a picture whose prompts are no choice."""
    own = info_of_texts(texts)
    pairs: Mapping[str, object] = own or parse_parameters(texts.get(A1111_CHUNK, ""))[2]
    keys = _TEMPLATE_KEYS if own is None else {name: f"{name}_template" for name in _TEMPLATE_KEYS}
    templates = {name: pairs.get(key) for name, key in keys.items()}
    return {name: text for name, text in templates.items() if isinstance(text, str) and is_template(text)}


def own_info(source: bytes | Path) -> dict[str, object] | None:
    """Our own JSON of a picture's file; None where it has none."""
    return info_of_texts(texts_of(source))


def info_of_texts(texts: Mapping[str, str], *, of_making: bool = True) -> dict[str, object] | None:
    """As `own_info`, of the texts of a file. One that says nothing of the making is none, unless `of_making` is
    False."""
    info = _json_object(texts.get(OWN_CHUNK, ""))
    return None if info is not None and of_making and info.get(MADE_ELSEWHERE) is True else info


def request_from_info(
    info: Mapping[str, object],
    *,
    image: bytes | None = None,
    mask: bytes | None = None,
    control_images: Sequence[bytes] = (),
) -> Request:
    """The request that asks for the picture of this info again. The pictures and errors as in `read_png`."""
    kind = REQUEST_KINDS.get(str(info.get("kind")), TextToImage)
    if issubclass(kind, ImageToImage) and image is None:
        raise InvalidRequest(Problem("image", Message("nothing"), Message("the picture that this one was made from")))
    names = {"schema", "kind", *(field.name for field in fields(kind))} - {"image", "mask"}
    values = {name: info[name] for name in info if name in names}
    return request_from_dict(values, image=image, mask=mask, control_images=control_images)


def _json_object(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def texts_of(source: bytes | Path) -> dict[str, str]:
    """The texts of a file that we may understand, by keyword; empty for a file that is broken, too large or foreign."""
    try:
        if isinstance(source, Path):
            if source.stat().st_size > MAX_IMAGE_BYTES:
                return {}
            source = source.read_bytes()
        if len(source) > MAX_IMAGE_BYTES:
            return {}
        if source.startswith(chunks.SIGNATURE):
            return chunks.texts(source, limit=MAX_TEXT_BYTES) or stealth.texts(source)
    except (OSError, chunks.BrokenPng):
        return {}
    try:
        with Image.open(io.BytesIO(source), formats=("GIF", "JPEG", "WEBP", "AVIF")) as image:
            return _texts_of_image(image)
    except Exception:  # Pillow raises all sorts for broken data; a file without readable metadata is no error here
        return {}


_TEMPLATE_KEYS = {"prompt": "Template", "negative_prompt": "Negative Template"}
_MAKER_NOTE = 0x927C
# ComfyUI writes its graphs into these tags of a WebP file, as "prompt:{...}" and "workflow:{...}".
_GRAPH_TAGS = (0x010E, 0x010F, 0x0110)


def _gif_comment(image: Image.Image) -> str:
    """The comment of a GIF file, empty when there is none."""
    comment = image.info.get("comment", b"")
    return comment[: 2 * MAX_TEXT_BYTES].decode("utf-8", "replace") if isinstance(comment, bytes) else ""


def _texts_of_image(image: Image.Image) -> dict[str, str]:
    """The comment of a GIF file, or the texts in the EXIF and XMP of a JPEG, WebP or AVIF file: its UserComment, our
    own record, the scheme of Fooocus, the graphs of ComfyUI, what Draw Things writes."""
    if image.format == "GIF":
        return {A1111_CHUNK: _gif_comment(image)}
    exif = image.getexif()
    more = exif.get_ifd(EXIF_IFD)
    texts = {A1111_CHUNK: _user_comment(more.get(USER_COMMENT, b""))}
    xmp = _plain_text(image.info.get("xmp"))
    if xmp:
        texts[draw_things.XMP] = xmp
        texts |= {OWN_CHUNK: record} if (record := record_of_xmp(xmp)) else {}
    scheme = more.get(_MAKER_NOTE, exif.get(_MAKER_NOTE))
    if _plain_text(scheme) in ("fooocus", "a1111"):
        texts["fooocus_scheme"] = _plain_text(scheme)
    for tag in _GRAPH_TAGS:
        name, colon, graph = _plain_text(exif.get(tag)).partition(":")
        if colon and name.lower() in ("prompt", "workflow"):
            texts[name.lower()] = graph
    return texts


def _plain_text(value: object) -> str:
    if isinstance(value, bytes):
        value = value.decode("utf-8", "replace")
    return value.strip("\0") if isinstance(value, str) and len(value) <= MAX_TEXT_BYTES else ""


def _user_comment(comment: object) -> str:
    """The text of a UserComment, empty for what is none."""
    if isinstance(comment, str):
        return comment
    if not isinstance(comment, bytes) or len(comment) > 2 * MAX_TEXT_BYTES:
        return ""
    encoding, text = comment[:8], comment[8:]
    if encoding == b"UNICODE\0":
        # The standard leaves the byte order open; A1111's writer is big-endian. The zero bytes of ASCII tell.
        little = text[1::2].count(0) > text[::2].count(0)
        return text.decode("utf-16-le" if little else "utf-16-be", "replace")
    return text.decode("utf-8", "replace").strip("\0")


def head(path: Path, *, limit: int = MAX_TEXT_BYTES) -> tuple[int, int, dict[str, str]]:
    """Width, height and texts of a picture's file, 0x0 for a broken one; no pixel is read. Raises OSError."""
    with path.open("rb") as file:
        beginning = file.read(len(chunks.SIGNATURE))
        if beginning == chunks.SIGNATURE:
            file.seek(0)
            try:
                return chunks.head(file, limit=limit)
            except (chunks.BrokenPng, struct.error):
                return 0, 0, {}
    try:
        with Image.open(path, formats=FORMATS) as image:
            width, height = image.size
            texts = {}
            with suppress(Exception):
                texts = _texts_of_image(image)
    except Exception:  # Pillow raises all sorts for broken files, and a file that is none of a picture is no error here
        return 0, 0, {}
    return width, height, {name: text for name, text in texts.items() if len(text) <= limit}
