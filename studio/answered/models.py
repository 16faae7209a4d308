"""The models on this machine: what the catalogue and the Models tab know of them, as plain values."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal, cast

from studio.answered.model_facts import ModelFacts, ModelState
from studio.asked.orders import ModelKind, PredictionName
from studio.asked.resolved import Suits
from studio.asked.schedulers import NoiseScheduleName, SchedulerName


@dataclass(frozen=True, kw_only=True)
class Checkpoint:
    """One entry of the catalogue; no tensor has been read for it."""

    name: str  # what a request's `checkpoint` says
    label: str
    family: str | None  # by its name: "sd1", "sdxl", ...
    native_width: int
    native_height: int
    size_bytes: int
    built_in: bool = False
    num_inference_steps: int = 25  # defaults that suit it, like the next three; the page fills its fields with them
    guidance_scale: float = 5.0
    scheduler: str = "dpmpp_2m"
    noise_schedule: str = "automatic"
    examples: tuple[str, ...] = ()  # prompts that work well with it
    words: tuple[str, ...] = ()  # words it knows
    # The same for the prompt helper: rows of group, label, phrase, other words (checkpoints/vocabulary.py).
    vocabulary: tuple[tuple[str, ...], ...] = ()
    note: str = ""
    controlnets: tuple[str, ...] = ()  # that were found for it, by the names that `Control.model` says
    # Those of them whose maps can be painted: (name, rows of (what, "#rrggbb")), see checkpoints/palette.py.
    palettes: tuple[tuple[str, tuple[tuple[str, str], ...]], ...] = ()
    id: str = ""  # as `Model.id`
    controlnet_ids: tuple[str, ...] = ()  # of `controlnets`, in their order
    vaes: tuple[str, ...] = ()  # that it could run with, by the names that a request's `vae_name` says
    vae_ids: tuple[str, ...] = ()  # of `vaes`, in their order
    upscalers: tuple[str, ...] = ()  # that are here, by the names that a request's `upscaler_name` says
    upscaler_ids: tuple[str, ...] = ()  # of `upscalers`, in their order
    fast_lora: str = ""  # that came with it, for few steps without guidance, by the name that a prompt's tag says
    fast_lora_id: str = ""
    locked: tuple[tuple[str, str | int | float], ...] = ()  # fields that the owner has fixed for a guest

    @property
    def suits(self) -> Suits:
        """What a request may leave to it."""
        return Suits(
            width=self.native_width,
            height=self.native_height,
            num_inference_steps=self.num_inference_steps,
            guidance_scale=self.guidance_scale,
            scheduler=cast(SchedulerName, self.scheduler),
            noise_schedule=cast(NoiseScheduleName, self.noise_schedule),
        )


ModelPlace = Literal["disk", "ram", "device"]


@dataclass(frozen=True, kw_only=True)
class Model:
    """One file or diffusers folder of the models folders: its facts, its place, and what the owner says of it."""

    id: str  # names it in every call below; says nothing of where it lies
    name: str  # a checkpoint's is what a request's `checkpoint` says
    label: str
    where: str  # the models folder's name and the folders below it, never a whole path
    state: ModelState
    reason: str = ""  # why it is incomplete, unknown or refused, one sentence
    facts: ModelFacts = field(default_factory=ModelFacts)  # what its file says
    prediction_type: PredictionName | None = None  # as the file says, or as it was corrected
    prediction_corrected: bool = False
    shift: float | None = None  # of a rectified flow's times, as the file says or as it was chosen; None: it is no flow
    shift_chosen: bool = False
    size_bytes: int = 0
    built_in: bool = False
    sha256: str | None = None  # None until it has been hashed in the background
    short_hash: str | None = None  # of a LoRA or an embedding, as A1111 writes it: 12 digits
    note: str = ""  # what the owner wrote
    place: ModelPlace = "disk"
    dtype: str = ""  # of a checkpoint in memory, the precision of its U-Net: "float32"
    computed_in: str = ""  # the same in words, with that of parts that have another one
    trigger_words: tuple[str, ...] = ()  # that call a LoRA or an embedding, by its metadata and files beside it
    preferred_weight: float | None = None  # of a LoRA in a prompt, where a file beside it says one
    has_picture: bool = False  # an embedded or neighbouring preview picture; `ModelPicture`
    origin: str = ""  # the hub's repository that it was fetched from, where this studio did that
    convertible: bool = False  # a pickle that "convert safely" may turn into safetensors
    vae: str = ""  # id of the model whose VAE was chosen for this checkpoint; "" for its own
    lends_vae_to: tuple[str, ...] = ()  # families whose checkpoints could run with the VAE in it

    @property
    def kind(self) -> ModelKind | None:
        """See ModelFacts."""
        return self.facts.kind


@dataclass(frozen=True, kw_only=True)
class MemoryUse:
    """What the loaded models take, in bytes. On a CPU there is one memory, so `device_*` are None."""

    device_label: str = ""
    device_models: int | None = None  # weights on the device
    device_limit: int | None = None  # what they may take before the least recently used is moved to RAM
    device_free: int | None = None
    device_total: int | None = None
    ram_models: int = 0  # weights in RAM
    ram_limit: int | None = None
    ram_free: int | None = None
    ram_total: int | None = None


@dataclass(frozen=True, kw_only=True)
class HubFile:
    """One file of a repository on the hub."""

    path: str
    size: int | None
    sha256: str | None = None  # of large files; the hub knows none for small ones
    suggested: bool = False  # part of what this studio would need of the repository


DownloadState = Literal["waiting", "running", "verifying", "done", "failed", "cancelled"]


@dataclass(frozen=True, kw_only=True)
class Download:
    """One download from the hub, from request to end."""

    id: str
    repository: str
    files: tuple[str, ...]
    kind: ModelKind
    state: DownloadState
    done_bytes: int = 0
    total_bytes: int | None = None
    bytes_per_second: float = 0.0
    seconds_left: float | None = None
    message: str = ""  # one sentence: what it is doing, or why it failed and what to do


@dataclass(frozen=True, kw_only=True)
class Conversion:
    """A pickle on its way to a safetensors file beside it."""

    id: str  # the model's
    name: str  # of the file
    state: Literal["waiting", "running", "done", "failed"]
    fraction: float | None = None  # of the new file, None while the old one is read
    message: str = ""  # where the new file is, or why there is none: the class it names that could run code, ...


@dataclass(frozen=True, kw_only=True)
class Merge:
    """A checkpoint that is made of others."""

    id: str
    name: str  # of the new one
    recipe: str  # a formula of names
    state: Literal["waiting", "running", "done", "failed", "cancelled"]
    fraction: float | None = None  # of the new file, None while hashes are counted
    message: str = ""  # what was not blended, or why there is no new checkpoint


class NoSuchModel(LookupError):
    """No model, order or download of this id."""


@dataclass(frozen=True, kw_only=True)
class ModelsNow:
    """Everything that the Models tab shows."""

    models: tuple[Model, ...]  # checkpoints first
    memory: MemoryUse
    message: str = ""  # what became of the last order that failed, one sentence; empty when the last one went well
    downloads: tuple[Download, ...] = ()  # since the start, newest first
    conversions: tuple[Conversion, ...] = ()  # since the start, newest first
    merges: tuple[Merge, ...] = ()  # since the start, newest first
