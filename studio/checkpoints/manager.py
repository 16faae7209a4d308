"""Keeps models loaded: which checkpoint is on the device, which wait in RAM, and which goes first when memory is
needed.

Knows no job. Names come from the catalogue, never paths from outside. Used from the engine's thread alone, but for
`snapshot` and `loaded_hash`.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable
from typing import Any

import torch

from studio.answered.models import ModelPlace
from studio.asked.control import MAX_CONTROLS
from studio.asked.messages import Message
from studio.checkpoints import fitting, loader
from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.cpu_precision import CpuPrecisions, precision_memo, suits_exact
from studio.checkpoints.device_memory import Device, memory_limits, too_large
from studio.checkpoints.hashes import Hasher
from studio.checkpoints.in_memory import (
    CheckpointInMemory,
    ModuleInMemory,
    module_bytes,
    modules,
    owner_says,
    weights_bytes,
    where_and_how_much,
)
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.options import ModelOptions
from studio.diffusion.components import Components

logger = logging.getLogger(__name__)

MOST_MODULES = MAX_CONTROLS + 3  # beside the loaded checkpoint: a run's ControlNets, VAEs of two callers, an upscaler


class ModelManager:
    """The loaded checkpoints of one device. At most one is in use, `loaded`: lanes are of this one."""

    def __init__(
        self,
        catalog: Catalog,
        *,
        device: Device,
        hasher: Hasher,
        options: ModelOptions | None = None,
        load: Callable[..., Components] = loader.load,
    ) -> None:
        self.catalog = catalog  # the listing that names come from
        self.device = device
        self.hasher = hasher  # what counts the hashes of files
        self.options = options or ModelOptions()
        self._load = load
        self._checkpoints: dict[str, CheckpointInMemory] = {}
        self._current: CheckpointInMemory | None = None
        self._modules: dict[str, ModuleInMemory] = {}  # by id, the one that was asked for longest ago first
        self._clock = 0
        self._precisions = CpuPrecisions(precision_memo(catalog.models_dirs))
        self.device_limit, self.ram_limit = memory_limits(device, self.options)

    # ------------------------------------------------------------------------------------------------- asking

    @property
    def loaded(self) -> Components | None:
        """The checkpoint in use, on the device."""
        return self._current.components if self._current is not None else None

    def get(self, name: str, progress: loader.Progress, *, exact: bool = False) -> Components:
        """The components of a checkpoint on the device: at once, from RAM, or from the disk. `exact`: in float32 on a
        CPU where others are in bfloat16.

        Raises BadCheckpoint or DoesNotFit; what was loaded before is then as usable as it was.
        """
        loaded = self._current is not None and self._current.components.name == name and not self.is_replaced()
        if self._current is not None and loaded and suits_exact(self._current.components, exact):
            return self._current.components
        entry = self.catalog.checkpoints().get(name)
        entry = _usable(name, self.catalog.latest(entry) if entry is not None else None)
        checkpoint = self._checkpoints.get(name)
        if checkpoint is not None and (
            checkpoint.entry.components_identity != entry.components_identity  # another file of this name, or VAE
            or not suits_exact(checkpoint.components, exact)
        ):
            self.unload(name)
            checkpoint = None
        if checkpoint is None:
            checkpoint = self._load_anew(entry, progress, exact)
            if not self.catalog.as_on_disk(entry):  # replaced while it was read: it may be half of each
                self.unload(name)
                entry = _usable(name, self.catalog.latest(entry))
                checkpoint = self._load_anew(entry, progress, exact)
                if not self.catalog.as_on_disk(entry):
                    self.unload(name)
                    raise _written_to(name)
        elif checkpoint.place == "ram" and not self.options.offload:
            self._bring(checkpoint, progress)
        self._use(checkpoint)
        return checkpoint.components

    @property
    def identity(self) -> Hashable:
        """What changes when the loaded checkpoint's file does, or that of its VAE, or what its owner says of it."""
        loaded = self._current
        return (loaded.entry.components_identity, tuple(loaded.owner_says.items())) if loaded is not None else None

    def is_replaced(self) -> bool:
        """Whether the loaded checkpoint's file, or that of its chosen VAE, has been replaced since it was read."""
        return self._current is not None and not self.catalog.as_on_disk(self._current.entry)

    def unload(self, name: str | None = None) -> None:
        """Let one checkpoint go, or all of them, and their memory with it. The caller holds no components any more."""
        for checkpoint in [h for n, h in self._checkpoints.items() if name in (None, n)]:
            self._drop(checkpoint)
        self.device.release()

    def has_module(self, entry: Entry) -> bool:
        """Whether it is on the device already."""
        module = self._modules.get(entry.id)
        return module is not None and module.entry.identity == entry.identity

    def module(self, entry: Entry, read: Callable[[], Any]) -> Any:
        """A module that runs beside the loaded checkpoint, kept within the same limits until another one is used: other
        checkpoints make room for it, the loaded one does not. Raises what `read` does, or DoesNotFit."""
        if not self.has_module(entry):
            self.leave(entry.id)
            while len(self._modules) >= MOST_MODULES:
                self._modules.pop(next(iter(self._modules)))
            needed_bytes = weights_bytes(entry, self.device.dtype)
            self._make_room(needed_bytes, keep=self._current)
            free = self.device.free_bytes()
            if free is not None and needed_bytes > free:
                raise too_large(entry, needed_bytes, self.device, self.options)
            try:
                module = read()
            except Exception as error:
                if not self.device.is_out_of_memory(error):
                    raise
                error.__traceback__ = None
                if not self.spare():
                    raise too_large(entry, needed_bytes, self.device, self.options) from error
                module = read()
            loaded_module = ModuleInMemory(entry, module, module_bytes(module))
        else:
            loaded_module = self._modules.pop(entry.id)
        self._modules[entry.id] = loaded_module
        return loaded_module.module

    def leave(self, entry_id: str | None = None) -> None:
        """Let what runs beside the loaded checkpoint go: one module, or all."""
        for one_id in [i for i in self._modules if entry_id in (None, i)]:
            del self._modules[one_id]

    def spare(self) -> bool:
        """Move everything but the loaded checkpoint off the device, after it ran out of memory. Whether any was."""
        others = [h for h in self._checkpoints.values() if h is not self._current and h.place == "device"]
        for checkpoint in others:
            self._off(checkpoint)
        any_module = bool(self._modules)
        self.leave()
        self.device.release()
        return bool(others) or any_module

    def loaded_hash(self) -> str | None:
        """sha256 of the loaded checkpoint's weights as they were loaded; None until it is counted."""
        resident = self._current
        if resident is None:
            return None
        if resident.sha256 is None and (sha256 := self.hasher.get(resident.entry)) is not None:
            resident.sha256 = sha256
            self.catalog.remember_prediction(resident.entry, resident.components.measurement, sha256)
        return resident.sha256

    @property
    def entry(self) -> Entry | None:
        """The line of the loaded checkpoint, as it was loaded."""
        return self._current.entry if self._current is not None else None

    def owner_choices(self) -> dict[str, object]:
        """What a picture says of what the owner chose for the loaded checkpoint: facts of `studio.picture.metadata`."""
        if self._current is None:
            return {}
        source = self._current.entry.vae
        vae = {"vae": source.name, "vae_hash": self.hasher.get(source)} if source is not None else {}
        return {**self._current.owner_says, **vae}

    @property
    def in_memory(self) -> list[CheckpointInMemory]:
        """The loaded checkpoints. From any thread."""
        return list(self._checkpoints.values())

    def snapshot(self) -> tuple[dict[str, ModelPlace], int, int]:
        """Where the loaded checkpoints are, by id; bytes of weights on the device, and in RAM. From any thread."""
        return where_and_how_much(self.in_memory, self._modules.values(), self.options.offload, self.device.is_cpu)

    # ------------------------------------------------------------------------------------------------ loading

    def _load_anew(self, entry: Entry, progress: loader.Progress, exact: bool) -> CheckpointInMemory:
        needed_bytes = weights_bytes(entry, self.device.dtype)
        self._make_room(needed_bytes)
        try:
            components = self._read(entry, progress, exact)
        except Exception as error:
            if not self.device.is_out_of_memory(error):
                raise
            error.__traceback__ = None  # its frames hold the half that did fit
            if not self._empty():
                raise too_large(entry, needed_bytes, self.device, self.options) from error
        else:
            return self._hold(entry, components)
        logger.info("%s did not fit beside the others; they were let go", entry.name)
        try:
            return self._hold(entry, self._read(entry, progress, exact))
        except Exception as error:
            if not self.device.is_out_of_memory(error):
                raise
            error.__traceback__ = None
            self.device.release()
            raise too_large(entry, needed_bytes, self.device, self.options) from error

    def _read(self, entry: Entry, progress: loader.Progress, exact: bool) -> Components:
        sha256 = self.hasher.get(entry)
        try:
            components = self._load(
                entry.path,
                name=entry.name,
                device=torch.device("cpu") if self.options.offload else self.device.torch_device,
                dtype=self.device.dtype,
                progress=progress,
                prediction_type=self.catalog.correction(entry),
                shift=self.catalog.shift(entry),
                vae=entry.vae.path if entry.vae is not None else None,
                measurement=self.catalog.measured_prediction(entry, sha256),
            )
            self.catalog.remember_prediction(entry, components.measurement, sha256)
            self._precisions.apply(components, self.device, exact=exact)
            fitting.apply(components, self.options, self.device)
            return components
        finally:
            self.device.release()

    def _hold(self, entry: Entry, components: Components) -> CheckpointInMemory:
        weights = sum(module_bytes(m) for m in modules(components))
        offloads = self.options.offload and not self.device.is_cpu
        on_device = max((module_bytes(m) for m in modules(components)), default=0) if offloads else weights
        says = owner_says(self.catalog.correction(entry), self.catalog.shift(entry), components)
        checkpoint = CheckpointInMemory(entry, components, "device", on_device, weights, owner_says=says)
        self._checkpoints[entry.name] = checkpoint
        self.hasher.want([entry, *([entry.vae] if entry.vae is not None else [])], urgent=True)
        return checkpoint

    def _bring(self, checkpoint: CheckpointInMemory, progress: loader.Progress) -> None:
        """From RAM to the device."""
        progress(Message("Loading {components}: from memory to the device", components=checkpoint.components.name), 0.5)
        self._checkpoints.pop(checkpoint.entry.name)  # on its way it takes no room in RAM, and nobody may let it go
        try:
            self._make_room(checkpoint.device_bytes)
            try:
                self.device.to_device(modules(checkpoint.components))
            except Exception as error:
                if not self.device.is_out_of_memory(error):
                    raise
                error.__traceback__ = None
                if not self._empty():
                    raise too_large(checkpoint.entry, checkpoint.device_bytes, self.device, self.options) from error
                self.device.to_device(modules(checkpoint.components))
        except Exception:
            self.device.to_ram(modules(checkpoint.components))  # what had got there already
            self.device.release()
            raise
        finally:
            self._checkpoints[checkpoint.entry.name] = checkpoint

    def _use(self, checkpoint: CheckpointInMemory) -> None:
        if checkpoint is not self._current:
            self.leave()
        self._clock += 1
        checkpoint.last_use = self._clock
        checkpoint.place = "device"
        self._current = checkpoint

    # ----------------------------------------------------------------------------------------------- making room

    def _make_room(self, needed_bytes: int, keep: CheckpointInMemory | None = None) -> None:
        """Move the least recently used but `keep` off the device, and out of RAM, until `needed_bytes` are within the
        limits. What runs beside a loaded checkpoint that is to go has gone before."""
        if keep is None:
            self.leave()
        free = self.device.free_bytes()
        limit = self.ram_limit if self.device.is_cpu else self.device_limit
        while (oldest := self._oldest("device", but=keep)) and self._over(needed_bytes, limit, free):
            self._off(oldest)
            self.device.release()
            free = self.device.free_bytes()

    def _over(self, needed_bytes: int, limit: int | None, free: int | None) -> bool:
        used_bytes = sum(h.device_bytes for h in self._checkpoints.values() if h.place == "device")
        used_bytes += sum(b.bytes for b in self._modules.values())
        return _exceeds(used_bytes, needed_bytes, limit, free)

    def _oldest(self, place: ModelPlace, but: CheckpointInMemory | None = None) -> CheckpointInMemory | None:
        checkpoints = [h for h in self._checkpoints.values() if h.place == place and h is not but]
        return min(checkpoints, key=lambda h: h.last_use, default=None)

    def _off(self, checkpoint: CheckpointInMemory) -> None:
        """From the device to RAM, or away where RAM has no room for it."""
        free = self.device.free_ram_bytes()
        while (oldest := self._oldest("ram")) and self._ram_over(checkpoint.ram_bytes, free):
            self._drop(oldest)
            self.device.release()
            free = self.device.free_ram_bytes()
        if self.device.is_cpu or self.options.offload or self._ram_over(checkpoint.ram_bytes, free):
            self._drop(checkpoint)
            return
        if checkpoint is self._current:
            self._current = None
        self.device.to_ram(modules(checkpoint.components))
        checkpoint.place = "ram"

    def _ram_over(self, needed_bytes: int, free: int | None) -> bool:
        used_bytes = sum(h.ram_bytes for h in self._checkpoints.values() if h.place == "ram")
        return _exceeds(used_bytes, needed_bytes, self.ram_limit, free)

    def _drop(self, checkpoint: CheckpointInMemory) -> None:
        fitting.undo(checkpoint.components)
        self._checkpoints.pop(checkpoint.entry.name, None)
        if self._current is checkpoint:
            self._current = None
            self.leave()

    def _empty(self) -> bool:
        """Off the device with everything. Whether there was anything."""
        checkpoints = [h for h in self._checkpoints.values() if h.place == "device"]
        for one in checkpoints:
            self._off(one)
        self.device.release()
        return bool(checkpoints)


def _written_to(name: str) -> BadCheckpoint:
    return BadCheckpoint(
        Message("The checkpoint {name} is written to while it is read. Try again later.", name=name[:80])
    )


def _usable(name: str, entry: Entry | None) -> Entry:
    """The entry of a checkpoint that is to be used now. Raises BadCheckpoint where there is none."""
    if entry is None or not entry.usable:
        raise BadCheckpoint(Message("The checkpoint {name} is not in the models folder any more.", name=name[:80]))
    return entry


def _exceeds(used_bytes: int, needed_bytes: int, limit: int | None, free: int | None) -> bool:
    """Whether so many bytes more are over the limit, or over what is free; None: there is no limit, it is not known."""
    return (limit is not None and used_bytes + needed_bytes > limit) or (free is not None and needed_bytes > free)
