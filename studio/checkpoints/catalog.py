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

from studio.answered.models import Checkpoint
from studio.asked.names import composed, short_names
from studio.asked.orders import PredictionName
from studio.checkpoints import facts
from studio.checkpoints.facts import Facts
from studio.checkpoints.folders import Found, now, walk
from studio.checkpoints.memo import FOLDER, Memo
from studio.families.base import PREDICTION_CHOICES
from studio.families.registry import same_latents

BUILT_IN = "small-world-128"
LISTING_VERSION = 9  # of the facts; a number higher when `inspect` tells more than it did
SECONDS = 5.0  # the folders are walked anew after this, when somebody asks
NO_VAE = "There is no VAE with it: choose one for it."
VAE_GONE = "The VAE that was chosen for it is not in the models folders any more: choose another."
_ORDER = {"checkpoint": 0, "vae": 1, "lora": 2, "embedding": 3, "preview_decoder": 4, "controlnet": 5, None: 6}


@dataclass(frozen=True)
class Entry:
    """One line of the listing with the place it stands for; the path never leaves the engine."""

    id: str
    name: str
    found: Found
    facts: Facts
    checkpoint: Checkpoint  # as the page sees it; a request may ask for it where `usable`
    vae: Entry | None = None  # whose VAE was chosen for it, where that is not its own
    problem: str = ""  # why a checkpoint whose file is as it should be cannot be run, one sentence

    @property
    def path(self) -> Path:
        return self.found.path

    @property
    def called(self) -> tuple[str, ...]:
        """What it is called with all its folders from the models folder on, without and with its file's ending."""
        return _called(self.found)

    @property
    def usable(self) -> bool:
        """Whether it is a checkpoint that can be run."""
        return self.facts.kind == "checkpoint" and self.facts.state == "usable" and not self.problem

    @property
    def built_in(self) -> bool:
        return _is_built_in(self.found)

    def controls(self, checkpoint: Entry) -> bool:
        """Whether it is a ControlNet that this checkpoint can have. What lies in a checkpoint's own folder is for that
        one alone, and the built-in one, whose U-Net has no other's shapes, has only what lies in its folder."""
        if self.facts.kind != "controlnet" or self.facts.state != "usable":
            return False
        if self.found.owner or checkpoint.built_in:
            return self.found.owner == checkpoint.found.key
        return self.facts.family == checkpoint.facts.family

    @property
    def identity(self) -> Hashable:
        """What changes when the file or one of the folder's weights changes or is replaced."""
        return self.found.key, self.found.size, self.found.mtime_ns, self.found.changed_ns

    @property
    def made_of(self) -> Hashable:
        """What changes when anything does that its components are made of: its own weights, or the chosen VAE's."""
        return self.identity, self.vae.identity if self.vae is not None else None

    @property
    def lends_vae_to(self) -> tuple[str, ...]:
        """Families that could run with the VAE in it; with the built-in one's, whose latents are its own, none."""
        has = self.facts.kind == "vae" or (self.facts.kind == "checkpoint" and "VAE" in self.facts.parts)
        if not has or self.facts.state != "usable" or self.built_in:
            return ()
        return same_latents(self.facts.family)


class Catalog:
    """What lies in the models folders. Safe for several threads; the first one that asks waits for the headers."""

    def __init__(
        self,
        models_dirs: Sequence[Path],
        *,
        read: Callable[[Found], Facts] = facts.read,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        """What is remembered lies in `.latent-studio` of the first models folder."""
        self._models_dirs = tuple(Path(d) for d in models_dirs)
        self._read = read
        self._clock = clock
        self._lock = threading.Lock()
        self._entries: tuple[Entry, ...] = ()
        self._walked: float | None = None
        self._told: dict[str, tuple[tuple[object, ...], Facts]] = {}  # by key: what the file was, what it said
        folder = memory_folder(self._models_dirs)
        self._listing = Memo(folder / "listing.json" if folder else None, LISTING_VERSION)
        self._notes = Memo(folder / "notes.json" if folder else None)

    @property
    def models_dirs(self) -> tuple[Path, ...]:
        """The models folders, our own first."""
        return self._models_dirs

    def entries(self, *, refresh: bool = False) -> tuple[Entry, ...]:
        """Everything found, checkpoints first and the built-in one before all. Walks at most every SECONDS seconds,
        or now with `refresh`."""
        with self._lock:
            if refresh or self._walked is None or self._clock() - self._walked >= SECONDS:
                self._entries = self._scan()
                self._walked = self._clock()
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
            listed = next((e for e in self.entries(refresh=refresh) if e.id == entry.id), None)
            if listed is not None and self.as_on_disk(listed):
                return listed
        return listed

    def as_on_disk(self, entry: Entry) -> bool:
        """Whether the file of a line, and that of the VAE chosen for it, are as they were listed. Walks no folder."""
        chosen = (self._notes.get(entry.found.key) or {}).get("vae")
        if entry.vae is not None and entry.vae.found.key != chosen:
            return False
        files = [entry.found] if entry.vae is None else [entry.found, entry.vae.found]
        return all(now(found, self._models_dirs) == found for found in files)

    def note(self, entry: Entry) -> str:
        """What the owner wrote about it."""
        return str((self._notes.get(entry.found.key) or {}).get("note", ""))

    def correction(self, entry: Entry) -> PredictionName | None:
        """The prediction type the owner has put right."""
        kept = (self._notes.get(entry.found.key) or {}).get("prediction_type")
        return kept if kept in PREDICTION_CHOICES else None

    def choose_vae(self, entry: Entry, source: Entry | None) -> None:
        """Remember whose VAE a checkpoint runs with; None: its own."""
        self.remember(entry, vae=source.found.key if source is not None else None)
        self.entries(refresh=True)

    def remember(self, entry: Entry, **changes: str | None) -> None:
        """Keep a `note`, a `prediction_type` or a `vae` (the key of a file); None or "" forgets it."""
        kept = {k: v for k, v in {**(self._notes.get(entry.found.key) or {}), **changes}.items() if v}
        self._notes.update({entry.found.key: kept or None})

    def _scan(self) -> tuple[Entry, ...]:
        lines: list[tuple[Found, Facts]] = []
        new: dict[str, object] = {}
        for found in walk(self._models_dirs, BUILT_IN):
            stamp = (found.size, found.mtime_ns, found.changed_ns, found.outside, found.kind)
            told = self._known(found.key, stamp)
            if told is None:
                told = self._read(found)
                new[found.key] = {"stamp": list(stamp), "facts": told.as_json()}
            self._told[found.key] = stamp, told
            lines.append((found, told))
        gone = frozenset(self._listing.keys() - {found.key for found, _ in lines})
        self._listing.update(new, drop=gone)
        lines.sort(key=lambda line: _ORDER[line[1].kind])  # stable: the walk's order within a kind
        names = _names(lines)
        entries = [self._entry(found, told, name) for (found, told), name in zip(lines, names)]
        by_key = {entry.found.key: entry for entry in entries}
        return tuple(self._with_vae(entry, by_key) for entry in entries)

    def _with_vae(self, entry: Entry, by_key: Mapping[str, Entry]) -> Entry:
        """A checkpoint with the VAE that was chosen for it, or with what it lacks."""
        if entry.facts.kind != "checkpoint" or entry.facts.state != "usable":
            return entry
        chosen = (self._notes.get(entry.found.key) or {}).get("vae")
        if chosen is None:
            return replace(entry, problem=NO_VAE) if entry.facts.needs_vae else entry
        source = by_key.get(chosen)
        if source is None or entry.facts.family not in source.lends_vae_to:
            return replace(entry, problem=VAE_GONE)
        return replace(entry, vae=source)

    def _known(self, key: str, stamp: tuple[object, ...]) -> Facts | None:
        """The facts of a file that has not changed since they were read."""
        now = self._told.get(key)
        if now is not None and now[0] == stamp:
            return now[1]
        kept = self._listing.get(key)
        try:
            return Facts.from_json(kept["facts"]) if kept is not None and kept["stamp"] == list(stamp) else None
        except (KeyError, TypeError):  # written by hand, or by another studio
            return None

    def _entry(self, found: Found, told: Facts, name: str) -> Entry:
        label = told.label or name
        if "/" in name and told.label:  # another file has the same short name, and may have the same title
            label = f"{told.label} ({name})"
        checkpoint = Checkpoint(
            name=name,
            label=label,
            family=told.family,
            native_width=told.native_width or 512,
            native_height=told.native_height or 512,
            size_bytes=found.size,
            built_in=_is_built_in(found),
            num_inference_steps=told.num_inference_steps,
            guidance_scale=told.guidance_scale,
            scheduler=told.scheduler,
            noise_schedule=told.noise_schedule,
            examples=told.examples,
            words=told.words,
            vocabulary=told.vocabulary,
            note=told.note,
        )
        return Entry(_id(found), name, found, told, checkpoint)


def memory_folder(models_dirs: Sequence[Path]) -> Path | None:
    """Where the studio remembers what it found out about models; None where there is no models folder."""
    return Path(models_dirs[0]) / FOLDER if models_dirs and Path(models_dirs[0]).is_dir() else None


def _id(found: Found) -> str:
    return hashlib.sha256(found.key.encode("utf-8", "surrogateescape")).hexdigest()[:16]


def _called(found: Found) -> tuple[str, ...]:
    name = found.path.name if found.is_folder else found.path.stem
    paths = (f"{found.where}/{name}", *([] if found.is_folder else [f"{found.where}/{found.path.name}"]))
    return tuple(_HUB_CACHE.sub(r"\1/\2", path) for path in paths)


# The hub's own cache calls a model by the hash of its commit; people call it owner/name.
_HUB_CACHE = re.compile(r"models--([^/]+?)--([^/]+)/snapshots/[0-9a-f]{7,64}(?=/|$)")


def _names(lines: Sequence[tuple[Found, Facts]]) -> list[str]:
    """A name for every line that no other of its kind has. Files that can be used have the shorter ones; the built-in
    checkpoint has its own whatever lies beside it."""
    built_in = next((found for found, _ in lines if _is_built_in(found)), None)
    groups: dict[tuple[str | None, bool], list[int]] = {}
    for index, (found, told) in enumerate(lines):
        if found is not built_in:
            groups.setdefault((told.kind, told.state == "usable"), []).append(index)
    names = [BUILT_IN] * len(lines)
    for (kind, usable), members in groups.items():
        rivals = [] if usable else groups.get((kind, True), [])
        around = [lines[k][0] for k in (*members, *rivals)]
        if kind == "checkpoint" and built_in is not None:
            around.append(built_in)
        chosen = short_names(around, lambda f: _called(f)[0], lambda f: "" if f.is_folder else f.path.suffix)
        for index, name in zip(members, chosen):
            found = lines[index][0]  # the same path in two models folders of one name
            names[index] = name or f"{composed(found.path.stem)} ({_id(found)[:6]})"
    return names


def _is_built_in(found: Found) -> bool:
    return found.is_folder and found.path.name == BUILT_IN and found.path.parent == found.root
