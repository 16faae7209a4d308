"""Taking over a picture's settings: what fits is taken, and what does not is named with the reason.

For pictures of this studio and of other programs alike. Plain data: no page, no torch.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from studio.answered.models import Model
from studio.asked.names import best_matches
from studio.asked.problems import InvalidRequest, Problem, shown
from studio.asked.requests import ROWS, SCHEMA_VERSION, TextToImage
from studio.picture.infotext import Told
from studio.picture.metadata import own_info, texts_of
from studio.picture.programs import told_by

STUDIO = "Latent Studio"
# What is kept of a picture's info: settings of a picture itself are no fields of the next one.
_OWN = tuple(name for name, row in ROWS.items() if row.kind not in ("file", "controls"))


@dataclass(frozen=True)
class LeftOut:
    """A setting that is not taken: what the program calls it, its value, and why."""

    key: str
    value: str
    why: str

    def __str__(self) -> str:
        return f"{self.key} {self.value}: {self.why}"


@dataclass(frozen=True)
class TakenOver:
    """The settings that fit, by field; what was left out; and sentences about what is taken otherwise."""

    program: str
    settings: Mapping[str, object]
    left_out: tuple[LeftOut, ...]
    notes: tuple[str, ...] = ()


def take_over(source: bytes | Path, models: Sequence[Model]) -> TakenOver | None:
    """What can be taken over from a picture's file; None where it tells nothing. `models`: those that are installed."""
    info = own_info(source)
    if info is not None:
        schema = info.get("schema")
        if type(schema) is not int or not 1 <= schema <= SCHEMA_VERSION:
            why = f"this version of the studio reads versions 1 to {SCHEMA_VERSION}; a newer studio made the picture"
            return TakenOver(STUDIO, {}, (LeftOut("schema", shown(schema), why),))
        told = Told({n: info[n] for n in _OWN if info.get(n) is not None}, {n: n for n in _OWN})
        told.checkpoint_hash = str(info.get("model_hash") or "")
        if isinstance(info.get("controls"), list):
            told.others["controls"] = f"{len(info['controls'])}"  # type: ignore[arg-type]
        return _fitting(STUDIO, told, models)
    found = told_by(texts_of(source))
    return _fitting(*found, models) if found is not None else None


def _fitting(program: str, told: Told, models: Sequence[Model]) -> TakenOver:
    settings: dict[str, object] = {}
    left: list[LeftOut] = []

    def leave(name: str, why: str) -> None:
        settings.pop(name, None)
        left.append(LeftOut(told.keys.get(name, name), shown(told.values.get(name)), why))

    for name, value in told.values.items():
        row, problems = ROWS[name], list[Problem]()
        read = row.read(value, problems)
        problems += [] if problems else row.problems(read)
        if problems:
            leave(name, f"not allowed here; {problems[0].allowed}")
        else:
            settings[name] = read
    _take_size(told, settings, left)
    notes = [*told.notes, *_take_checkpoint(told, settings, left, models)]
    _take_clip_skip(program, settings, left, models)
    while True:  # values that are allowed alone may not fit together
        asked = {name: value for name, value in settings.items() if name in TextToImage.rows()}
        try:
            TextToImage.parse({"prompt": ""} | asked)
            break
        except InvalidRequest as error:
            for problem in error.problems:
                leave(problem.field, f"not allowed here; {problem.allowed}")
    if "hires_scale" in told.values and "hires_scale" not in settings:
        settings = {name: value for name, value in settings.items() if not name.startswith("hires_")}
    for key, value in told.others.items():
        why = "its pictures are not in the file" if key == "controls" else "this studio has no such setting"
        left.append(LeftOut(key, shown(value), "a VAE is chosen on the Models tab" if key == "VAE" else why))
    return TakenOver(program, settings, tuple(left), tuple(notes))


def _take_size(told: Told, settings: dict[str, object], left: list[LeftOut]) -> None:
    """Width and height belong together; where one does not fit the other is left out too, and they are named once."""
    given = [name for name in ("width", "height") if name in told.values]
    if not given or all(name in settings for name in given):
        return
    keys = {told.keys[name] for name in given}
    left[:] = [one for one in left if one.key not in keys]
    for name in given:
        settings.pop(name, None)
    size = "x".join(str(told.values[name]) for name in given)
    left.append(LeftOut("Size", size, f"not allowed here; each {ROWS['width'].described()}"))


def _take_checkpoint(
    told: Told, settings: dict[str, object], left: list[LeftOut], models: Sequence[Model]
) -> list[str]:
    """The installed checkpoint that the picture names, or one of its hash by another name."""
    name = settings.pop("checkpoint", None)
    digits = told.checkpoint_hash.strip().lower()
    installed = [model for model in models if model.kind == "checkpoint"]
    long = digits if len(digits) >= 10 else ""  # the hash of eight digits is of a part of the file
    same = [model for model in installed if long and (model.sha256 or "").startswith(long)]
    called = best_matches(str(name), installed, lambda m: (f"{m.where}/{m.name.rpartition('/')[2]}",)) if name else []
    if same and not any(model in called for model in same):
        settings["checkpoint"] = same[0].name
        return [f"The checkpoint {name or digits} is called {same[0].name} here: its hash is the same."]
    if not called:
        if name:
            hashed = f"; its hash is {digits}" if digits else ""
            left.append(LeftOut(told.keys.get("checkpoint", "Model"), shown(name), f"it is not installed{hashed}"))
        return []
    if len(called) > 1 and not same:
        names = ", ".join(model.name for model in called[:5])
        left.append(LeftOut(told.keys.get("checkpoint", "Model"), shown(name), f"several are called so: {names}"))
        return []
    chosen = next((model for model in called if model in same), called[0])
    settings["checkpoint"] = chosen.name
    if long and chosen.sha256 and chosen not in same:
        return [
            f"The checkpoint {chosen.name} here is another file: its hash is {chosen.sha256[:10]}, not {digits[:10]}."
        ]
    return []


def _take_clip_skip(program: str, settings: dict[str, object], left: list[LeftOut], models: Sequence[Model]) -> None:
    """A1111 obeys clip skip for SD 1 alone, so the number in the text of another family's picture changed nothing."""
    value = settings.get("clip_skip")
    family = next((m.family for m in models if m.kind == "checkpoint" and m.name == settings.get("checkpoint")), "SD 1")
    if value is None or program == STUDIO or family == "SD 1":
        return
    del settings["clip_skip"]
    if value != 1:
        left.append(LeftOut("Clip skip", str(value), f"A1111 ignores it here: {family} has a layer of its own"))
