"""Presets: the fields of a tab under a name, and those that a person wants with a checkpoint. As values, as JSON, and
as the parameters of a link.

Pictures are in none of them: a preset holds what can be typed. Seeds are texts, since a page's numbers are exact up to
2 ** 53 alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

from studio.asked.messages import Message, listed
from studio.asked.problems import InvalidRequest, Problem, clean_text, quoted_value
from studio.asked.requests import REQUEST_KINDS
from studio.asked.resolved import Suits
from studio.asked.rows import MAX_NAME_CHARACTERS, Row

FORMAT = "latent-studio-presets"
VERSION = 1  # of the JSON
LINK_VERSION = 1
LINK = "settings"  # the parameter of a link that names the tab
MAX_PRESETS = 500  # of one person, and as many checkpoints
MAX_NAME = 100
MAX_PROBLEMS = 5  # that one sentence names
Entry = TypeVar("Entry")
# What belongs to a picture, not to a model: words, seeds, how many pictures, and the parts of a picture.
_OF_A_PICTURE = ("prompt", "negative_prompt", "checkpoint", "seed", "variation", "extend")


@dataclass(frozen=True, kw_only=True)
class Preset:
    """`fields`: those of the tab by name, with the values that `fields_of` answers; a field that it lacks stays as it
    is when the preset is chosen."""

    name: str
    tab: str
    fields: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class ModelPreset:
    """The fields that come on a tab when this checkpoint is chosen."""

    checkpoint: str
    tab: str
    fields: Mapping[str, object]


@dataclass(frozen=True, kw_only=True)
class Presets:
    """All of one person."""

    named: tuple[Preset, ...] = ()
    of_models: tuple[ModelPreset, ...] = ()

    def preset(self, tab: str, name: object) -> Preset | None:
        """The preset of this name on a tab."""
        return next((one for one in self.named if (one.tab, one.name) == (tab, name)), None)

    def of_model(self, tab: str, checkpoint: object) -> ModelPreset | None:
        """What is remembered of a checkpoint on a tab."""
        return next((one for one in self.of_models if (one.tab, one.checkpoint) == (tab, checkpoint)), None)

    def with_preset(self, preset: Preset) -> Presets:
        """With a preset, in the place of the one of its name. Raises InvalidRequest where there are too many."""
        same = [one.tab == preset.tab and one.name == preset.name for one in self.named]
        named = [preset if is_same else one for one, is_same in zip(self.named, same)]
        if not any(same):
            named.append(preset)
        return replace(self, named=_limited(named))

    def without_preset(self, tab: str, name: object) -> Presets:
        """Without the preset of this name."""
        return replace(self, named=tuple(one for one in self.named if (one.tab, one.name) != (tab, name)))

    def renamed(self, tab: str, name: object, new_name: object) -> Presets:
        """With another name for a preset. Raises InvalidRequest where it is gone, or another has the new name."""
        new_name, before = name_of(new_name), self.preset(tab, name)
        if before is None:
            known = [one.name for one in self.named if one.tab == tab]
            raise InvalidRequest(Problem("name", quoted_value(name), _one_of_these(known)))
        if new_name != name and self.preset(tab, new_name) is not None:
            raise InvalidRequest(Problem("name", quoted_value(new_name), Message("a name that no other preset has")))
        return replace(self, named=tuple(replace(one, name=new_name) if one is before else one for one in self.named))

    def with_model(self, of_model: ModelPreset) -> Presets:
        """With what is remembered of a checkpoint, in the place of what was before."""
        others = self.without_model(of_model.tab, of_model.checkpoint).of_models
        return replace(self, of_models=_limited([*others, of_model]))

    def without_model(self, tab: str, checkpoint: object) -> Presets:
        """Without what is remembered of a checkpoint."""
        others = tuple(one for one in self.of_models if (one.tab, one.checkpoint) != (tab, checkpoint))
        return replace(self, of_models=others)

    def with_file(self, file: Presets) -> tuple[Presets, list[Message]]:
        """With all of a file, and sentences of what came. Nothing is lost: a preset whose name another has gets a free
        one, and what is remembered of a checkpoint already stays. Raises InvalidRequest where they are too many."""
        both, added, renamed, kept = self, 0, list[str](), list[str]()
        for preset in file.named:
            there = both.preset(preset.tab, preset.name)
            if there is not None and there.fields == preset.fields:
                continue
            name = preset.name if there is None else _free_name(both, preset)
            both = both.with_preset(replace(preset, name=name))
            added += 1
            if there is not None:
                renamed.append(name)
        for of_model in file.of_models:
            model_there = both.of_model(of_model.tab, of_model.checkpoint)
            if model_there is None:
                both = both.with_model(of_model)
                added += 1
            elif model_there.fields != of_model.fields:
                kept.append(of_model.checkpoint)
        says = [Message("{count} came from the file.", count=added) if added else Message("The file has nothing new.")]
        if renamed:
            says.append(Message("Other presets have their names, so these are called {names}.", names=_names(renamed)))
        if kept:
            says.append(Message("What you have remembered of {names} stays.", names=_names(kept)))
        return both, says


def name_of(value: object) -> str:
    """The name of a preset, without needless spaces. Raises InvalidRequest."""
    if not isinstance(value, str) or len(value) > MAX_NAME:
        allowed = Message("text of at most {most} characters", most=f"{MAX_NAME:,}")
        raise InvalidRequest(Problem("name", quoted_value(value), allowed))
    name = " ".join(clean_text(value).split())
    if not name:
        raise InvalidRequest(Problem("name", Message("nothing"), Message("a name")))
    return name


def tab_of(value: object, field: str = "tab") -> str:
    """The name of a tab that makes pictures. Raises InvalidRequest."""
    if not isinstance(value, str) or value not in REQUEST_KINDS:
        raise InvalidRequest(Problem(field, quoted_value(value), _one_of_these(REQUEST_KINDS)))
    return value


def first_value(row: Row) -> object:
    """What a field has that nobody has filled in, where no checkpoint decides."""
    return "" if row.is_required or row.kind == "seed" else row.default


def rows_of_presets(tab: str) -> Mapping[str, Row]:
    """The fields of a tab that a preset holds: all but those with pictures."""
    return {name: row for name, row in REQUEST_KINDS[tab].rows().items() if row.kind not in ("file", "controls")}


def fields_of(tab: str, values: object, *, place: str = "") -> dict[str, object]:
    """Some fields of a tab, checked as a run of them would be. `place`: where they stand, for a problem's sentence.
    Raises InvalidRequest with the first problems."""
    if not isinstance(values, Mapping):
        raise InvalidRequest(Problem(place or "fields", quoted_value(values), Message("an object with fields")))
    kind, rows = REQUEST_KINDS[tab], rows_of_presets(tab)
    problems = [
        Problem(str(name)[:60], quoted_value(values[name]), Message("the fields {rows}", rows=", ".join(rows)))
        for name in values
        if name not in rows
    ]
    try:
        kind.parse({"prompt": ""} | {name: value for name, value in values.items() if name in rows})
    except InvalidRequest as error:
        problems += [problem for problem in error.problems if problem.field not in kind.files()]
    if problems:
        raise InvalidRequest(*(_at(problem, place) for problem in problems[:MAX_PROBLEMS]))
    read = {name: rows[name].read(value, []) for name, value in values.items()}
    return {name: _seed_text(value) if rows[name].kind == "seed" else value for name, value in read.items()}


def fields_of_page(tab: str, values: object) -> dict[str, object]:
    """The fields as the page has them. Gradio has a number field that was never filled in as 0: where the checkpoint
    decides, that is an open field. Raises InvalidRequest."""
    if not isinstance(values, Mapping):
        return fields_of(tab, values)
    rows = rows_of_presets(tab)
    opened = {name: (value or None) if name in rows and rows[name].suits else value for name, value in values.items()}
    return fields_of(tab, {name: value for name, value in opened.items() if name != "checkpoint" or value})


def fields_of_model(tab: str, fields: Mapping[str, object]) -> dict[str, object]:
    """Those that are remembered of a checkpoint: how it is sampled, not of what."""
    rows = rows_of_presets(tab)
    return {
        name: value
        for name, value in fields.items()
        if rows[name].place not in _OF_A_PICTURE and rows[name].kind != "text" and name != "num_images_per_prompt"
    }


# ------------------------------------------------------------------------------------------------------------- JSON


def to_json(presets: Presets) -> str:
    """The file of all presets of one person."""
    named = [{"name": one.name, "tab": one.tab, "fields": dict(one.fields)} for one in presets.named]
    models = [{"checkpoint": one.checkpoint, "tab": one.tab, "fields": dict(one.fields)} for one in presets.of_models]
    whole = {"format": FORMAT, "version": VERSION, "presets": named, "models": models}
    return json.dumps(whole, ensure_ascii=False, indent=1) + "\n"


def from_json(text: str, *, checked: bool = True) -> Presets:
    """The presets of a file. `checked`: each field is; a file of this studio's own may be of an older version, and what
    its fields do not allow any more is said when a preset is chosen. Raises InvalidRequest: a file is read whole or not
    at all."""
    try:
        whole = json.loads(text)
    except (ValueError, RecursionError):
        raise InvalidRequest(Problem("file", quoted_value(text[:40]), Message("JSON with presets"))) from None
    if not isinstance(whole, dict) or whole.get("format") != FORMAT:
        value = whole.get("format") if isinstance(whole, dict) else whole
        raise InvalidRequest(Problem("format", quoted_value(value), quoted_value(FORMAT)))
    version = whole.get("version")
    if type(version) is not int or not 1 <= version <= VERSION:
        allowed = Message("files of the versions 1 to {last}", last=VERSION)
        raise InvalidRequest(Problem("version", quoted_value(version), allowed))
    presets = Presets()
    for place, entry in _entries(whole, "presets"):
        tab, name = _tab_of_entry(entry, place), _text_of_entry(entry, "name", place, MAX_NAME)
        if presets.preset(tab, name) is not None:
            allowed = Message("a name that no other preset has")
            raise InvalidRequest(Problem(f"{place}.name", quoted_value(name), allowed))
        fields = _fields_of_entry(entry, tab, f"{place} {quoted_value(name)}", checked=checked)
        presets = presets.with_preset(Preset(name=name, tab=tab, fields=fields))
    for place, entry in _entries(whole, "models"):
        tab = _tab_of_entry(entry, place)
        checkpoint = _text_of_entry(entry, "checkpoint", place, MAX_NAME_CHARACTERS)
        fields = _fields_of_entry(entry, tab, f"{place} {quoted_value(checkpoint)}", checked=checked)
        fields = {name: value for name, value in fields.items() if name != "checkpoint"}
        presets = presets.with_model(ModelPreset(checkpoint=checkpoint, tab=tab, fields=fields))
    return presets


def _entries(whole: Mapping[str, object], key: str) -> Iterable[tuple[str, Mapping[str, object]]]:
    entries = whole.get(key, [])
    if not isinstance(entries, list) or len(entries) > MAX_PRESETS:
        value = Message("{count} entries", count=len(entries)) if isinstance(entries, list) else quoted_value(entries)
        raise InvalidRequest(Problem(key, value, Message("a list of at most {most} entries", most=MAX_PRESETS)))
    for number, entry in enumerate(entries):
        if not isinstance(entry, dict):
            raise InvalidRequest(Problem(f"{key}[{number}]", quoted_value(entry), Message("an object with fields")))
        yield f"{key}[{number}]", entry


def _tab_of_entry(entry: Mapping[str, object], place: str) -> str:
    return tab_of(entry.get("tab"), f"{place}.tab")


def _text_of_entry(entry: Mapping[str, object], key: str, place: str, most: int) -> str:
    value = entry.get(key)
    text = " ".join(clean_text(value).split()) if isinstance(value, str) else ""
    if not text or len(text) > most:
        allowed = Message("text of 1 to {most} characters", most=f"{most:,}")
        raise InvalidRequest(Problem(f"{place}.{key}", quoted_value(value), allowed))
    return text


def _fields_of_entry(entry: Mapping[str, object], tab: str, place: str, *, checked: bool) -> dict[str, object]:
    fields = entry.get("fields")
    if checked or not isinstance(fields, dict):
        return fields_of(tab, fields, place=place)
    return {name: value for name, value in fields.items() if name in rows_of_presets(tab)}


# ------------------------------------------------------------------------------------------------------------ links


def link_of(tab: str, fields: Mapping[str, object], suits: Suits) -> dict[str, str]:
    """The parameters of a link that reopens these fields on their tab: what differs from the defaults, which are
    those of the checkpoint where it has some. The checkpoint itself is always named."""
    query = {LINK: tab, "v": str(LINK_VERSION)}
    for name, row in rows_of_presets(tab).items():
        first = getattr(suits, name) if row.suits and not row.stays_open else first_value(row)
        value = fields.get(name, first)
        if name == "checkpoint" or (value is not None and value != first):
            query[name] = row.write(value)
    return query


def fields_of_link(query: Mapping[str, str]) -> tuple[str, dict[str, object]] | None:
    """The tab and the fields of a link; None where it is another. Parameters of others are passed over. Raises
    InvalidRequest for a link of a newer version, and for a value that is not allowed."""
    if LINK not in query:
        return None
    tab = tab_of(query[LINK], LINK)
    if query.get("v") not in [str(version) for version in range(1, LINK_VERSION + 1)]:
        allowed = Message("links of the versions 1 to {last}", last=LINK_VERSION)
        raise InvalidRequest(Problem("v", quoted_value(query.get("v")), allowed))
    rows = rows_of_presets(tab)
    return tab, fields_of(tab, {name: row.read_text(query[name]) for name, row in rows.items() if name in query})


# ---------------------------------------------------------------------------------------------------------- details


def _limited(entries: list[Entry]) -> tuple[Entry, ...]:
    if len(entries) > MAX_PRESETS:
        allowed = Message("at most {most} presets: delete one first", most=f"{MAX_PRESETS:,}")
        raise InvalidRequest(Problem("name", Message("one preset more"), allowed))
    return tuple(entries)


def _free_name(presets: Presets, preset: Preset) -> str:
    number = 2
    while presets.preset(preset.tab, name := f"{preset.name[: MAX_NAME - 6]} ({number})") is not None:
        number += 1
    return name


def _at(problem: Problem, place: str) -> Problem:
    if not place:
        return problem
    return replace(problem, field=Message("{field} in {place}", field=problem.field, place=place))


def _one_of_these(names: Iterable[str]) -> Message:
    shown = list(names)[:20]
    return Message("one of {choices}", choices=listed(shown)) if shown else Message("no preset: there are none yet")


def _names(names: list[str]) -> str:
    return ", ".join(names[:10]) + (", …" if len(names) > 10 else "")


def _seed_text(value: object) -> str:
    return "" if value is None else str(value)
