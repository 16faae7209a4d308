"""The models of this machine as the page may ask for them: what is there, what is loaded, what is to be done.

Implements `studio.answered.models.Models`. Imports no torch: the listing is there before PyTorch is.
Orders (load, unload) wait until no lane runs; meanwhile no new lane is admitted, so they do not wait longer than the
pictures under way take.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from studio.answered.engine import Refused
from studio.answered.models import (
    Conversion,
    Download,
    HubFile,
    MemoryUse,
    Model,
    ModelKind,
    ModelPlace,
    NoSuchModel,
    PredictionName,
)
from studio.asked.requests import InvalidRequest, Problem, clean_text, shown
from studio.checkpoints import thumbnail
from studio.checkpoints.catalog import Catalog, Entry, memory_folder
from studio.checkpoints.conversions import Conversions, target_of
from studio.checkpoints.download import Hub
from studio.checkpoints.hashes import Hasher
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.memo import Memo
from studio.checkpoints.options import ModelOptions
from studio.engine.device import Device, total_ram_bytes
from studio.families.base import PREDICTION_CHOICES

if TYPE_CHECKING:
    from studio.checkpoints.manager import ModelManager

logger = logging.getLogger(__name__)

MAX_NOTE_CHARACTERS = 2000


@dataclass(frozen=True)
class Order:
    """Something to do on the engine's thread while no lane runs."""

    entry: Entry
    load: bool


class Shelf:
    """See `studio.answered.models.Models`."""

    def __init__(
        self,
        models_dirs: Sequence[Path],
        options: ModelOptions | None = None,
        *,
        busy: Callable[[], bool] = lambda: False,
        wake: Callable[[], None] = lambda: None,
    ) -> None:
        """`busy`: whether jobs run, so that hashing waits; `wake`: an order is there."""
        self.options = options or ModelOptions()
        self.catalog = Catalog(models_dirs)
        folder = memory_folder(self.catalog.models_dirs)
        self.hasher = Hasher(Memo(folder / "hashes.json" if folder else None), busy)
        own = self.catalog.models_dirs[0] if self.catalog.models_dirs else Path("models")
        self._hub = Hub(own, arrived=lambda: self.catalog.entries(refresh=True))
        self._conversions = Conversions(arrived=lambda: self.catalog.entries(refresh=True))
        self._wake = wake
        self._orders: deque[Order] = deque()
        self._lock = threading.Lock()
        self._message = ""
        self._device: Device | None = None
        self._manager: ModelManager | None = None

    # ------------------------------------------------------------------------------------------- for the page

    def found(self, *, refresh: bool = False) -> tuple[Model, ...]:
        """See `Models.found`."""
        entries = self.catalog.entries(refresh=refresh)
        self.hasher.want(entries)
        places = self._manager.snapshot()[0] if self._manager is not None else {}
        keys = {entry.found.key for entry in entries}
        return tuple(self._model(entry, places, keys) for entry in entries)

    def load(self, model_id: str) -> None:
        """See `Models.load`."""
        entry = self._entry(model_id)
        if not entry.usable:
            raise Refused(entry.problem or entry.facts.reason or "Only a checkpoint can be loaded.")
        self._order(Order(entry, load=True))

    def unload(self, model_id: str) -> None:
        """See `Models.unload`."""
        self._order(Order(self._entry(model_id), load=False))

    def memory(self) -> MemoryUse:
        """See `Models.memory`."""
        device, manager = self._device, self._manager
        if device is None or manager is None:
            return MemoryUse(ram_total=total_ram_bytes())
        _, on_device, in_ram = manager.snapshot()
        ram = {
            "device_label": device.label,
            "ram_models": in_ram,
            "ram_limit": manager.ram_limit,
            "ram_free": device.free_ram_bytes(),
            "ram_total": total_ram_bytes(),
        }
        if device.is_cpu:
            return MemoryUse(**ram)  # type: ignore[arg-type]
        return MemoryUse(
            **ram,  # type: ignore[arg-type]
            device_models=on_device,
            device_limit=manager.device_limit,
            device_free=device.free_bytes(),
            device_total=device.total_bytes(),
        )

    def message(self) -> str:
        """See `Models.message`."""
        return self._message

    def annotate(self, model_id: str, note: str) -> None:
        """See `Models.annotate`."""
        if not isinstance(note, str) or note != clean_text(note) or len(note) > MAX_NOTE_CHARACTERS:
            allowed = f"text of at most {MAX_NOTE_CHARACTERS:,} characters, without control characters"
            raise InvalidRequest(Problem("note", shown(note), allowed))
        self.catalog.remember(self._entry(model_id), note=note)

    def correct(self, model_id: str, prediction_type: PredictionName | None) -> None:
        """See `Models.correct`. A loaded checkpoint is let go, so that the next use loads it anew."""
        if prediction_type is not None and prediction_type not in PREDICTION_CHOICES:
            allowed = f"one of {', '.join(PREDICTION_CHOICES)}"
            raise InvalidRequest(Problem("prediction_type", shown(prediction_type), allowed))
        entry = self._entry(model_id)
        if entry.facts.kind != "checkpoint":
            raise InvalidRequest(Problem("model", shown(entry.name), "a checkpoint"))
        self.catalog.remember(entry, prediction_type=prediction_type)
        if self._manager is not None and entry.id in self._manager.snapshot()[0]:
            self._order(Order(entry, load=False))

    def choose_vae(self, model_id: str, source_id: str | None) -> None:
        """See `Models.choose_vae`."""
        entry = self._entry(model_id)
        if entry.facts.kind != "checkpoint" or entry.built_in:
            raise InvalidRequest(Problem("model", shown(entry.name), "a checkpoint other than the built-in one"))
        source = self._entry(source_id) if source_id else None
        if source is not None and (source.id == entry.id or entry.facts.family not in source.lends_vae_to):
            allowed = f"a VAE made for {entry.facts.family}, or another checkpoint that holds one"
            raise InvalidRequest(Problem("vae", shown(source.name), allowed))
        place = self._manager.snapshot()[0].get(entry.id) if self._manager is not None else None
        self.catalog.choose_vae(entry, source)
        if place is not None:
            self._order(Order(entry, load=False))
        if place == "device" and self._entry(model_id).usable:
            self._order(Order(entry, load=True))

    def convert(self, model_id: str) -> None:
        """See `Models.convert`."""
        entry = self._entry(model_id)
        if not entry.facts.convertible:
            raise Refused("Only a pickle can be converted.")
        self._conversions.add(entry)

    def conversions(self) -> tuple[Conversion, ...]:
        """See `Models.conversions`."""
        return self._conversions.shown()

    def picture(self, model_id: str) -> bytes | None:
        """See `Models.picture`."""
        entry = self.catalog.entry(model_id)
        return thumbnail.of(entry) if entry is not None else None

    def repository(self, repository: str, *, revision: str = "main", token: str | None = None) -> tuple[HubFile, ...]:
        """See `Models.repository`."""
        return self._hub.repository(repository, revision=revision, token=token)

    def download(
        self,
        repository: str,
        files: tuple[str, ...],
        *,
        kind: ModelKind = "checkpoint",
        revision: str = "main",
        token: str | None = None,
    ) -> str:
        """See `Models.download`."""
        return self._hub.download(repository, files, kind=kind, revision=revision, token=token)

    def downloads(self) -> tuple[Download, ...]:
        """See `Models.downloads`."""
        return self._hub.downloads()

    def cancel_download(self, download_id: str) -> None:
        """See `Models.cancel_download`."""
        self._hub.cancel(download_id)

    # ------------------------------------------------------------------------------------------ for the engine

    def attach(self, device: Device, manager: ModelManager) -> None:
        """The engine's thread has its device; from now on orders are carried out and places known."""
        self._device, self._manager = device, manager

    @property
    def has_orders(self) -> bool:
        """Whether something waits for the lanes to end."""
        return bool(self._orders)

    def carry_out(self, load: Callable[[str], object]) -> None:
        """Do what was ordered, now that no lane runs. `load` makes a checkpoint the hot one."""
        from studio.checkpoints.device_memory import DoesNotFit

        assert self._manager is not None
        while self._orders:
            order = self._orders[0]
            try:
                if order.load:
                    load(order.entry.name)
                elif order.entry.facts.kind == "controlnet":
                    self._manager.leave(order.entry.id)
                else:
                    self._manager.unload(order.entry.name)
                self._message = ""
            except (BadCheckpoint, DoesNotFit) as error:
                self._message = str(error)
            finally:
                self._orders.popleft()

    def close(self) -> None:
        """Let go of threads and of the loaded models."""
        self.hasher.close()
        self._hub.close()
        self._conversions.close()
        self._manager = None

    # ------------------------------------------------------------------------------------------------- inside

    def _order(self, order: Order) -> None:
        with self._lock:
            if order not in self._orders:
                self._orders.append(order)
        self._wake()

    def _entry(self, model_id: str) -> Entry:
        entry = self.catalog.entry(model_id)
        if entry is None:
            raise NoSuchModel("This model is not in the models folders any more.")
        return entry

    def _model(self, entry: Entry, places: dict[str, ModelPlace], keys: set[str]) -> Model:
        facts = entry.facts
        corrected = self.catalog.correction(entry)
        hashes = self.hasher.both(entry)
        return Model(
            id=entry.id,
            kind=facts.kind,
            name=entry.name,
            label=entry.checkpoint.label,
            where=entry.found.where,
            state="incomplete" if entry.problem else facts.state,
            reason=entry.problem or facts.reason,
            family=facts.family,
            form=facts.form,
            precision=facts.precision,
            parts=facts.parts,
            prediction_type=corrected or facts.prediction_type,
            prediction_corrected=corrected is not None,
            native_width=facts.native_width,
            native_height=facts.native_height,
            size_bytes=entry.found.size,
            built_in=entry.built_in,
            sha256=hashes.sha256 if hashes is not None else None,
            short_hash=hashes.short or None if hashes is not None else None,
            note=self.catalog.note(entry) or facts.note,
            place=places.get(entry.id, "disk"),
            has_picture=facts.has_picture or bool(entry.found.picture),
            origin=self._hub.origin(entry.found.key, entry.found.size),
            metadata=facts.metadata,
            convertible=facts.convertible and target_of(entry.path).as_posix() not in keys,
            vae=entry.vae.id if entry.vae is not None else "",
            lends_vae_to=entry.lends_vae_to,
        )
