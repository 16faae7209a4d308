"""Taking over a picture's settings: what fits is taken, and what does not is named with the reason.

For pictures of this studio and of other programs alike. Plain data: no page, no torch.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.answered.model_facts import VAE_KINDS
from studio.answered.models import Model
from studio.asked.fields import SCHEMA_VERSION, TextToImage
from studio.asked.names import best_matches
from studio.asked.noise_settings import idle_fields
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.requests import ROWS
from studio.asked.rows import MAX_PROMPT_CHARACTERS
from studio.asked.schedulers import SCHEDULERS
from studio.asked.template import as_words
from studio.asked.upscale import AUTOMATIC_UPSCALER, NO_UPSCALER
from studio.families.registry import label_of
from studio.picture.file_settings import NO_SUCH_VAE, NO_TINY_VAE, PICTURES, FileSettings, Remark
from studio.picture.infotext import TINY_VAE
from studio.picture.metadata import info_of_texts, texts_of
from studio.picture.programs import settings_of_texts

STUDIO = "Latent Studio"
_OBEY_CLIP_SKIP = (STUDIO, "Fooocus", "RuinedFooocus", "SwarmUI", "ComfyUI", "InvokeAI")  # for every family
_DTYPES = ("float32", "float16", "bfloat16")
_LAYERS_OF_SD1 = 12  # of its text encoder
# What is kept of a picture's info: settings of a picture itself are no fields of the next one.
_OWN = tuple(name for name, row in ROWS.items() if row.kind not in ("file", "controls"))


@dataclass(frozen=True)
class LeftOut:
    """A setting that is not taken: what the program calls it, its value, and why."""

    key: str
    value: str
    why: Remark


@dataclass(frozen=True)
class TakenOver:
    """The settings that fit, by field; what was left out; and remarks about what is taken otherwise. `program`: "" for
    one that the file does not name."""

    program: str
    settings: Mapping[str, object]
    left_out: tuple[LeftOut, ...]
    remarks: tuple[Remark, ...] = ()


def take_over(source: bytes | Path, models: Sequence[Model]) -> TakenOver | None:
    """What can be taken over from a picture's file; None where it tells nothing. `models`: those that are installed."""
    return take_over_texts(texts_of(source), models)


def take_over_texts(texts: Mapping[str, str], models: Sequence[Model]) -> TakenOver | None:
    """As `take_over`, from the texts of a file by keyword."""
    info = info_of_texts(texts)
    if info is not None:
        if info.get("kind") == "surface":
            return TakenOver(STUDIO, {}, (LeftOut("kind", quoted_value("comparison"), Remark("comparison")),))
        schema = info.get("schema")
        if type(schema) is not int or not 1 <= schema <= SCHEMA_VERSION:
            newer = Remark("newer", {"last": str(SCHEMA_VERSION)})
            return TakenOver(STUDIO, {}, (LeftOut("schema", quoted_value(schema), newer),))
        settings = FileSettings({n: info[n] for n in _OWN if info.get(n) is not None}, {n: n for n in _OWN})
        settings.checkpoint_hash = str(info.get("model_hash") or "")
        settings.vae_hash = str(info.get("vae_hash") or "")
        if isinstance(info.get("controls"), list):
            settings.leave("controls", len(info["controls"]), PICTURES)  # type: ignore[arg-type]
        settings.add("vae_name", info.get("vae_name") or info.get("vae"), "vae")
        taken_over = _fitting(STUDIO, settings, models)
        again, remarks = _precision(str(info.get("dtype") or "float32"), taken_over.settings, models)
        return replace(taken_over, settings=again, remarks=(*taken_over.remarks, *remarks))
    program_settings = settings_of_texts(texts)
    return _fitting(*program_settings, models) if program_settings is not None else None


def _precision(
    made_in: str, settings: Mapping[str, object], models: Sequence[Model]
) -> tuple[Mapping[str, object], list[Remark]]:
    """The settings that make a picture in its precision again, and where this is another here, or may be. On a CPU that
    is in bfloat16 what is exact is made in float32; the other way round there is no setting of a run."""
    checkpoint = next((m for m in models if m.kind == "checkpoint" and m.name == settings.get("checkpoint")), None)
    if checkpoint is None or made_in not in _DTYPES:
        return settings, []
    here = checkpoint.dtype
    if here == "bfloat16" and settings.get("exact"):
        here = "float32"
    if (here, made_in) == ("bfloat16", "float32"):
        return {**settings, "exact": True}, [Remark("precision_exact", {"made": made_in, "here": here})]
    if not here:
        return settings, [Remark("precision_unknown", {"made": made_in})] if made_in != "float32" else []
    return settings, [Remark("precision", {"made": made_in, "here": here})] if here != made_in else []


def _range_remark(problem: Problem) -> Remark:
    return Remark("not_allowed", {"allowed": problem.allowed})


def _fitting(program: str, file_settings: FileSettings, models: Sequence[Model]) -> TakenOver:
    settings: dict[str, object] = {}
    left_out: list[LeftOut] = []

    def leave(name: str, why: Remark) -> None:
        settings.pop(name, None)
        left_out.append(LeftOut(file_settings.keys.get(name, name), quoted_value(file_settings.values.get(name)), why))

    _keep_as_words(file_settings)
    for name, value in file_settings.values.items():
        row, problems = ROWS[name], list[Problem]()
        read = row.read(value, problems)
        problems += [] if problems else row.problems(read)
        if problems:
            leave(name, _range_remark(problems[0]))
        else:
            settings[name] = read
    _take_size(file_settings, settings, left_out)
    remarks = [*file_settings.remarks, *_take_checkpoint(file_settings, settings, left_out, models)]
    remarks += _take_vae(file_settings, settings, left_out, models)
    remarks = _take_upscaler(settings, remarks, models)
    _take_finishing_upscaler(file_settings, settings, left_out, models)
    remarks += _take_clip_skip(program, file_settings.keys.get("clip_skip", "Clip skip"), settings, left_out, models)
    while True:  # values that are allowed alone may not fit together
        values = {name: value for name, value in settings.items() if name in TextToImage.rows()}
        try:
            TextToImage.parse({"prompt": ""} | values)
            break
        except InvalidRequest as error:
            for problem in error.problems:
                leave(problem.field, _range_remark(problem))
    scheduler = settings.get("scheduler")
    if isinstance(scheduler, str):
        for name in idle_fields(scheduler, settings):
            leave(name, Remark("not_of_scheduler", {"scheduler": SCHEDULERS[scheduler].label}))
    if "hires_scale" in file_settings.values and "hires_scale" not in settings:
        settings = {name: value for name, value in settings.items() if not name.startswith(("hires_", "upscaler_"))}
        remarks.append(Remark("no_second_pass"))
    left_out += [LeftOut(key, quoted_value(value), why) for key, (value, why) in file_settings.others.items()]
    return TakenOver(program, settings, tuple(left_out), tuple(remarks))


def _keep_as_words(file_settings: FileSettings) -> None:
    """The prompts of a picture are what it was made of, so nothing in them is a choice any more."""
    for name in ("prompt", "negative_prompt"):
        text = file_settings.values.get(name)
        if not isinstance(text, str) or len(text) > MAX_PROMPT_CHARACTERS:
            continue
        words = as_words(text)
        if words != text:
            file_settings.values[name] = words
            file_settings.remarks.append(Remark("choices", {"key": file_settings.keys.get(name, name)}))


def _take_size(file_settings: FileSettings, settings: dict[str, object], left_out: list[LeftOut]) -> None:
    """Width and height belong together; where one does not fit the other is left out too, and they are named once."""
    names = [name for name in ("width", "height") if name in file_settings.values]
    if not names or all(name in settings for name in names):
        return
    keys = {file_settings.keys[name] for name in names}
    left_out[:] = [one for one in left_out if one.key not in keys]
    for name in names:
        settings.pop(name, None)
    size = "x".join(str(file_settings.values[name]) for name in names)
    left_out.append(LeftOut("Size", size, Remark("size", {"allowed": ROWS["width"].description()})))


def _take_checkpoint(
    file_settings: FileSettings, settings: dict[str, object], left_out: list[LeftOut], models: Sequence[Model]
) -> list[Remark]:
    """The installed checkpoint that the picture names, or one of its hash by another name."""
    name = settings.pop("checkpoint", None)
    digits = file_settings.checkpoint_hash.strip().lower()
    checkpoints = [model for model in models if model.kind == "checkpoint"]
    long = digits if len(digits) >= 10 else ""  # the hash of eight digits is of a part of the file
    same = [model for model in checkpoints if long and (model.sha256 or "").startswith(long)]
    matches = _matching_models(str(name), checkpoints) if name else []
    elsewhere = not matches and name and "/" in str(name).replace("\\", "/")
    if elsewhere:  # the folders are those of another program, or of another machine
        matches = _matching_models(str(name).replace("\\", "/").rpartition("/")[2], checkpoints)
    if same and not any(model in matches for model in same):
        settings["checkpoint"] = same[0].name
        return [Remark("checkpoint_renamed", {"name": str(name or digits), "here": same[0].name})]
    if not matches:
        if name:
            absent = Remark("absent_hash", {"hash": digits[:64]}) if digits else Remark("absent")
            left_out.append(LeftOut(file_settings.keys.get("checkpoint", "Model"), quoted_value(name), absent))
        elif digits:
            left_out.append(LeftOut("Model hash", quoted_value(digits), Remark("absent")))
        return []
    if len(matches) > 1 and not same:
        names = ", ".join(model.name for model in matches[:5])
        left_out.append(
            LeftOut(
                file_settings.keys.get("checkpoint", "Model"), quoted_value(name), Remark("several", {"names": names})
            )
        )
        return []
    checkpoint = next((model for model in matches if model in same), matches[0])
    settings["checkpoint"] = checkpoint.name
    if elsewhere and checkpoint not in same:
        return [Remark("checkpoint_elsewhere", {"name": str(name), "here": checkpoint.name})]
    if long and checkpoint.sha256 and checkpoint not in same:
        hashes = {"hash_here": checkpoint.sha256[:10], "hash": digits[:10]}
        return [Remark("checkpoint_another", {"here": checkpoint.name} | hashes)]
    return []


def _take_vae(
    file_settings: FileSettings, settings: dict[str, object], left_out: list[LeftOut], models: Sequence[Model]
) -> list[Remark]:
    """The VAE that the picture names, if it is here, under this name or with its hash, and fits the checkpoint that is
    taken. Returns what is to be said of it."""
    name = str(settings.pop("vae_name", "") or "")
    if name in ("", "Automatic", "None") and not file_settings.wants_tiny_vae:
        return []
    checkpoint = next((m for m in models if m.kind == "checkpoint" and m.name == settings.get("checkpoint")), None)
    family = checkpoint.facts.family if checkpoint is not None and not checkpoint.built_in else None
    vaes = [model for model in models if model.kind in VAE_KINDS and family in model.lends_vae_to]
    if file_settings.wants_tiny_vae:
        tiny = [model for model in vaes if model.kind == "preview_decoder"]
        matches = _matching_models(name, tiny) if name else []
        matches = matches if len(matches) == 1 else tiny[:1]  # of the same latents, so that one is as good as another
        if not matches:
            left_out.append(LeftOut("VAE Decoder", TINY_VAE, NO_TINY_VAE))
            return []
        settings["vae_name"] = matches[0].name
        return []
    matches = _matching_models(name.replace("\\", "/").rpartition("/")[2], vaes)
    digits = file_settings.vae_hash.strip().lower()
    has_hash = re.fullmatch(r"[0-9a-f]{8,64}", digits) is not None
    same = [model for model in vaes if has_hash and model.sha256 and model.sha256.startswith(digits)]
    if same and not any(model in matches for model in same):
        settings["vae_name"] = same[0].name
        return [Remark("vae_renamed", {"name": name, "here": same[0].name})]
    if len(matches) != 1 and not same:
        why = Remark("vae_hash", {"hash": digits}) if has_hash else NO_SUCH_VAE
        left_out.append(LeftOut(file_settings.keys.get("vae_name", "VAE"), quoted_value(name), why))
        return []
    here = next((model for model in matches if model in same), matches[0])
    settings["vae_name"] = here.name
    if has_hash and here.sha256 and here not in same:
        hashes = {"hash_here": here.sha256[:10], "hash": digits[:10]}
        return [Remark("vae_another", {"here": here.name} | hashes)]
    return []


def _take_upscaler(settings: dict[str, object], remarks: Sequence[Remark], models: Sequence[Model]) -> list[Remark]:
    """The upscaler that the picture names, if it is here. Returns the remarks, of which one says what is used instead
    where it is not."""
    named = next((one.values["upscaler"] for one in remarks if one.key == "hires_upscaler"), "")
    name = str(settings.pop("upscaler_name", "") or "") or named
    matches = _matching_models(name, _usable_upscalers(models)) if name else []
    if len(matches) == 1 and "hires_scale" in settings:
        settings["upscaler_name"] = matches[0].name
        return [one for one in remarks if one.key != "hires_upscaler"]
    if name and not named and settings.get("hires_scale", 1) != 1:
        return [*remarks, Remark("hires_upscaler", {"upscaler": name, "instead": "Lanczos"})]
    return list(remarks)


def _take_finishing_upscaler(
    file_settings: FileSettings, settings: dict[str, object], left_out: list[LeftOut], models: Sequence[Model]
) -> None:
    """What enlarged the finished picture, if it is here."""
    name = str(settings.pop("upscale", "") or "")
    if not name or name in (NO_UPSCALER, AUTOMATIC_UPSCALER):
        settings |= {"upscale": name} if name else {}
        return
    matches = _matching_models(name, _usable_upscalers(models))
    if len(matches) == 1:
        settings["upscale"] = matches[0].name
    else:
        left_out.append(LeftOut(file_settings.keys.get("upscale", "upscale"), quoted_value(name), Remark("absent")))


def _usable_upscalers(models: Sequence[Model]) -> list[Model]:
    return [model for model in models if model.kind == "upscaler" and model.state == "usable"]


def _matching_models(name: str, models: Sequence[Model]) -> list[Model]:
    return best_matches(name, models, lambda model: (f"{model.where}/{model.name.rpartition('/')[2]}",))


def _take_clip_skip(
    program: str, key: str, settings: dict[str, object], left_out: list[LeftOut], models: Sequence[Model]
) -> list[Remark]:
    """A1111 obeys clip skip for SD 1 alone, so the number in the text of another family's picture changed nothing. Of
    which family a checkpoint is that is not installed nobody can say: the number is taken, with a remark. A layer that
    the text encoder does not have is left out."""
    value = settings.get("clip_skip")
    if not isinstance(value, int):
        return []
    model = next((m for m in models if m.kind == "checkpoint" and m.name == settings.get("checkpoint")), None)
    family = model.facts.family if model is not None else None
    as_sd1 = family is None and program not in _OBEY_CLIP_SKIP
    if family not in (None, "sd1") and program not in _OBEY_CLIP_SKIP:
        del settings["clip_skip"]
        if value != 1:
            left_out.append(LeftOut("Clip skip", str(value), Remark("clip_skip_ignored", {"family": label_of(family)})))
        return []
    layers = model.facts.encoder_layers if model is not None else None
    layers = _LAYERS_OF_SD1 if layers is None and as_sd1 else layers
    if layers is not None and value > layers:
        del settings["clip_skip"]
        name = model.name if model is not None else label_of("sd1")
        left_out.append(LeftOut(key, str(value), Remark("layers", {"name": name, "layers": str(layers)})))
        return []
    return [Remark("clip_skip", {"value": str(value)})] if as_sd1 and value != 1 else []
