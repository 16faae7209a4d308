"""What a picture says about itself: our own JSON, and the A1111 `parameters` text that other studios write and read.

Plain values and Pillow's containers: no torch, no page. Whatever is read back goes through the requests' own gate.

`info` is one finished picture as a flat dict: `Request.to_dict()` with everything resolved (`picture_info` below), plus
facts about the run. Facts that are understood here, all optional: `model_hash` (hex SHA-256 of the weights, 10 shown),
`vae` and `vae_hash` (name and SHA-256 of the file whose VAE was chosen instead of the checkpoint's own), `lora_hashes`
and `embedding_hashes` (name in the prompt -> SHA-256 of the file), `lora_short_hashes` (the same as A1111 counts them)
and `versions` (name -> version; the studio's own is added). Others (evaluations, seconds, ...) are kept as they are.
"""

from __future__ import annotations

import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import fields
from pathlib import Path

from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio import __version__
from studio.asked.requests import (
    HIRES_UPSCALERS,
    INPAINT_AREAS,
    KINDS,
    MAX_IMAGE_BYTES,
    NOISE_SCHEDULES,
    SCHEDULERS,
    ImageToImage,
    Inpaint,
    InvalidRequest,
    Kind,
    Problem,
    Request,
    TextToImage,
    clean_text,
    request_from_dict,
)
from studio.asked.resolved import Resolved
from studio.picture import chunks
from studio.picture.named_files import hashes_of_pairs

OWN_CHUNK = "latent-studio"
A1111_CHUNK = "parameters"
MAX_TEXT_BYTES = 2**20  # two prompts of 20,000 emoji, escaped, are half of it

# Where the two studios' words differ. A1111 has no name for `as_configured`; its reader then takes Automatic.
# PLMS is what diffusers' PNDM is without its Runge-Kutta start, which Stable Diffusion's configs leave out.
_A1111_SAMPLERS: Mapping[str, str] = {**{name: facts.label for name, facts in SCHEDULERS.items()}, "pndm": "PLMS"}
_A1111_SCHEDULES: Mapping[str, str] = {
    **{name: label for name, label in NOISE_SCHEDULES.items() if name != "as_configured"},
    "sgm_uniform": "SGM Uniform",
    "ays": "Align Your Steps",
}

_A1111_FILLS = {"edges": "fill", "noise": "latent noise"}  # it writes nothing for the picture itself

_READ_SAMPLERS = {"plms": "pndm"} | {
    word.casefold(): name for name, facts in SCHEDULERS.items() for word in (name, facts.label)
}
_READ_SCHEDULES = {"sgmuniform": "sgm_uniform", "align your steps": "ays", "uniform": "normal"} | {
    word.casefold(): name for name, label in NOISE_SCHEDULES.items() for word in (name, label)
}

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

    `width` and `height` are the picture's, in pixels. The picture of a masked run, or of one that is made twice,
    may have another size than the one that was asked for; then the latter stays, and `picture_size` is the former.
    `facts`: see the module docstring; JSON-able, no name of a request's field.
    """
    request = resolved.request
    values: dict[str, object] = {"width": width, "height": height, "noise_schedule": resolved.noise_schedule}
    if not resolved.variation_seeds:
        values["variation_seed"] = None
    if isinstance(request, Inpaint) or resolved.second_pass is not None:
        values |= {"width": request.width, "height": request.height, "picture_size": [width, height]}
    given = facts.get("versions")
    versions = {"Latent Studio": __version__} | (dict(given) if isinstance(given, Mapping) else {})
    return request.to_dict() | values | facts | {"versions": versions}


def png_info(info: Mapping[str, object], parameters: str) -> PngInfo:
    """The text chunks of a saved picture: `parameters` for every studio, `latent-studio` (JSON) for ours.

    Raises ValueError for an info that is not JSON or holds NaN.
    """
    info_chunks = PngInfo()
    info_chunks.add_text(A1111_CHUNK, parameters)  # tEXt when it fits Latin-1, else iTXt, as A1111 itself
    info_chunks.add_text(OWN_CHUNK, json.dumps(info, allow_nan=False))
    return info_chunks


def parameters_text(info: Mapping[str, object]) -> str:
    """The A1111 infotext of a picture: prompt, `Negative prompt:` line if any, and one line of `key: value` pairs.

    Keys and their order are those of AUTOMATIC1111 1.10 (`create_infotext`); the noise schedule is written resolved. An
    empty prompt is an empty first line: other readers look for a line break before "Negative prompt:" and "Steps:", and
    take a text that begins with one of them for the prompt.
    """
    lines = [str(info["prompt"]).lstrip()]
    if info.get("negative_prompt"):
        lines.append(f"Negative prompt: {info['negative_prompt']}")
    lines.append(", ".join(k if k == v else f"{k}: {_quoted(v)}" for k, v in _pairs(info).items()))
    return "\n".join(lines).rstrip()


def _pairs(info: Mapping[str, object]) -> dict[str, str]:
    model_hash, versions = info.get("model_hash"), info.get("versions")
    version = versions.get("Latent Studio") if isinstance(versions, Mapping) else None
    pairs = {
        "Steps": str(info["num_inference_steps"]),
        "Sampler": _A1111_SAMPLERS[str(info["scheduler"])],
        "Schedule type": _A1111_SCHEDULES.get(str(info["noise_schedule"]), ""),
        "CFG scale": _short_number(info["guidance_scale"]),
        "Seed": str(info["seed"]),
        "Size": "{}x{}".format(*_picture_size(info)),
        "Model hash": str(model_hash)[:10] if model_hash else "",
        "Model": _model_name(str(info["checkpoint"])),
        "VAE hash": str(info["vae_hash"])[:10] if info.get("vae_hash") else "",
        "VAE": str(info["vae"]) if info.get("vae") else "",
        "Denoising strength": _denoising_strength(info),
        "Variation seed": str(info["variation_seed"]) if info.get("variation_strength") else "",
        "Variation seed strength": _short_number(info["variation_strength"]) if info.get("variation_strength") else "",
        "Hires upscale": _short_number(info["hires_scale"]) if _twice(info) else "",
        "Hires steps": str(info["hires_steps"]) if _twice(info) and info["hires_steps"] else "",
        "Hires upscaler": HIRES_UPSCALERS[str(info["hires_upscaler"])] if _twice(info) else "",
        "Clip skip": str(info["clip_skip"]) if info.get("clip_skip") not in (None, 1) else "",
        "Mask blur": str(info["mask_blur"]) if "mask_blur" in info else "",
        "Inpaint area": INPAINT_AREAS[str(info["inpaint_area"])] if "inpaint_area" in info else "",
        "Masked area padding": str(info["padding"]) if info.get("inpaint_area") == "masked" else "",
        "Masked content": _A1111_FILLS.get(str(info.get("mask_fill")), ""),
        **_control_pairs(info),
        "RNG": "CPU",
        "Lora hashes": _hash_list(info.get("lora_short_hashes")),
        "TI hashes": _hash_list(info.get("embedding_hashes")),
        "Version": f"Latent Studio {version}" if version else "Latent Studio",
    }
    return {key: value for key, value in pairs.items() if value}


def _control_pairs(info: Mapping[str, object]) -> dict[str, str]:
    """`ControlNet 0`, ... in the words of A1111's extension. They cannot be read back: their pictures are not there."""
    given = info.get("controls")
    return {
        f"ControlNet {number}": f"Module: {one['preprocessor']}, Model: {_model_name(str(one['model']))}, "
        f"Weight: {_short_number(one['scale'])}, Resize Mode: Crop and Resize, "
        f"Guidance Start: {_short_number(one['start'])}, Guidance End: {_short_number(one['end'])}, "
        "Control Mode: Balanced"
        for number, one in enumerate(given if isinstance(given, list) else [])
    }


def _hash_list(hashes: object) -> str:
    """`name: hash, name: hash` with hashes of 12 digits, as A1111 writes the files that a prompt names."""
    pairs = hashes.items() if isinstance(hashes, Mapping) else ()
    return ", ".join(f"{re.sub('[:,]', '', str(name))}: {str(value)[:12]}" for name, value in pairs)


def _twice(info: Mapping[str, object]) -> bool:
    scale = info.get("hires_scale")
    return isinstance(scale, (int, float)) and scale > 1


def _denoising_strength(info: Mapping[str, object]) -> str:
    if "strength" in info:
        return _short_number(info["strength"])
    return _short_number(info["hires_strength"]) if _twice(info) else ""


def _picture_size(info: Mapping[str, object]) -> Sequence[object]:
    """A1111 writes the size of the first pass where there are two."""
    size = None if _twice(info) else info.get("picture_size")
    return size if isinstance(size, Sequence) and len(size) == 2 else (info["width"], info["height"])


def _model_name(checkpoint: str) -> str:
    """The name without folder and ending, as A1111 writes it."""
    name = clean_text(checkpoint).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return name.removesuffix(".safetensors").removesuffix(".ckpt")


def _short_number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _quoted(value: str) -> str:
    """A1111's rule: JSON-quoted if and only if the value holds a comma, a newline or a colon."""
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,\n:]", value) else value


# ------------------------------------------------------------------------------------------------------ reading


def read_png(
    source: bytes | Path,
    *,
    image: bytes | None = None,
    mask: bytes | None = None,
    control_images: Sequence[bytes] = (),
) -> Request | None:
    """The request that a picture's file was made by, or None when the file says nothing that is understood.

    Reads our own JSON first, then the A1111 text of a PNG, JPEG or WebP file (by us or another studio). `image`,
    `mask` and `control_images`: the pictures that a run was given, which no file holds. Raises InvalidRequest for
    settings that the studio would not run, from wherever they come.
    """
    texts = _texts(source)
    own = _json_object(texts.get(OWN_CHUNK, ""))
    if own is not None:
        return request_from_info(own, image=image, mask=mask, control_images=control_images)
    return read_parameters(texts.get(A1111_CHUNK, ""), image=image, mask=mask)


def file_hashes(source: bytes | Path) -> Mapping[str, object]:
    """What a picture's file says of the LoRAs and embeddings that its prompt names, for `named_files.compared`; empty
    where it says nothing."""
    texts = _texts(source)
    own = _json_object(texts.get(OWN_CHUNK, ""))
    return own if own is not None else hashes_of_pairs(parse_parameters(texts.get(A1111_CHUNK, ""))[2])


def request_from_info(
    info: Mapping[str, object],
    *,
    image: bytes | None = None,
    mask: bytes | None = None,
    control_images: Sequence[bytes] = (),
) -> Request:
    """The request that asks for the picture of this info again. The pictures and errors as in `read_png`."""
    kind = KINDS.get(str(info.get("kind")), TextToImage)
    if issubclass(kind, ImageToImage) and image is None:
        raise InvalidRequest(Problem("image", "nothing", "the picture that this one was made from"))
    names = {"schema", "kind", *(field.name for field in fields(kind))} - {"image", "mask"}
    given = {name: info[name] for name in info if name in names}
    return request_from_dict(given, image=image, mask=mask, control_images=control_images)


def read_parameters(text: str, *, image: bytes | None = None, mask: bytes | None = None) -> Request | None:
    """The request of an A1111 infotext, or None when there is no parameter line in it. Raises InvalidRequest.

    A sampler name of before 1.9 that ends in its schedule ("DPM++ 2M Karras") is understood. Keys of abilities that the
    studio lacks are passed over. Where the text tells of a run from a picture, and that is given, it is one again;
    without it, and where it tells of words alone, it is text to image.
    """
    prompt, negative_prompt, pairs = parse_parameters(text)
    if "Steps" not in pairs:
        return None
    sampler, schedule = pairs.get("Sampler", ""), pairs.get("Schedule type", "")
    if sampler.casefold() not in _READ_SAMPLERS:
        for label in sorted(_READ_SCHEDULES, key=len, reverse=True):
            if sampler.casefold().endswith(f" {label}"):
                sampler, schedule = sampler[: -len(label) - 1], schedule or label
                break
    given: dict[str, object] = {
        "prompt": prompt,
        "negative_prompt": negative_prompt,
        "num_inference_steps": _number(pairs["Steps"]),
        "scheduler": _READ_SAMPLERS.get(sampler.casefold(), sampler) if sampler else None,
        # A text that names a sampler and no schedule means the sampler's own.
        "noise_schedule": _READ_SCHEDULES.get(schedule.casefold(), schedule) or ("automatic" if sampler else None),
        "guidance_scale": _number(pairs.get("CFG scale", "")),
        "seed": pairs.get("Seed"),
        "width": _number(pairs.get("Size-1", "")),
        "height": _number(pairs.get("Size-2", "")),
        "checkpoint": pairs.get("Model"),
        "variation_seed": pairs.get("Variation seed"),
        "variation_strength": _number(pairs.get("Variation seed strength", "")),
    }
    kind: Kind = TextToImage
    scale = _hires_scale(pairs)
    if scale is not None:
        latent = pairs.get("Hires upscaler", "").casefold().startswith("latent")
        given |= {
            "hires_scale": scale,
            "hires_upscaler": "latent" if latent else "lanczos",  # networks that scale up are not known here
            "hires_steps": _number(pairs.get("Hires steps", "")),
            "hires_strength": _number(pairs.get("Denoising strength", "")),
        }
    elif image is not None and "Denoising strength" in pairs:
        kind = ImageToImage
        given |= {"image": image, "strength": _number(pairs["Denoising strength"])}
        if mask is not None and any(key in pairs for key in _MASKED):
            kind = Inpaint
            given |= {
                "mask": mask,
                "mask_blur": _number(pairs.get("Mask blur", "")),
                "mask_fill": _READ_FILLS.get(pairs.get("Masked content", "").casefold()),
                "inpaint_area": "masked" if pairs.get("Inpaint area", "").casefold() == "only masked" else "whole",
                "padding": _number(pairs.get("Masked area padding", "")),
            }
    return kind.parse({name: value for name, value in given.items() if value is not None})


_MASKED = ("Mask blur", "Inpaint area", "Masked area padding", "Masked content", "Mask mode")
_READ_FILLS = {label: name for name, label in _A1111_FILLS.items()}


def _hires_scale(pairs: Mapping[str, str]) -> object:
    """How much larger the second pass is, from its factor or its size; None where there was none."""
    if "Hires upscale" in pairs:
        return _number(pairs["Hires upscale"])
    first, second = (_number(pairs.get(f"{key}-1", "")) for key in ("Size", "Hires resize"))
    # The other side follows: a second pass has the shape of the first here.
    return second / first if isinstance(first, int) and isinstance(second, int) and 0 < first < second else None


_NEGATIVE = "Negative prompt:"
_KEY = re.compile(r"\w[\w /-]*")
_VALUE = re.compile(r'\s*("(?:\\.|[^\\"])+"(?=,|$)|[^,]*)')
_SIZE = re.compile(r"(\d+)x(\d+)", re.ASCII)
_FEWEST_PAIRS = 3


def parse_parameters(text: str) -> tuple[str, str, dict[str, str]]:
    """An A1111 infotext as prompt, negative prompt and pairs (a size as `Size-1`, `Size-2`), by A1111's own rules.

    Its oddities too: lines lose their outer blanks, and a last line of fewer than three pairs is prompt.
    """
    if len(text) > MAX_TEXT_BYTES:
        return "", "", {}
    *lines, last = text.strip().split("\n")
    found = _scan(last)
    if len(found) < _FEWEST_PAIRS:
        lines, found = [*lines, last], []
    prompts: dict[bool, list[str]] = {False: [], True: []}
    negative = False
    for line in lines:
        line = line.strip()
        if line.startswith(_NEGATIVE):
            negative, line = True, line.removeprefix(_NEGATIVE).strip()
        if line or prompts[negative]:  # blank lines before the first words are lost
            prompts[negative].append(line)
    pairs: dict[str, str] = {}
    for key, value in found:
        size = _SIZE.fullmatch(value)
        if size:
            pairs |= {f"{key}-1": size[1], f"{key}-2": size[2]}
        elif value:
            pairs[key] = value
    return "\n".join(prompts[False]), "\n".join(prompts[True]), pairs


def _scan(line: str) -> list[tuple[str, str]]:
    """The `key: value` pairs of a line, in one pass: hostile lines cost no more than their length."""
    found: list[tuple[str, str]] = []
    position = 0
    while key := _KEY.search(line, position):
        position = key.end()
        if len(key[0]) > 1 and line.startswith(":", position):
            value = _VALUE.match(line, position + 1)
            assert value is not None  # every part of the pattern may be empty
            found.append((key[0], _unquoted(value[1])))
            position = value.end()
    return found


def _unquoted(value: str) -> str:
    value = value.strip()
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _number(text: str) -> object:
    """A number as the gate wants it; what is none stays text, so that the gate can name it. None for nothing."""
    if not text:
        return None
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    try:
        return float(text) if len(text) <= 40 else text
    except ValueError:
        return text


def _json_object(text: str) -> dict[str, object] | None:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def _texts(source: bytes | Path) -> dict[str, str]:
    """The texts of a file that we may understand, by keyword; empty for a file that is broken, too large or foreign."""
    try:
        if isinstance(source, Path):
            if source.stat().st_size > MAX_IMAGE_BYTES:
                return {}
            source = source.read_bytes()
        if len(source) > MAX_IMAGE_BYTES:
            return {}
        if source.startswith(chunks.SIGNATURE):
            return chunks.texts(source, limit=MAX_TEXT_BYTES)
        return {A1111_CHUNK: _user_comment(source)}
    except (OSError, chunks.BrokenPng):
        return {}


_EXIF_IFD, _USER_COMMENT = 0x8769, 0x9286


def _user_comment(data: bytes) -> str:
    """The EXIF UserComment of a JPEG or WebP file, empty when there is none."""
    try:
        with Image.open(io.BytesIO(data), formats=("JPEG", "WEBP")) as image:
            comment = image.getexif().get_ifd(_EXIF_IFD).get(_USER_COMMENT, b"")
    # Pillow's EXIF reader raises all sorts for broken data; a file without readable metadata is no error here.
    except Exception:
        return ""
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
