"""The listing of the models folders: every file's facts, read once and kept until it changes; names; notes.

Reads headers and small JSON of new and changed files only, so a second listing opens no file. No torch.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Callable, Hashable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from studio.answered.model_facts import VAE, VAE_KINDS, ModelFacts
from studio.answered.models import Checkpoint
from studio.asked.messages import Message, sentences
from studio.asked.names import compose, short_names
from studio.asked.orders import PredictionName
from studio.checkpoints.facts import defaults
from studio.checkpoints.facts import read as read_facts
from studio.checkpoints.folders import ModelFile, now, walk
from studio.checkpoints.memo import FOLDER, Memo
from studio.families.base import PREDICTION_CHOICES
from studio.families.flow import is_shift
from studio.families.registry import adapters_for, same_latents

BUILT_IN = "small-world-128"
LISTING_VERSION = 14  # of the facts; a number higher when a header tells more than it did
SECONDS = 5.0  # older than this, a listing is made anew when it is asked for
NO_VAE = Message("There is no VAE with it: choose one for it.")
VAE_MISSING = Message("The VAE that was chosen for it is not in the models folders any more: choose another.")
NO_ENCODER = Message("Its U-Net is shown a picture, and its VAE has no encoder: choose another VAE for it.")
_KINDS = ("checkpoint", "vae", "lora", "embedding", "preview_decoder", "controlnet", "safety_checker", "upscaler", None)
_ORDER = {kind: place for place, kind in enumerate(_KINDS)}


@dataclass(frozen=True)
class Entry:
    """One line of the listing with the place it stands for; the path never leaves the engine."""

    id: str
    name: str
    file: ModelFile
    facts: ModelFacts
    checkpoint: Checkpoint  # as the page sees it; a request may ask for it where `usable`
    vae: Entry | None = None  # whose VAE was chosen for it, where that is not its own
    problem: str = ""  # why a checkpoint whose file is as it should be cannot be run, one sentence

    @property
    def path(self) -> Path:
        return self.file.path

    @property
    def names(self) -> tuple[str, ...]:
        """What it is called with all its folders from the models folder on, without and with its file's ending."""
        return _full_names(self.file)

    @property
    def usable(self) -> bool:
        """Whether it is a checkpoint that can be run."""
        return self.facts.kind == "checkpoint" and self.facts.state == "usable" and not self.problem

    @property
    def built_in(self) -> bool:
        return _is_built_in(self.file)

    @property
    def encodes_pictures(self) -> bool:
        """Whether the VAE it runs with has an encoder, so that a run can begin with a picture."""
        return (self.vae or self).facts.vae_has_encoder

    def controls(self, checkpoint: Entry) -> bool:
        """Whether it is a ControlNet that this checkpoint can have. What lies in a checkpoint's own folder is for that
        one alone, and the built-in one, whose U-Net has no other's shapes, has only what lies in its folder."""
        if self.facts.kind != "controlnet" or self.facts.state != "usable":
            return False
        if self.file.owner or checkpoint.built_in:
            return self.file.owner == checkpoint.file.key
        return self.facts.family in adapters_for(checkpoint.facts.family)

    def fits_vae_of(self, checkpoint: Entry) -> bool:
        """Whether it is a VAE on its own, or a tiny autoencoder, that a run of this checkpoint could have."""
        fits = self.facts.kind in VAE_KINDS and checkpoint.facts.family in self.lends_vae_to
        return fits and not checkpoint.built_in

    def may_replace_vae_of(self, checkpoint: Entry) -> bool:
        """Whether the owner may choose the VAE in it for a checkpoint. A tiny autoencoder is a run's choice alone."""
        is_whole = self.id != checkpoint.id and self.facts.kind != "preview_decoder"
        return is_whole and checkpoint.facts.family in self.lends_vae_to

    @property
    def identity(self) -> Hashable:
        """What changes when the file or one of the folder's weights changes or is replaced."""
        return self.file.key, self.file.size, self.file.mtime_ns, self.file.changed_ns

    @property
    def components_identity(self) -> Hashable:
        """What changes when anything does that its components are made of: its own weights, or the chosen VAE's."""
        return self.identity, self.vae.identity if self.vae is not None else None

    @property
    def lends_vae_to(self) -> tuple[str, ...]:
        """Families that could run with the VAE in it; with the built-in one's, whose latents are its own, none."""
        has = self.facts.kind in VAE_KINDS or (self.facts.kind == "checkpoint" and VAE in self.facts.parts)
        if not has or self.facts.state != "usable" or self.built_in:
            return ()
        return same_latents(self.facts.family)


class Catalog:
    """What lies in the models folders. Safe for several threads; the first one that asks waits for the headers."""

    def __init__(
        self,
        models_dirs: Sequence[Path],
        *,
        read: Callable[[ModelFile], ModelFacts] = read_facts,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What is remembered lies in `.latent-studio` of the first models folder."""
        self._models_dirs = tuple(Path(d) for d in models_dirs)
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: tuple[Entry, ...] = ()
        self._last_walk: float | None = None
        self._facts: dict[str, tuple[tuple[object, ...], ModelFacts]] = {}  # by key: what the file was, what it said
        folder = memory_folder(self._models_dirs)
        self._listing = Memo(folder / "listing.json" if folder else None, LISTING_VERSION)
        self._notes = Memo(folder / "notes.json" if folder else None)
        self._measurements = Memo(folder / "measured.json" if folder else None)  # by sha256

    @property
    def models_dirs(self) -> tuple[Path, ...]:
        """The models folders, our own first."""
        return self._models_dirs

    def entries(self, *, refresh: bool = False) -> tuple[Entry, ...]:
        """Everything found, checkpoints first and the built-in one before all. Walks at most every SECONDS seconds,
        or now with `refresh`."""
        with self._lock:
            if refresh or self._last_walk is None or self._clock() - self._last_walk >= SECONDS:
                self._entries = self._scan()
                self._last_walk = self._clock()
            return self._entries

    def checkpoints(self) -> Mapping[str, Entry]:
        """Every usable checkpoint by the name a request calls it."""
        return {entry.name: entry for entry in self.entries() if entry.usable}

    def entry(self, model_id: str) -> Entry | None:
        """The line with this id."""
        return next((entry for entry in self.entries() if entry.id == model_id), None)

    def latest(self, entry: Entry) -> Entry | None:
        """The line of the same file as it is on disk at this moment, with the VAE that is chosen for it now; None when
        the file is gone. Walks the folders only where one of them has changed since the last walk."""
        for refresh in (False, True):
            newest = next((e for e in self.entries(refresh=refresh) if e.id == entry.id), None)
            if newest is not None and self.as_on_disk(newest):
                return newest
        return newest

    def as_on_disk(self, entry: Entry) -> bool:
        """Whether the file of a line, and that of the VAE chosen for it, are as they were listed. Walks no folder."""
        vae = (self._notes.get(entry.file.key) or {}).get("vae")
        if entry.vae is not None and entry.vae.file.key != vae:
            return False
        files = [entry.file] if entry.vae is None else [entry.file, entry.vae.file]
        return all(now(file, self._models_dirs) == file for file in files)

    def note(self, entry: Entry) -> str:
        """What the owner wrote about it."""
        return str((self._notes.get(entry.file.key) or {}).get("note", ""))

    def correction(self, entry: Entry) -> PredictionName | None:
        """The prediction type the owner has put right."""
        return self._owners_prediction_type(entry.file)

    def _owners_prediction_type(self, file: ModelFile) -> PredictionName | None:
        stored = (self._notes.get(file.key) or {}).get("prediction_type")
        return stored if stored in PREDICTION_CHOICES else None

    def shift(self, entry: Entry) -> float | None:
        """The shift that the owner has chosen for a rectified flow."""
        shift = (self._notes.get(entry.file.key) or {}).get("shift")
        return float(shift) if shift is not None and is_shift(shift) else None

    def choose_vae(self, entry: Entry, source: Entry | None) -> None:
        """Remember whose VAE a checkpoint runs with; None: its own."""
        self.remember(entry, vae=source.file.key if source is not None else None)
        self.entries(refresh=True)

    def remember(self, entry: Entry, **changes: str | float | None) -> None:
        """Keep a `note`, a `prediction_type`, a `shift` or a `vae` (the key of a file); None or "" forgets it."""
        values = {k: v for k, v in {**(self._notes.get(entry.file.key) or {}), **changes}.items() if v}
        self._notes.update({entry.file.key: values or None})

    def measured_prediction(self, entry: Entry, sha256: str | None = None) -> str | None:
        """What an earlier load has measured that this very file predicts (`Components.measurement`): by its content
        where `sha256` is known, wherever a file of this content lay then; else by size and time."""
        if sha256 is not None:
            by_content = self._measurements.get(sha256)
            return by_content if isinstance(by_content, str) else None
        text = str((self._notes.get(entry.file.key) or {}).get("measured", ""))
        stamp, _, prediction = text.partition(" ")
        return prediction if stamp == _stamp(entry.file) and prediction else None

    def remember_prediction(self, entry: Entry, prediction: str | None, sha256: str | None = None) -> None:
        """Keep it, if it was measured: for good of this content, or as long as the file stays as it is."""
        if prediction is None:
            return
        if sha256 is not None:
            self._measurements.update({sha256: prediction})
            return
        self.remember(entry, measured=f"{_stamp(entry.file)} {prediction}")

    def _scan(self) -> tuple[Entry, ...]:
        lines: list[tuple[ModelFile, ModelFacts]] = []
        new: dict[str, object] = {}
        for file in walk(self._models_dirs, BUILT_IN):
            stamp = (file.size, file.mtime_ns, file.changed_ns, file.outside, file.kind)
            facts = self._stored_facts(file.key, stamp)
            if facts is None:
                facts = self._read(file)
                new[file.key] = {"stamp": list(stamp), "facts": facts.as_json()}
            self._facts[file.key] = stamp, facts
            if file.owner and facts.kind == "lora":  # a checkpoint's own one is of its family, whatever its shapes
                facts = replace(facts, family=self._facts[file.owner][1].family, reason="")
            lines.append((file, facts))
        missing_keys = frozenset(self._listing.keys() - {file.key for file, _ in lines})
        self._listing.update(new, drop=missing_keys)
        lines.sort(key=lambda line: _ORDER[line[1].kind])  # stable: the walk's order within a kind
        names = _names(lines)
        entries = [self._entry(file, facts, name) for (file, facts), name in zip(lines, names)]
        by_key = {entry.file.key: entry for entry in entries}
        return tuple(self._with_vae(entry, by_key) for entry in entries)

    def _with_vae(self, entry: Entry, by_key: Mapping[str, Entry]) -> Entry:
        """A checkpoint with the VAE that was chosen for it, or with what it lacks."""
        if entry.facts.kind != "checkpoint" or entry.facts.state != "usable":
            return entry
        vae = (self._notes.get(entry.file.key) or {}).get("vae")
        if vae is None:
            return replace(entry, problem=NO_VAE) if VAE not in entry.facts.parts else _with_encoder(entry)
        source = by_key.get(vae)
        if source is None or entry.facts.family not in source.lends_vae_to:
            return replace(entry, problem=VAE_MISSING)
        return _with_encoder(replace(entry, vae=source))

    def _stored_facts(self, key: str, stamp: tuple[object, ...]) -> ModelFacts | None:
        """The facts of a file that has not changed since they were read."""
        now = self._facts.get(key)
        if now is not None and now[0] == stamp:
            return now[1]
        line = self._listing.get(key)
        try:
            return ModelFacts.from_json(line["facts"]) if line is not None and line["stamp"] == list(stamp) else None
        except (KeyError, TypeError):  # written by hand, or by another studio
            return None

    def _entry(self, file: ModelFile, facts: ModelFacts, name: str) -> Entry:
        title = facts.title[:120] if facts.kind == "checkpoint" else ""
        label = title or name
        if "/" in name and title:  # another file has the same short name, and may have the same title
            label = f"{title} ({name})"
        suits = defaults(facts, self._owners_prediction_type(file))
        checkpoint = Checkpoint(
            name=name,
            label=label,
            family=facts.family,
            native_width=facts.native_width or 512,
            native_height=facts.native_height or 512,
            size_bytes=file.size,
            built_in=_is_built_in(file),
            num_inference_steps=suits.num_inference_steps,
            guidance_scale=suits.guidance_scale,
            scheduler=suits.scheduler,
            noise_schedule=suits.noise_schedule,
            examples=facts.examples,
            words=facts.words,
            vocabulary=facts.vocabulary,
            note=sentences(facts.notes),
        )
        return Entry(_id(file), name, file, facts, checkpoint)


def memory_folder(models_dirs: Sequence[Path]) -> Path | None:
    """Where the studio remembers what it found out about models; None where there is no models folder."""
    return Path(models_dirs[0]) / FOLDER if models_dirs and Path(models_dirs[0]).is_dir() else None


def _with_encoder(entry: Entry) -> Entry:
    """A checkpoint, or what is the matter where it needs an encoder that its VAE lacks."""
    lacks = entry.facts.inpainting and not entry.encodes_pictures
    return replace(entry, problem=NO_ENCODER) if lacks else entry


def _stamp(file: ModelFile) -> str:
    return f"{file.size}:{file.mtime_ns}"


def _id(file: ModelFile) -> str:
    return hashlib.sha256(file.key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _full_names(file: ModelFile) -> tuple[str, ...]:
    name = file.path.name if file.is_folder else file.path.stem
    paths = (f"{file.where}/{name}", *([] if file.is_folder else [f"{file.where}/{file.path.name}"]))
    return tuple(_HUB_CACHE.sub(r"\1/\2", path) for path in paths)


# The hub's own cache calls a model by the hash of its commit; people call it owner/name.
_HUB_CACHE = re.compile(r"models--([^/]+?)--([^/]+)/snapshots/[0-9a-f]{7,64}(?=/|$)")


def _names(lines: Sequence[tuple[ModelFile, ModelFacts]]) -> list[str]:
    """A name for every line that no other of its kind has. Files that can be used have the shorter ones; the built-in
    checkpoint has its own whatever lies beside it."""
    built_in = next((file for file, _ in lines if _is_built_in(file)), None)
    groups: dict[tuple[str | None, bool], list[int]] = {}
    for index, (file, facts) in enumerate(lines):
        if file is not built_in:
            groups.setdefault((facts.kind, facts.state == "usable"), []).append(index)
    names = [BUILT_IN] * len(lines)
    for (kind, usable), members in groups.items():
        rivals = [] if usable else groups.get((kind, True), [])
        around = [lines[k][0] for k in (*members, *rivals)]
        if kind == "checkpoint" and built_in is not None:
            around.append(built_in)
        short = short_names(around, lambda f: _full_names(f)[0], lambda f: "" if f.is_folder else f.path.suffix)
        for index, name in zip(members, short):
            file = lines[index][0]  # the same path in two models folders of one name
            names[index] = name or Message("{compose} ({id})", compose=compose(file.path.stem), id=_id(file)[:6])
    return names


def _is_built_in(file: ModelFile) -> bool:
    return file.is_folder and file.path.name == BUILT_IN and file.path.parent == file.root
