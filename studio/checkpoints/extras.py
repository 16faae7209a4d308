"""LoRA, embedding and ControlNet files of the models folders, by the names that prompts and requests call them, and the
small VAE for previews; read when first asked for."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Mapping, Sequence
from typing import Any

from studio.asked.lora_tags import LoraTag
from studio.asked.requests import InvalidRequest, Problem, shown
from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.controlnet_file import load_controlnet
from studio.checkpoints.embedding_file import load_embedding
from studio.checkpoints.identify import FAMILY_LABELS
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.lora_file import load_adapter
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.tiny_vae import load_tiny_vae
from studio.diffusion.components import Components
from studio.diffusion.embeddings import Embedding
from studio.diffusion.lora import Adapter, Applied

logger = logging.getLogger(__name__)

KEPT = 16  # adapters on the device at once
SCALING_FACTORS = {"sd1": 0.18215, "sdxl": 0.13025}  # what tells a family's latents from those of a VAE of its own


class Extras:
    """What prompts may name beside words. Holds what was read for one set of components, until `forget`."""

    def __init__(self, catalog: Catalog, manager: ModelManager | None = None) -> None:
        """`manager` counts ControlNets, which are as large as half a checkpoint."""
        self._catalog = catalog
        self._manager = manager
        self._adapters: dict[tuple[str, int, int], Adapter] = {}
        self._embeddings: dict[tuple[str, int, int], Embedding] = {}

    def forget(self) -> None:
        """Let go of everything, before the components go."""
        self._adapters.clear()
        self._embeddings.clear()
        if self._manager is not None:
            self._manager.leave()

    def applied(self, components: Components, tags: Sequence[LoraTag]) -> tuple[Applied, ...]:
        """The adapters of a prompt's tags. Raises InvalidRequest for a name that no LoRA has, BadCheckpoint for one
        that does not fit the components."""
        found = []
        for tag in tags:
            entry = next((e for e in self._of("lora") if tag.name.casefold() == e.name.casefold()), None)
            if entry is None:
                names = [e.name for e in self._of("lora")]
                allowed = f"one of {', '.join(names[:20])}" if names else "none: there is no LoRA in the models folders"
                raise InvalidRequest(Problem("prompt", f"the LoRA {shown(tag.name)}", allowed))
            adapter = self._adapters.get(entry.identity)
            if adapter is None:
                while len(self._adapters) >= KEPT:
                    self._adapters.pop(next(iter(self._adapters)))
                adapter = self._adapters[entry.identity] = load_adapter(entry.path, components, entry.identity)
            found.append(Applied(adapter, tag.unet_scale, tag.text_scale))
        return tuple(found)

    def has_controlnet(self, name: str) -> bool:
        """Whether it is on the device already."""
        entry = self._controlnet_entry(name)
        return entry is not None and self._manager is not None and self._manager.is_beside(entry)

    def controlnet(self, components: Components, name: str) -> Any:
        """The ControlNet of this name, on the components' device. Raises InvalidRequest for a name that none has,
        BadCheckpoint for one that does not fit the components, DoesNotFit for one that is too large."""
        entry = self._controlnet_entry(name)
        if entry is None or self._manager is None:
            allowed = "the name of an installed ControlNet"
            raise InvalidRequest(Problem("controls", f"model {shown(name)}", allowed))
        return self._manager.beside(entry, lambda: load_controlnet(entry.path, components))

    def _controlnet_entry(self, name: str) -> Entry | None:
        return next((e for e in self._of("controlnet") if e.name == name), None)

    def words(self, components: Components) -> Shelf:
        """The embeddings that prompts of these components may name."""
        here = ("", FAMILY_LABELS[components.family])  # a word may be another family's embedding by chance
        entries = {e.name: e for e in self._of("embedding") if e.facts.family in here}

        def read(name: str) -> Embedding:
            entry = entries[name]
            if entry.identity not in self._embeddings:
                self._embeddings[entry.identity] = load_embedding(entry.path, components)
            return self._embeddings[entry.identity]

        return Shelf({name: entry.identity for name, entry in entries.items()}, read)

    def tiny_vae(self, components: Components) -> Any:
        """The small VAE for previews that is made for these components, or None; a damaged one only costs the rung.

        A checkpoint with a latent space of its own, as the built-in one, has no use for those of the families.
        """
        latents = "sdxl" if components.is_xl else "sd1"  # SD 2 has SD 1's latents
        if abs(components.vae.config.scaling_factor - SCALING_FACTORS[latents]) > 1e-6:
            return None
        family = FAMILY_LABELS[latents]
        for entry in self._of("preview_decoder"):
            words = entry.path.stem.lower()
            if entry.facts.family != family or "encoder" in words.replace("decoder", ""):
                continue
            try:
                return load_tiny_vae(entry.path, device=components.device, dtype=components.dtype)
            except BadCheckpoint:
                logger.warning("The small VAE %s cannot be used", entry.name, exc_info=True)
        return None

    def _of(self, kind: str) -> list[Entry]:
        return [e for e in self._catalog.entries() if e.facts.kind == kind and e.facts.state != "refused"]


class Shelf:
    """Implements `studio.diffusion.embeddings.Words` over files."""

    def __init__(self, identities: Mapping[str, Hashable], read: Callable[[str], Embedding]) -> None:
        self._identities = identities
        self._read = read

    @property
    def version(self) -> Hashable:
        """Differs when a word or its file does."""
        return tuple(self._identities.items())

    @property
    def names(self) -> Sequence[str]:
        return tuple(self._identities)

    def embedding(self, name: str) -> Embedding:
        """Raises InvalidRequest for a file that does not fit the components."""
        try:
            return self._read(name)
        except BadCheckpoint as error:
            raise InvalidRequest(
                Problem("prompt", f"the embedding {shown(name)}", f"one that fits ({error})")
            ) from error
