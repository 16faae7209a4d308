"""The models of this machine as the page may ask for them: what is there, what is loaded, what is to be done.

Imports no torch: the listing is there before PyTorch is.
Orders (load, unload) wait until no lane runs; meanwhile no new lane is admitted, so they do not wait longer than the
pictures under way take.
"""

from __future__ import annotations

import logging
import threading
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from studio.answered.engine import Refused
from studio.answered.ids import HERE, name_in, of_engine
from studio.answered.model_facts import VAE_KINDS
from studio.answered.models import (
    Checkpoint,
    Conversion,
    Download,
    HubFile,
    MemoryUse,
    Merge,
    Model,
    ModelPlace,
    ModelsNow,
    NoSuchModel,
)
from studio.asked import orders
from studio.asked.messages import Message, sentences
from studio.asked.orders import ModelKind, PredictionName
from studio.asked.problems import InvalidRequest, Problem, clean_text, quoted_value
from studio.checkpoints import thumbnail
from studio.checkpoints.catalog import Catalog, Entry, memory_folder
from studio.checkpoints.conversions import Conversions, target_of
from studio.checkpoints.download import Hub
from studio.checkpoints.download_queue import DownloadQueue
from studio.checkpoints.hashes import Hasher
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.links import Links
from studio.checkpoints.memo import Memo
from studio.checkpoints.merges import Merges
from studio.checkpoints.options import ModelOptions
from studio.checkpoints.sidecars import Sidecar, Sidecars, words_of
from studio.engine.device import Device, total_ram_bytes
from studio.engine.models_in_memory import memory_of, places_and_precisions, with_precision
from studio.engine.offers import offered
from studio.families.base import PREDICTION_CHOICES
from studio.families.flow import SHIFT, SHIFTS, is_shift
from studio.families.registry import label_of

if TYPE_CHECKING:
    from studio.checkpoints.manager import ModelManager

logger = logging.getLogger(__name__)

MAX_NOTE_CHARACTERS = 2000
RUN_BESIDE: tuple[ModelKind, ...] = (*VAE_KINDS, "controlnet", "safety_checker", "upscaler")  # a loaded checkpoint


@dataclass(frozen=True)
class PendingOrder:
    """Something to do on the engine's thread while no lane runs."""

    entry: Entry
    load: bool


class ModelService:
    """Lists, loads, downloads and converts models. Ids begin with the engine's name."""

    def __init__(
        self,
        models_dirs: Sequence[Path],
        options: ModelOptions | None = None,
        *,
        busy: Callable[[], bool] = lambda: False,
        wake: Callable[[], None] = lambda: None,
        engine: str = HERE,
    ) -> None:
        """`busy`: whether jobs run, so that hashing waits; `wake`: an order is there; `engine`: whose ids these are."""
        self._engine = engine
        self.options = options or ModelOptions()
        self.catalog = Catalog(models_dirs)
        self._sidecars = Sidecars()
        folder = memory_folder(self.catalog.models_dirs)
        self.hasher = Hasher(Memo(folder / "hashes.json" if folder else None), busy)
        own = self.catalog.models_dirs[0] if self.catalog.models_dirs else Path("models")
        self._downloads = DownloadQueue(on_arrival=lambda: self.catalog.entries(refresh=True))
        self._hub = Hub(own, queue=self._downloads)
        self._links = Links(self._hub.place, self._downloads)
        self._conversions = Conversions(on_arrival=lambda: self.catalog.entries(refresh=True))
        self._merges = Merges(own, self.catalog, self.hasher)
        self._wake = wake
        self._orders: deque[PendingOrder] = deque()
        self._lock = threading.Lock()
        self._message = ""
        self._device: Device | None = None
        self._manager: ModelManager | None = None

    # ------------------------------------------------------------------------------------------- for the page

    def checkpoints(self) -> tuple[Checkpoint, ...]:
        """Usable checkpoints with what fits them, the built-in one first."""
        return offered(self.catalog.entries(), self._id)

    def now(self, *, refresh: bool = False) -> ModelsNow:
        """Everything that the Models tab shows. As `listing`."""
        return ModelsNow(
            models=self.listing(refresh=refresh),
            memory=self.memory(),
            message=self.message(),
            downloads=self.downloads(),
            conversions=self.conversions(),
            merges=self.merges(),
        )

    def order(self, order: orders.ModelOrder) -> None:
        """Carry out an order, or take it in for when no lane runs. May ask disk and hub, so call it off the event loop.
        Raises NoSuchModel, InvalidRequest or Refused."""
        match order:
            case orders.LoadModel():
                self.load(order.model_id)
            case orders.UnloadModel():
                self.unload(order.model_id)
            case orders.Annotate():
                self.annotate(order.model_id, order.note)
            case orders.CorrectPrediction():
                self.correct(order.model_id, order.prediction_type, order.shift)
            case orders.ChooseVae():
                self.choose_vae(order.model_id, order.source_id)
            case orders.ConvertModel():
                self.convert(order.model_id)
            case orders.MergeModels():
                self._merges.add(order, [self._entry(one) for one in order.model_ids])
            case orders.StopMerge():
                self._merges.stop(name_in(self._engine, order.merge_id))
            case orders.DownloadFiles():
                self.download(
                    order.repository, order.files, kind=order.kind, revision=order.revision, token=order.token
                )
            case orders.AddByLink():
                self._links.download(order.link, sha256=order.sha256)
            case orders.CancelDownload():
                self.cancel_download(order.download_id)
            case _:
                raise TypeError(f"{type(order).__name__} is no order about a model")

    def listing(self, *, refresh: bool = False) -> tuple[Model, ...]:
        """Everything found, checkpoints first; with `refresh` the folders are looked at anew now. May read headers of
        new files, so call it off the event loop."""
        entries = self.catalog.entries(refresh=refresh)
        self.hasher.want(entries)
        places, precisions = ({}, {}) if self._manager is None else places_and_precisions(self._manager)
        keys = {entry.file.key for entry in entries}
        return tuple(with_precision(self._model(e, places, keys), *precisions.get(e.id, ())) for e in entries)

    def load(self, model_id: str) -> None:
        """Bring a checkpoint to the device as soon as no lane runs. Raises NoSuchModel, or Refused with the reason."""
        entry = self._entry(model_id)
        if not entry.usable:
            raise Refused(entry.problem or entry.facts.reason or Message("Only a checkpoint can be loaded."))
        self._order(PendingOrder(entry, load=True))

    def unload(self, model_id: str) -> None:
        """Let a loaded model go as soon as no lane needs it. Raises NoSuchModel."""
        self._order(PendingOrder(self._entry(model_id), load=False))

    def memory(self) -> MemoryUse:
        """What the loaded models take and what is free."""
        if self._device is None or self._manager is None:
            return MemoryUse(ram_total=total_ram_bytes())
        return memory_of(self._device, self._manager)

    def message(self) -> str:
        """What became of the last order that failed, one sentence; empty when the last one went well."""
        return self._message

    def annotate(self, model_id: str, note: str) -> None:
        """Remember a note of at most 2,000 characters. Raises NoSuchModel or InvalidRequest."""
        if not isinstance(note, str) or note != clean_text(note) or len(note) > MAX_NOTE_CHARACTERS:
            expectation = Message(
                "text of at most {most} characters, without control characters",
                most=f"{MAX_NOTE_CHARACTERS:,}",
            )
            raise InvalidRequest(Problem("note", quoted_value(note), expectation))
        self.catalog.remember(self._entry(model_id), note=note)

    def correct(self, model_id: str, prediction_type: PredictionName | None, shift: float | None = None) -> None:
        """Remember another prediction type than the file says, and of a rectified flow another shift; None forgets it.
        A loaded checkpoint is let go, so that the next use loads it anew. Raises NoSuchModel or InvalidRequest."""
        if prediction_type is not None and prediction_type not in PREDICTION_CHOICES:
            expectation = Message("one of {names}", names=", ".join(PREDICTION_CHOICES))
            raise InvalidRequest(Problem("prediction_type", quoted_value(prediction_type), expectation))
        entry = self._entry(model_id)
        if entry.facts.kind != "checkpoint":
            raise InvalidRequest(Problem("model", quoted_value(entry.name), Message("a checkpoint")))
        if shift is not None and not is_shift(shift):
            raise InvalidRequest(Problem("shift", quoted_value(shift), SHIFTS))
        if shift is not None and (prediction_type or entry.facts.prediction_type) != "flow_prediction":
            raise InvalidRequest(Problem("shift", quoted_value(shift), Message("none: only a rectified flow has one")))
        self.catalog.remember(entry, prediction_type=prediction_type, shift=shift)
        self.catalog.entries(refresh=True)
        if self._manager is not None and entry.id in self._manager.snapshot()[0]:
            self._order(PendingOrder(entry, load=False))

    def choose_vae(self, model_id: str, source_id: str | None) -> None:
        """Let a checkpoint run with another model's VAE; None: with its own. Raises NoSuchModel or InvalidRequest."""
        entry = self._entry(model_id)
        if entry.facts.kind != "checkpoint" or entry.built_in:
            raise InvalidRequest(
                Problem("model", quoted_value(entry.name), Message("a checkpoint other than the built-in one"))
            )
        source = self._entry(source_id) if source_id else None
        if source is not None and not source.may_replace_vae_of(entry):
            expectation = Message(
                "a VAE made for {family}, or another checkpoint that holds one", family=label_of(entry.facts.family)
            )
            raise InvalidRequest(Problem("vae", quoted_value(source.name), expectation))
        place = self._manager.snapshot()[0].get(entry.id) if self._manager is not None else None
        self.catalog.choose_vae(entry, source)
        if place is not None:
            self._order(PendingOrder(entry, load=False))
        if place == "device" and self._entry(model_id).usable:
            self._order(PendingOrder(entry, load=True))

    def convert(self, model_id: str) -> None:
        """Write a safetensors file beside a pickle, in the background. Raises NoSuchModel or Refused."""
        entry = self._entry(model_id)
        if not entry.facts.convertible:
            raise Refused(Message("Only a pickle can be converted."))
        self._conversions.add(entry)

    def conversions(self) -> tuple[Conversion, ...]:
        """Every conversion since the start, newest first."""
        return tuple(replace(one, id=self._id(one.id)) for one in self._conversions.newest_first())

    def merges(self) -> tuple[Merge, ...]:
        """Every merge since the start, newest first."""
        return tuple(replace(one, id=self._id(one.id)) for one in self._merges.newest_first())

    def picture(self, model_id: str) -> bytes | None:
        """A JPEG of at most 512 pixels a side, of the embedded or neighbouring preview; None when there is none."""
        entry = self.catalog.entry(name_in(self._engine, model_id))
        return thumbnail.of(entry) if entry is not None else None

    def repository(self, repository: str, *, revision: str = "main", token: str | None = None) -> tuple[HubFile, ...]:
        """What lies in a repository of the hub. Waits for the hub. Raises InvalidRequest or Refused in one sentence."""
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
        """Fetch files into the models folder; returns the download's id at once. Raises InvalidRequest or Refused."""
        return self._id(self._hub.download(repository, files, kind=kind, revision=revision, token=token))

    def downloads(self) -> tuple[Download, ...]:
        """Every download since the start, newest first."""
        return tuple(replace(one, id=self._id(one.id)) for one in self._hub.downloads())

    def cancel_download(self, download_id: str) -> None:
        """Stop a download; what has come is kept for resuming and never listed. Raises NoSuchModel."""
        self._hub.cancel(name_in(self._engine, download_id))

    # ------------------------------------------------------------------------------------------ for the engine

    def attach(self, device: Device, manager: ModelManager) -> None:
        """The engine's thread has its device; from now on orders are carried out and places known."""
        self._device, self._manager = device, manager

    @property
    def has_orders(self) -> bool:
        """Whether something waits for the lanes to end."""
        return bool(self._orders)

    def carry_out(self, load: Callable[[str], object]) -> None:
        """Do what was ordered, now that no lane runs. `load` loads a checkpoint."""
        from studio.checkpoints.device_memory import DoesNotFit

        assert self._manager is not None
        while self._orders:
            order = self._orders[0]
            try:
                if order.load:
                    load(order.entry.name)
                elif order.entry.facts.kind in RUN_BESIDE:
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
        self._merges.close()
        self._manager = None

    # ------------------------------------------------------------------------------------------------- inside

    def _order(self, order: PendingOrder) -> None:
        with self._lock:
            if order not in self._orders:
                self._orders.append(order)
        self._wake()

    def _id(self, name: str) -> str:
        return of_engine(self._engine, name)

    def _entry(self, model_id: str) -> Entry:
        entry = self.catalog.entry(name_in(self._engine, model_id))
        if entry is None:
            raise NoSuchModel(Message("This model is not in the models folders any more."))
        return entry

    def _shift(self, entry: Entry) -> float | None:
        """Of a rectified flow: the chosen one, the file's, or none; None for what is no flow."""
        if (self.catalog.correction(entry) or entry.facts.prediction_type) != "flow_prediction":
            return None
        return self.catalog.shift(entry) or entry.facts.shift or SHIFT

    def _model(self, entry: Entry, places: dict[str, ModelPlace], keys: set[str]) -> Model:
        facts = entry.facts
        correction = self.catalog.correction(entry)
        hashes = self.hasher.both(entry)
        sidecar = self._sidecars.of(entry.file) if facts.kind in ("lora", "embedding") else Sidecar()
        return Model(
            id=self._id(entry.id),
            name=entry.name,
            label=entry.checkpoint.label,
            where=entry.file.where,
            state="incomplete" if entry.problem else facts.state,
            reason=entry.problem or facts.reason,
            facts=facts,
            prediction_type=correction or facts.prediction_type,
            prediction_corrected=correction is not None,
            shift=self._shift(entry),
            shift_chosen=self.catalog.shift(entry) is not None,
            size_bytes=entry.file.size,
            built_in=entry.built_in,
            sha256=hashes.sha256 if hashes is not None else None,
            short_hash=hashes.short or None if hashes is not None else None,
            note=self.catalog.note(entry) or sentences(facts.notes),
            place=places.get(entry.id, "disk"),
            trigger_words=words_of((facts.trigger, *sidecar.words)),
            preferred_weight=sidecar.weight,
            has_picture=facts.has_picture or bool(entry.file.picture),
            origin=self._hub.place.origin(entry.file.key, entry.file.size),
            convertible=facts.convertible and target_of(entry.path).as_posix() not in keys,
            vae=self._id(entry.vae.id) if entry.vae is not None else "",
            lends_vae_to=entry.lends_vae_to,
        )
