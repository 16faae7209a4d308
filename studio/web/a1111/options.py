"""A visitor's own options: the checkpoint, VAE, clip skip and files of the answers that `POST /options` chooses, and
`override_settings` for one run. Nothing here is the machine's: no visitor chooses for another.
"""

from __future__ import annotations

import re
import threading
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from studio.answered.model_facts import VAE_KINDS
from studio.answered.models import Model
from studio.asked.emphasis import EMPHASES
from studio.asked.fields import TextToImage
from studio.asked.names import best_matches, listed_name
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.requests import ROWS
from studio.picture.infotext import TINY_VAE
from studio.picture.saving import USUAL, Saving
from studio.web.a1111 import files
from studio.web.a1111.fields import Notice, is_one_of, notice
from studio.web.a1111.files import AS_SAVED, FileOptions

MAX_VISITORS = 10_000
VAE_METHODS, FULL = ("sd_vae_encode_method", "sd_vae_decode_method"), "Full"  # the other one is TAESD
AUTOMATIC, NONE = "Automatic", "None"  # both: the VAE that the checkpoint runs with here

# Options that would change pictures and that the studio lacks, each with the value that is as it is here.
LACKING: Mapping[str, tuple[object, ...]] = {
    "eta_ddim": (0,),
    "eta_ancestral": (1,),
    "randn_source": ("CPU",),
    "initial_noise_multiplier": (1,),
    "img2img_color_correction": (False,),
    "img2img_fix_steps": (False,),
    "tiling": (False,),
    "sd_unet": ("Automatic", "None"),
    "sd_hypernetwork": ("None",),
    "sd_checkpoint_hash": (),
    "token_merging_ratio": (0,),
    "token_merging_ratio_hr": (0,),
    "s_churn": (0,),
    "s_tmin": (0,),
    "s_noise": (1,),
    "s_min_uncond": (0,),
    "skip_early_cond": (0,),
    "face_restoration": (False,),
    "sd_noise_schedule": ("Default",),
    "use_old_emphasis_implementation": (False,),
    "use_old_karras_scheduler_sigmas": (False,),
    "comma_padding_backtrack": (20,),
}
# Options that are fields of a request here.
_FIELDS: Mapping[str, str] = {
    "CLIP_stop_at_last_layers": "clip_skip",
    "eta_noise_seed_delta": "noise_seed_delta",
    "emphasis": "emphasis",
}
_TITLE = re.compile(r"(.*?) ?\[([0-9a-f]{8,64})\]", re.DOTALL)
_ENDING = re.compile(r"\.(?:safetensors|sft|ckpt)", re.IGNORECASE)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a visitor has chosen; None: what suits."""

    checkpoint: str | None = None
    vae: str | None = None
    clip_skip: int | None = None
    noise_seed_delta: int | None = None
    emphasis: str | None = None
    files: FileOptions = AS_SAVED


class OptionsBook:
    """Every visitor's options, until the studio ends. Any thread."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: OrderedDict[str, Options] = OrderedDict()

    def of(self, owner: str) -> Options:
        """What this visitor has chosen."""
        with self._lock:
            return self._all.get(owner, Options())

    def choose(self, owner: str, options: Options) -> None:
        """From now on."""
        with self._lock:
            self._all[owner] = options
            self._all.move_to_end(owner)
            while len(self._all) > MAX_VISITORS:
                self._all.popitem(last=False)


def default_checkpoint(models: Sequence[Model]) -> str:
    """The checkpoint of a visitor who has chosen none: the usual one, or the first that they may use."""
    usual = str(TextToImage.rows()["checkpoint"].default)
    names = [one.name for one in models if one.kind == "checkpoint" and one.state == "usable"]
    return usual if usual in names or not names else names[0]


def title(model: Model) -> str:
    """What the API calls a checkpoint: its name, and its hash where it is known."""
    return f"{model.name} [{model.sha256[:10]}]" if model.sha256 else model.name


def answer(options: Options, models: Sequence[Model], saving: Saving = USUAL) -> dict[str, object]:
    """The answer of `GET /options`. `saving`: how pictures are saved here."""
    name = options.checkpoint or default_checkpoint(models)
    model = next((one for one in models if one.kind == "checkpoint" and one.name == name), None)
    owners_vae = next((one.name for one in models if model is not None and one.id == model.vae), None)
    return {
        "sd_model_checkpoint": title(model) if model is not None else name,
        "sd_checkpoint_hash": (model.sha256 if model is not None else None) or "",
        "sd_vae": options.vae or owners_vae or AUTOMATIC,
        **dict.fromkeys(VAE_METHODS, TINY_VAE if _is_tiny(options.vae, models) else FULL),
        "CLIP_stop_at_last_layers": options.clip_skip or 1,
        "live_previews_enable": True,
        "live_previews_image_format": "jpeg",
        **files.answer(options.files, saving),
        "eta_noise_seed_delta": options.noise_seed_delta or 0,
        "randn_source": "CPU",
        "img2img_fix_steps": False,
        "emphasis": EMPHASES[options.emphasis or "original"],
    }


def read(
    values: Mapping[str, object], options: Options, models: Sequence[Model], field: str = "", saving: Saving = USUAL
) -> tuple[Options, list[Notice]]:
    """The options with these values, and what is not obeyed of them. A value that is as it is already is no wish, so
    that what `written` gave can be sent back; for one run it is.

    `field`: what the values stand in. Raises InvalidRequest for a bad value, and for one that would change pictures in
    a way that the studio lacks."""
    now = answer(options, models, saving)
    notices: list[Notice] = []
    problems: list[Problem] = []
    for key, value in values.items():
        name = f"{field}.{key}" if field else key
        for_one_run = field and key in ("sd_model_checkpoint", *_FIELDS)
        if value is None or (key in now and value == now[key] and not for_one_run):
            continue
        if key == "sd_model_checkpoint":
            try:
                options = replace(options, checkpoint=checkpoint_of(value, models, name))
            except InvalidRequest as error:
                problems += error.problems
        elif key in _FIELDS:
            row = ROWS[_FIELDS[key]]
            wish = row.read(value, problems)
            bad = row.problems(wish)
            problems += [Problem(name, one.value, one.allowed) for one in bad]
            options = options if bad else replace(options, **{row.name: wish})  # type: ignore[arg-type]
        elif key in files.NAMES:
            try:
                options = replace(options, files=files.read(key, value, options.files, name))
            except InvalidRequest as error:
                problems += error.problems
        elif key in LACKING:
            if not is_one_of(value, LACKING[key]):
                allowed = " or ".join(map(repr, LACKING[key])) or "nothing: choose by sd_model_checkpoint"
                problems.append(Problem(name, quoted_value(value), allowed))
        elif key not in ("sd_vae", *VAE_METHODS):
            notices.append(notice(name, value, "The studio has no such option."))
    try:
        options = _with_vae(values.get("sd_vae"), options, models, field)
        options = _with_methods(values, options, models, field)
    except InvalidRequest as error:
        problems += error.problems
    if problems:
        raise InvalidRequest(*problems)
    return options, notices


def _with_vae(value: object, options: Options, models: Sequence[Model], field: str) -> Options:
    """The options with the VAE that a value names; None: as before. Raises InvalidRequest also where the VAE of before
    does not fit the checkpoint, or is not there any more, and a run is to be made or the checkpoint was changed."""
    checkpoint = options.checkpoint or default_checkpoint(models)
    name = f"{field}.sd_vae" if field and value is not None else "sd_vae"
    wanted = options.vae if value is None else value
    return replace(options, vae=vae_of(wanted, models, checkpoint, name)) if wanted is not None else options


def _with_methods(values: Mapping[str, object], options: Options, models: Sequence[Model], field: str) -> Options:
    """The options with a tiny autoencoder in the place of the VAE, or without one, as the two methods say. A run has
    one VAE here, so encoding by a tiny autoencoder alone is refused, and decoding by it encodes by it too."""
    encode, decode = (values.get(key) for key in VAE_METHODS)
    names = [f"{field}.{key}" if field else key for key in VAE_METHODS]
    for name, value in zip(names, (encode, decode)):
        if value is not None and not is_one_of(value, (FULL, TINY_VAE)):
            raise InvalidRequest(Problem(name, quoted_value(value), f"{FULL} or {TINY_VAE}"))
    is_tiny = _is_tiny(options.vae, models)
    if decode == FULL and is_tiny:
        options, is_tiny = replace(options, vae=None), False
    if decode == TINY_VAE and not is_tiny:
        checkpoint = options.checkpoint or default_checkpoint(models)
        tiny = tiny_vae_of(models, checkpoint)
        if tiny is None:
            allowed = f"{FULL}: no tiny autoencoder for {checkpoint} is here"
            raise InvalidRequest(Problem(names[1], quoted_value(decode), allowed))
        options, is_tiny = replace(options, vae=tiny), True
    if encode == TINY_VAE and not is_tiny:
        allowed = f"{FULL}, or {TINY_VAE} with {VAE_METHODS[1]}: a run has one VAE here"
        raise InvalidRequest(Problem(names[0], quoted_value(encode), allowed))
    return options


def tiny_vae_of(models: Sequence[Model], checkpoint: str) -> str | None:
    """The tiny autoencoder that may take the place of a checkpoint's VAE; None where there is none here."""
    target = next((one for one in models if one.kind == "checkpoint" and one.name == checkpoint), None)
    family = target.facts.family if target is not None and not target.built_in else None
    tiny = (one.name for one in models if one.kind == "preview_decoder" and family in one.lends_vae_to)
    return next(tiny, None)


def take_tiny_vae(values: dict[str, object], models: Sequence[Model]) -> list[Notice]:
    """Put the tiny autoencoder that an infotext asks for among the values; what is said where there is none."""
    checkpoint = str(values.get("checkpoint") or default_checkpoint(models))
    values["vae_name"] = tiny_vae_of(models, checkpoint) or ""
    why = f"No tiny autoencoder for {checkpoint} is here."
    return [] if values["vae_name"] else [notice("infotext.VAE Decoder", TINY_VAE, why)]


def _is_tiny(vae: str | None, models: Sequence[Model]) -> bool:
    return vae is not None and any(one.name == vae and one.kind == "preview_decoder" for one in models)


def vae_of(value: object, models: Sequence[Model], checkpoint: str, field: str = "sd_vae") -> str | None:
    """The VAE that a name or a file's name means, of those that a checkpoint can run with; None for the one that it
    runs with here. Raises InvalidRequest: nothing is looked for outside the list."""
    target = next((one for one in models if one.kind == "checkpoint" and one.name == checkpoint), None)
    owners = next((one for one in models if target is not None and one.id == target.vae), None)
    text = value.strip() if isinstance(value, str) else None
    if text == AUTOMATIC or (text == NONE and owners is None):
        return None
    vaes = [one for one in models if one.kind in VAE_KINDS and one.lends_vae_to and one.state == "usable"]
    family = target.facts.family if target is not None and not target.built_in else None
    fitting = [one for one in vaes if family in one.lends_vae_to]
    matches = best_matches(text or "", fitting, lambda one: (one.name,))
    if len(matches) == 1:
        return matches[0].name
    others = best_matches(text or "", vaes, lambda one: (one.name,))
    quoted = quoted_value(value)
    if others and not matches:
        quoted = f"{quoted}, which does not fit {checkpoint},"
    elif text is not None and re.search(r"[/\\]", text) and not matches:
        quoted = f"{quoted}, which has a path in it,"
    choices = [AUTOMATIC] if owners is not None else [AUTOMATIC, NONE]
    choices += [one.name for one in (matches or fitting)[:20]]
    raise InvalidRequest(Problem(field, quoted, f"with {checkpoint} one of {', '.join(choices)}"))


def checkpoint_of(text: object, models: Sequence[Model], field: str = "sd_model_checkpoint") -> str:
    """The checkpoint that a title, a name, a file's name or a hash means. Raises InvalidRequest: nothing is looked for
    outside the list."""
    usable = [one for one in models if one.kind == "checkpoint" and one.state in ("usable", "incomplete")]
    name_text = text.strip() if isinstance(text, str) else ""
    match = _TITLE.fullmatch(name_text)
    name, digits = (match[1], match[2]) if match else (name_text, name_text.lower())
    checkpoint = listed_name(name, [one.name for one in usable]) or listed_name(
        _bare(name), [one.name for one in usable]
    )
    if checkpoint is None and re.fullmatch(r"[0-9a-f]{8,64}", digits):
        checkpoint = next((one.name for one in usable if (one.sha256 or "").startswith(digits)), None)
    if not checkpoint:
        names = ", ".join(one.name for one in usable[:20]) or "none: no checkpoint is installed"
        raise InvalidRequest(Problem(field, quoted_value(text), f"one of {names}"))
    return checkpoint


def _bare(name: str) -> str:
    """Without the ending of a file."""
    ending = _ENDING.search(name)
    return name[: ending.start()] if ending and ending.end() == len(name) else name
