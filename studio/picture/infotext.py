"""AUTOMATIC1111's infotext: the text that other studios write into a picture and read, written and read here.

Keys, their order and the quoting are those of its version 1.10. Plain values: no torch, no page, no disk.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence

from studio.asked.acting import is_enlarged, is_made_twice, is_upscaled
from studio.asked.emphasis import EMPHASES
from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.problems import clean_text
from studio.asked.requests import REQUEST_KINDS, ROWS, Kind, Request
from studio.asked.rows import Row
from studio.asked.schedulers import NOISE_SCHEDULES, SCHEDULERS
from studio.picture.file_settings import NO_SETTING, ONE_VAE, OTHER_NOISE, PICTURES, REFINER, FileSettings, Remark

MAX_TEXT_BYTES = 2**20  # two prompts of 20,000 emoji, escaped, are half of it

# Where the two studios' words differ. A1111 has no name for `as_configured`; its reader then takes Automatic.
# PLMS is what diffusers' PNDM is without its Runge-Kutta start, which Stable Diffusion's configs leave out.
A1111_SAMPLERS: Mapping[str, str] = {**{name: facts.label for name, facts in SCHEDULERS.items()}, "pndm": "PLMS"}
TINY_VAE = "TAESD"  # A1111's name for any tiny autoencoder in the place of a VAE; the other choice is "Full"
A1111_SCHEDULES: Mapping[str, str] = {
    **{name: label for name, label in NOISE_SCHEDULES.items() if name != "as_configured"},
    "sgm_uniform": "SGM Uniform",
    "ays": "Align Your Steps",
}

DDIM_CFGPP = "DDIM CFG++"  # one sampler there; a scheduler and a way of guidance here
_A1111_FILLS = {"edges": "fill", "noise": "latent noise"}  # it writes nothing for the picture itself

_READ_SAMPLERS = {"plms": "pndm"} | {
    word.casefold(): name for name, facts in SCHEDULERS.items() for word in (name, facts.label)
}
_READ_SCHEDULES = {"sgmuniform": "sgm_uniform", "align your steps": "ays", "uniform": "normal"} | {
    word.casefold(): name for name, label in NOISE_SCHEDULES.items() for word in (name, label)
}


def parameters_text(info: Mapping[str, object]) -> str:
    """The A1111 infotext of a picture: prompt, `Negative prompt:` line if any, and one line of `key: value` pairs.

    Keys and their order are those of AUTOMATIC1111 1.10 (`create_infotext`); the noise schedule is written resolved. An
    empty prompt is an empty first line: other readers look for a line break before "Negative prompt:" and "Steps:", and
    take a text that begins with one of them for the prompt.
    """
    lines = [str(info["prompt"]).lstrip()]
    if info.get("negative_prompt"):
        lines.append(f"Negative prompt: {info['negative_prompt']}")
    lines.append(", ".join(k if k == v else f"{k}: {_quote(v)}" for k, v in _pairs(info).items()))
    return "\n".join(lines).rstrip()


# The order of AUTOMATIC1111's keys; a field whose key is not among them comes after those of the fields.
_ORDER = (
    "Steps", "Sampler", "Schedule type", "CFG scale", "Seed", "Size", "Model hash", "Model", "VAE hash", "VAE",
    "VAE Encoder", "VAE Decoder",
    "Denoising strength", "Variation seed", "Variation seed strength", "Clip skip", "Emphasis", "Hires upscale",
    "Hires steps",
    "Hires upscaler", "Mask blur", "Inpaint area", "Masked area padding", "Masked content",
)  # fmt: skip


def _pairs(info: Mapping[str, object]) -> dict[str, str]:
    """The keys of the table's rows with their values, and those of facts about the run."""
    rows = REQUEST_KINDS.get(str(info.get("kind")), TextToImage).rows()
    pairs = {
        row.a1111: _text_of(row, info[name])
        for name, row in rows.items()
        if row.a1111 and row.place != "size" and info.get(name) is not None and row.acts(info)
    }
    if not info.get("hires_steps"):
        pairs.pop("Hires steps", None)
    if is_enlarged(info):
        pairs["Hires upscaler"] = _model_name(str(info["upscaler_name"]))
    elif is_upscaled(info) and not is_made_twice(info):  # the words in which other readers look for an upscaler
        pairs["Hires upscaler"] = _model_name(str(info["upscale"]))
    if (info.get("scheduler"), info.get("guidance_method")) == ("ddim", "cfgpp"):  # a sampler of its own there
        pairs["Sampler"] = DDIM_CFGPP
        del pairs["Guidance method"]
    pairs["Size"] = "{}x{}".format(*_picture_size(info))
    model_hash, versions = info.get("model_hash"), info.get("versions")
    version = versions.get("Latent Studio") if isinstance(versions, Mapping) else None
    pairs |= {
        "Model hash": str(model_hash)[:10] if model_hash else "",
        "VAE hash": str(info["vae_hash"])[:10] if info.get("vae_hash") else "",
        "VAE": str(info["vae"]) if info.get("vae") else "",
        **_tiny_vae_pairs(info),
    }
    keys = [*(key for key in _ORDER if key in pairs), *(key for key in pairs if key not in _ORDER)]
    in_order = {key: pairs[key] for key in keys} | {
        **_control_pairs(info),
        "RNG": "CPU",
        "Lora hashes": _hash_list(info.get("lora_short_hashes")),
        "TI hashes": _hash_list(info.get("embedding_hashes")),
        "Template": str(info.get("prompt_template") or ""),  # as the extension Dynamic Prompts writes them
        "Negative Template": str(info.get("negative_prompt_template") or ""),
        "Version": f"Latent Studio {version}" if version else "Latent Studio",
    }
    return {key: value for key, value in in_order.items() if value}


def _tiny_vae_pairs(info: Mapping[str, object]) -> dict[str, str]:
    """What AUTOMATIC1111 writes of a tiny autoencoder in the place of a VAE: where it decodes, and where it encodes."""
    if not info.get("vae_is_tiny"):
        return {}
    encodes = info.get("kind") in (ImageToImage.kind, Inpaint.kind) or is_made_twice(info)
    return ({"VAE Encoder": TINY_VAE} if encodes else {}) | {"VAE Decoder": TINY_VAE}


def _take_tiny_vae(settings: FileSettings, pairs: Mapping[str, str]) -> None:
    """A tiny autoencoder that has decoded, which also encodes here. One that has only encoded is named: a run has one
    VAE here."""
    encoder, decoder = (pairs.get(key, "") for key in _VAE_METHODS)
    tiny_decodes, tiny_encodes = decoder.casefold() == TINY_VAE.casefold(), encoder.casefold() == TINY_VAE.casefold()
    if tiny_decodes:
        settings.wants_tiny_vae = True
        settings.keys["vae_name"] = "VAE Decoder"
    elif decoder != "Full":
        settings.leave("VAE Decoder", decoder)
    if encoder != "Full" and not (tiny_encodes and tiny_decodes):
        settings.leave("VAE Encoder", encoder, ONE_VAE if tiny_encodes else NO_SETTING)


def _text_of(row: Row, value: object) -> str:
    """A field's value in A1111's words; "" where it has none."""
    own = {
        **dict.fromkeys(("scheduler", "hires_scheduler"), A1111_SAMPLERS),
        **dict.fromkeys(("noise_schedule", "hires_noise_schedule"), A1111_SCHEDULES),
        "mask_fill": _A1111_FILLS,
    }.get(row.name)
    if own is not None:
        return own.get(str(value), "")
    if row.kind == "choice":
        return row.choices[str(value)]
    return _model_name(str(value)) if row.kind == "name" else _short_number(value)


def _control_pairs(info: Mapping[str, object]) -> dict[str, str]:
    """`ControlNet 0`, ... in the words of A1111's extension. They cannot be read back: their pictures are not there."""
    controls = info.get("controls")
    return {
        f"ControlNet {number}": f"Module: {one['preprocessor']}, Model: {_model_name(str(one['model']))}, "
        f"Weight: {_short_number(one['scale'])}, Resize Mode: Crop and Resize, "
        f"Guidance Start: {_short_number(one['start'])}, Guidance End: {_short_number(one['end'])}, "
        "Control Mode: Balanced"
        for number, one in enumerate(controls if isinstance(controls, list) else [])
    }


def _hash_list(hashes: object) -> str:
    """`name: hash, name: hash` with hashes of 12 digits, as A1111 writes the files that a prompt names."""
    pairs = hashes.items() if isinstance(hashes, Mapping) else ()
    return ", ".join(f"{re.sub('[:,]', '', str(name))}: {str(value)[:12]}" for name, value in pairs)


def _picture_size(info: Mapping[str, object]) -> Sequence[object]:
    """A1111 writes the size of the first pass where there are two, and that before an upscaler has enlarged it."""
    size = None if is_made_twice(info) or is_upscaled(info) else info.get("picture_size")
    return size if isinstance(size, Sequence) and len(size) == 2 else (info["width"], info["height"])


def _model_name(checkpoint: str) -> str:
    """The name without folder and ending, as A1111 writes it."""
    name = clean_text(checkpoint).replace("\\", "/").rstrip("/").rpartition("/")[2]
    return name.removesuffix(".safetensors").removesuffix(".ckpt")


def _short_number(value: object) -> str:
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _quote(value: str) -> str:
    """A1111's rule: JSON-quoted if and only if the value holds a comma, a newline or a colon."""
    return json.dumps(value, ensure_ascii=False) if re.search(r"[,\n:]", value) else value


def read_parameters(text: str, *, image: bytes | None = None, mask: bytes | None = None) -> Request | None:
    """The request of an A1111 infotext, or None when there is no parameter line in it. Raises InvalidRequest.

    A sampler name of before 1.9 that ends in its schedule ("DPM++ 2M Karras") is understood. Keys of abilities that the
    studio lacks are passed over. Where the text tells of a run from a picture, and that is given, it is one again;
    without it, and where it tells of words alone, it is text to image.
    """
    prompt, negative_prompt, pairs = parse_parameters(text)
    if "Steps" not in pairs:
        return None
    settings = settings_of_pairs(pairs)
    values = settings.values | {"prompt": prompt, "negative_prompt": negative_prompt}
    strength = values.pop("strength", None)
    kind: Kind = TextToImage
    if strength is not None and image is not None:
        kind, values = ImageToImage, values | {"image": image, "strength": strength}
        if mask is not None and any(key in pairs for key in _MASK_KEYS):
            kind, values = Inpaint, values | {"mask": mask, "inpaint_area": values.get("inpaint_area", "whole")}
    return kind.parse({name: value for name, value in values.items() if name in kind.rows()})


# Keys that are no setting of a run, or are looked at elsewhere.
_NO_SETTING = {
    "Model hash", "VAE hash", "RNG", "Version", "Lora hashes", "TI hashes", "User", "Hires resize-1",
    "Hires resize-2", "Size-1", "Size-2", "Init image hash", "Template", "Negative Template",
}  # fmt: skip
_VAE_METHODS = ("VAE Encoder", "VAE Decoder")
_REFINER = ("Refiner", "Refiner switch at")
_OTHER_KEYS = {"CFG rescale": "CFG Rescale phi", "CFG Rescale": "CFG Rescale phi"}  # SD.Next's and extensions'
# Keys that say nothing where they have this value.
_USUAL = {"NGMS": "0", "NGMS all steps": "True", "Mask mode": "Inpaint masked", "Pad conds": "False"}


def settings_of_pairs(pairs: Mapping[str, str]) -> FileSettings:
    """The pairs of an infotext as fields of a request, by the keys of the table's rows."""
    settings = FileSettings(checkpoint_hash=pairs.get("Model hash", ""), vae_hash=pairs.get("VAE hash", ""))
    twice = _hires_scale(pairs)
    names_by_key = {row.a1111: name for name, row in ROWS.items() if row.a1111 and row.a1111 != "Denoising strength"}
    for key, text in pairs.items():
        name = names_by_key.get(_OTHER_KEYS.get(key, key), "")
        row = ROWS.get(name)
        if key == "Denoising strength":
            settings.add("strength" if twice is None else "hires_strength", _number(text), key)
        elif key == "NGMS" and pairs.get("NGMS all steps") == "True" and "Guidance sigma min" not in pairs:
            settings.add("guidance_low", _number(text), key)  # below this sigma A1111 leaves the negative prompt out
        elif row is None or (key == "Emphasis" and text.casefold() not in _EMPHASES):  # A1111 knows others
            _leave(settings, key, text)
        elif row.kind == "number":
            settings.add(name, _number(text), key)
        elif row.kind == "choice":
            settings.add(name, _READ_CHOICES.get(name, {}).get(text.casefold(), text), key)
        else:
            settings.add(name, text, key)
    if twice is None:
        settings.values = {name: v for name, v in settings.values.items() if not name.startswith("hires_")}
    else:
        settings.add("hires_scale", twice, "Hires upscale" if "Hires upscale" in pairs else "Hires resize")
        upscaler = pairs.get("Hires upscaler", "")
        latent = upscaler.casefold().startswith("latent")
        settings.add("hires_upscaler", "latent" if latent else "lanczos", "Hires upscaler")
        if upscaler and upscaler.casefold() not in ("latent", "lanczos"):
            instead = "Latent" if latent else "Lanczos"
            settings.remarks.append(Remark("hires_upscaler", {"upscaler": upscaler, "instead": instead}))
    if pairs.get("RNG", "CPU") != "CPU":
        settings.leave("RNG", pairs["RNG"], OTHER_NOISE)
    _take_tiny_vae(settings, pairs)
    _name_resize(settings, pairs, twice)
    _split_sampler(settings, pairs.get("Sampler", ""))
    if twice is not None:
        _split_sampler(settings, pairs.get("Hires sampler", ""), second=True)
    return settings


def _name_resize(settings: FileSettings, pairs: Mapping[str, str], twice: object) -> None:
    """Name a second pass of another shape than the first, or one that is smaller: there is none of these here."""
    sides = [_number(pairs.get(f"{key}-{n}", "")) for key in ("Size", "Hires resize") for n in (1, 2)]
    if sides[2:] == [None, None] or "Hires upscale" in pairs:
        return
    width, height, second_width, second_height = (side if isinstance(side, int) else 0 for side in sides)
    size = f"{second_width}x{second_height}"
    if twice is None and (second_width, second_height) not in ((0, 0), (width, height)):
        settings.leave("Hires resize", size)
    elif twice is not None and second_height and width * second_height != height * second_width:
        settings.remarks.append(Remark("second_shape", {"size": size}))


def _leave(settings: FileSettings, key: str, text: str) -> None:
    """Name a key that is no field's, where it says something of the run."""
    if key in _NO_SETTING or key in _VAE_METHODS or text == _USUAL.get(key):
        return
    why = PICTURES if re.fullmatch(r"ControlNet \d+", key) else REFINER if key in _REFINER else NO_SETTING
    settings.leave(key, text, why)


def _split_sampler(settings: FileSettings, sampler: str, *, second: bool = False) -> None:
    """A sampler's name of before 1.9 ends in its schedule; one without a schedule means the sampler's own. `second`: of
    the second pass."""
    if not sampler:
        return
    scheduler, noise_schedule, key = "scheduler", "noise_schedule", "Sampler"
    if second:
        scheduler, noise_schedule, key = "hires_scheduler", "hires_noise_schedule", "Hires sampler"
    if sampler.casefold() == DDIM_CFGPP.casefold() and not second:
        settings.add(scheduler, "ddim", key)
        settings.add("guidance_method", "cfgpp", key)
    elif sampler.casefold() not in _READ_CHOICES[scheduler]:
        for label in sorted(_READ_SCHEDULES, key=len, reverse=True):
            if sampler.casefold().endswith(f" {label}"):
                short = sampler[: -len(label) - 1]
                settings.add(scheduler, _READ_SAMPLERS.get(short.casefold(), short), key)
                if noise_schedule not in settings.values:
                    settings.add(noise_schedule, _READ_SCHEDULES[label], key)
                break
    if not second and "noise_schedule" not in settings.values:
        settings.add("noise_schedule", "automatic", "Schedule type")


_EMPHASES = {label.casefold() for label in EMPHASES.values()}
_MASK_KEYS = ("Mask blur", "Inpaint area", "Masked area padding", "Masked content", "Mask mode")
_READ_CHOICES: Mapping[str, Mapping[str, str]] = {
    "scheduler": _READ_SAMPLERS,
    "noise_schedule": _READ_SCHEDULES,
    "hires_scheduler": _READ_SAMPLERS | {"use same sampler": "same"},
    "hires_noise_schedule": _READ_SCHEDULES | {"use same scheduler": "same"},
    "mask_fill": {label: name for name, label in _A1111_FILLS.items()},
}


def _hires_scale(pairs: Mapping[str, str]) -> object:
    """How much larger the second pass is, from its factor or its size; None where there was none."""
    if "Hires upscale" in pairs:
        return _number(pairs["Hires upscale"])
    first, second = (_number(pairs.get(f"{key}-1", "")) for key in ("Size", "Hires resize"))
    # The other side follows: a second pass has the shape of the first here.
    return second / first if isinstance(first, int) and isinstance(second, int) and 0 < first < second else None


_NEGATIVE = "Negative prompt:"
_KEY = re.compile(r"\w[\w /-]*")
# A number with a decimal comma is one value, which is refused by name: A1111, which writes points, would read "7".
_VALUE = re.compile(r'\s*("(?:\\.|[^\\"])+"(?=,|$)|[+-]?\d{1,9},\d{1,9}(?=\s*(?:,|$))|[^,]*)')
_SIZE = re.compile(r"(\d+)x(\d+)", re.ASCII)
_FEWEST_PAIRS = 3


def parse_parameters(text: str) -> tuple[str, str, dict[str, str]]:
    """An A1111 infotext as prompt, negative prompt and pairs (a size as `Size-1`, `Size-2`), by A1111's own rules.

    Its oddities too: lines lose their outer blanks, and a last line of fewer than three pairs is prompt.
    """
    if len(text) > MAX_TEXT_BYTES:
        return "", "", {}
    *lines, last = text.strip().split("\n")
    scan = _scan(last)
    if len(scan) < _FEWEST_PAIRS:
        lines, scan = [*lines, last], []
    prompts: dict[bool, list[str]] = {False: [], True: []}
    negative = False
    for line in lines:
        line = line.strip()
        if line.startswith(_NEGATIVE):
            negative, line = True, line.removeprefix(_NEGATIVE).strip()
        if line or prompts[negative]:  # blank lines before the first words are lost
            prompts[negative].append(line)
    pairs: dict[str, str] = {}
    for key, value in scan:
        size = _SIZE.fullmatch(value)
        if size:
            pairs |= {f"{key}-1": size[1], f"{key}-2": size[2]}
        elif value:
            pairs[key] = value
    return "\n".join(prompts[False]), "\n".join(prompts[True]), pairs


def _scan(line: str) -> list[tuple[str, str]]:
    """The `key: value` pairs of a line, in one pass: hostile lines cost no more than their length."""
    pairs: list[tuple[str, str]] = []
    position = 0
    while key := _KEY.search(line, position):
        position = key.end()
        if len(key[0]) > 1 and line.startswith(":", position):
            value = _VALUE.match(line, position + 1)
            assert value is not None  # every part of the pattern may be empty
            pairs.append((key[0], _unquote(value[1])))
            position = value.end()
    return pairs


def _unquote(value: str) -> str:
    value = value.strip()
    if len(value) < 2 or not value.startswith('"') or not value.endswith('"'):
        return value
    try:
        return str(json.loads(value))
    except ValueError:
        return value


def _number(text: str) -> object:
    """A number as `parse` takes it. Anything else stays text, so that `parse` can name it. None for nothing."""
    if not text:
        return None
    if re.fullmatch(r"[+-]?\d{1,18}", text, re.ASCII):
        return int(text)
    try:
        return float(text) if len(text) <= 40 else text
    except ValueError:
        return text
