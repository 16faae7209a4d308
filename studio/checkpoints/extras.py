"""The LoRA, embedding and ControlNet files of the models folders, by the names that prompts and requests use, and the
small VAE for previews. A file is read when it is first asked for, and again when it has been replaced."""

from __future__ import annotations

import logging
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from studio.asked.messages import Message
from studio.asked.names import name_key, split_at_names
from studio.asked.orders import ModelKind
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.prompt import LoraTag
from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.controlnet_file import load_controlnet
from studio.checkpoints.embedding_file import load_embedding
from studio.checkpoints.hashes import FileHashes
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.lookup import matching, permitted, the_one
from studio.checkpoints.lora_file import load_adapter
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.own_vae import OwnVae, load_vae
from studio.checkpoints.tiny_vae import load_tiny_vae
from studio.checkpoints.upscaler_file import load_upscaler
from studio.diffusion.components import Components
from studio.diffusion.embeddings import Embedding
from studio.diffusion.lora import Adapter, AppliedAdapter
from studio.families.registry import FAMILIES, adapters_for, label_of, preview_family

T = TypeVar("T")
logger = logging.getLogger(__name__)

LOADED_ADAPTERS = 16  # on the device at once


class Extras:
    """What prompts and requests may name. Holds what was read for one set of components, until `forget`."""

    def __init__(self, catalog: Catalog, manager: ModelManager | None = None) -> None:
        """`manager` counts ControlNets, which are as large as half a checkpoint."""
        self._catalog = catalog
        self._manager = manager
        self._adapters: dict[Hashable, Adapter] = {}  # by the file's id and what changes with the file
        self._embeddings: dict[Hashable, Embedding] = {}

    def forget(self) -> None:
        """Let go of everything, before the components go."""
        self._adapters.clear()
        self._embeddings.clear()
        if self._manager is not None:
            self._manager.leave()

    def load_adapters(
        self, components: Components, tags: Sequence[LoraTag], models: Sequence[str] | None = None
    ) -> tuple[AppliedAdapter, ...]:
        """The adapters of a prompt's tags, which may name those of `models` (ids; None: all). Raises InvalidRequest for
        a name that no LoRA has, or several have; BadCheckpoint for a LoRA that does not fit the components."""
        family = components.family.name
        adapters = []
        for tag in tags:
            entry = self._entry_by_name("lora", tag.name, field="prompt", what="LoRA", family=family, models=models)
            adapters.append(AppliedAdapter(self._adapter(entry, components), tag.unet_scale, tag.text_scale, tag.name))
        return tuple(adapters)

    def _adapter(self, entry: Entry, components: Components) -> Adapter:
        adapter = self._adapters.get(entry.identity)
        if adapter is None:
            while len(self._adapters) >= LOADED_ADAPTERS:
                self._adapters.pop(next(iter(self._adapters)))
            adapter = self._whole(entry, lambda: load_adapter(entry.path, components, entry.identity))
            hashes = self._hashes(entry)
            adapter = replace(adapter, sha256=hashes.sha256, short_hash=hashes.short)
            self._adapters[entry.identity] = adapter
        return adapter

    def _whole(self, entry: Entry, read: Callable[[], T]) -> T:
        """What is read of a file. Raises BadCheckpoint for one that is replaced meanwhile: it may be half of each."""
        value = read()
        if not self._catalog.as_on_disk(entry):
            raise BadCheckpoint(
                Message("{file} is written to while it is read. Try again later.", file=entry.path.name)
            )
        return value

    def _hashes(self, entry: Entry) -> FileHashes:
        """Counted now where they are not known: the pictures carry them. Empty for a file that changes meanwhile."""
        hashes = self._manager.hasher.now(entry) if self._manager is not None else None
        return hashes or FileHashes("", "")

    def has_controlnet(self, name: str) -> bool:
        """Whether it is on the device already."""
        try:
            entry = self._entry_by_name("controlnet", name, field="controls", what="ControlNet")
        except InvalidRequest:
            return False
        return self._manager is not None and self._manager.has_module(entry)

    def controlnet_file(self, name: str) -> Hashable:
        """What changes when the file of the ControlNet of this name is replaced. Raises InvalidRequest."""
        return self._entry_by_name("controlnet", name, field="controls", what="ControlNet").identity

    def controlnet(self, components: Components, name: str) -> Any:
        """The ControlNet of this name, on the components' device. Raises InvalidRequest for a name that none has,
        BadCheckpoint for one that does not fit the components, DoesNotFit for one that is too large."""
        entry = self._entry_by_name("controlnet", name, field="controls", what="ControlNet")
        assert self._manager is not None
        return self._manager.module(entry, lambda: self._whole(entry, lambda: load_controlnet(entry.path, components)))

    def vae_files(self, name: str) -> dict[str, Hashable]:
        """What changes when the file of the VAE of this name is replaced, by its name; nothing for "". Raises
        InvalidRequest."""
        return {name: self._vae_entry(name).identity} if name else {}

    def own_vae(self, components: Components, name: str) -> OwnVae | None:
        """The VAE of this name, on the components' device; None where they run with it already, or for "". Raises
        InvalidRequest for a name that none has, BadCheckpoint for one that does not fit the components, DoesNotFit for
        one that is too large."""
        if not name:
            return None
        entry = self._vae_entry(name)
        manager = self._manager
        assert manager is not None
        checkpoint = manager.entry
        if checkpoint is not None and checkpoint.vae is not None and checkpoint.vae.identity == entry.identity:
            return None
        module = manager.module(entry, lambda: self._whole(entry, lambda: load_vae(entry, components, manager)))
        return OwnVae(name, module, entry.identity, self._hashes(entry).sha256)

    def upscaler(self, name: str, device: Any, *, field: str) -> Any:
        """The upscaler of this name, a network on this device. Raises InvalidRequest for `field` where no file has that
        name, BadCheckpoint for a damaged one, DoesNotFit for one that is too large."""
        entry = self._entry_by_name("upscaler", name, field=field, what="upscaler")
        assert self._manager is not None
        return self._manager.module(entry, lambda: self._whole(entry, lambda: load_upscaler(entry.path, device)))

    def upscaler_facts(self, **names: str) -> dict[str, str]:
        """What a picture says of the upscalers that it went through, under these keys: the hash of the file of each
        name; nothing for "", or where it has gone since."""
        facts = {}
        for key, name in names.items():
            matches = matching(self._catalog.entries(), "upscaler", name) if name else []
            if len(matches) == 1:
                facts[key] = self._hashes(matches[0]).sha256
        return facts

    def words(
        self, components: Components, texts: Sequence[str] = (), models: Sequence[str] | None = None
    ) -> EmbeddingFiles:
        """The embeddings that prompts of these components may name, of `models` (ids; None: all). The files of those
        that `texts` name are looked at anew."""
        family = components.family.name

        def read(entry: Entry) -> Embedding:
            if entry.identity not in self._embeddings:
                embedding = self._whole(entry, lambda: load_embedding(entry.path, components))
                self._embeddings[entry.identity] = replace(
                    embedding, word=entry.name, sha256=self._hashes(entry).sha256
                )
            return self._embeddings[entry.identity]

        files = EmbeddingFiles(permitted(self._catalog.entries(), models), family, read)
        embeddings = [e for text in texts for e in files.named_in(text)]
        if any(self._catalog.latest(entry) is not entry for entry in embeddings):
            files = EmbeddingFiles(permitted(self._catalog.entries(), models), family, read)
        return files

    def bring_tiny_vae(self, components: Components) -> None:
        """Give components that have no small VAE of their own the one for previews that fits them, if there is one. It
        is loaded again where its file has been replaced. A damaged one only costs its preview."""
        if components.tiny_vae is not None and components.tiny_vae_file is None:
            return
        decoders = self._preview_decoders(components)
        files = tuple(entry.identity for entry in decoders) or None
        if files != components.tiny_vae_file:
            components.tiny_vae, components.tiny_vae_file = self._first_readable(decoders, components), files

    def _first_readable(self, decoders: Sequence[Entry], components: Components) -> Any:
        for entry in decoders:
            try:
                return load_tiny_vae(entry.path, device=components.device, dtype=components.dtype)
            except BadCheckpoint:
                logger.warning("The small VAE %s cannot be used", entry.name, exc_info=True)
        return None

    def _preview_decoders(self, components: Components) -> list[Entry]:
        """The small VAEs of the components' latents, as they are on disk now.

        A checkpoint with a latent space of its own, as the built-in one, has no use for those of the families.
        """
        here = FAMILIES[components.family.name]
        config = components.vae.config
        if abs(config.scaling_factor - here.latents.scale) > 1e-6 or getattr(config, "latents_mean", None) is not None:
            return []
        family = preview_family(here).name

        def fits(entry: Entry) -> bool:
            words = entry.path.stem.lower()
            usable = entry.facts.kind == "preview_decoder" and entry.facts.state != "refused"
            return usable and entry.facts.family == family and "encoder" not in words.replace("decoder", "")

        entries = [self._catalog.latest(entry) for entry in self._catalog.entries() if fits(entry)]
        return [entry for entry in entries if entry is not None and fits(entry)]

    def _vae_entry(self, name: str) -> Entry:
        """The VAE of this name, or the tiny autoencoder. Raises InvalidRequest."""
        is_tiny = not matching(self._catalog.entries(), "vae", name)
        return self._entry_by_name("preview_decoder" if is_tiny else "vae", name, field="vae_name", what="VAE")

    def _entry_by_name(
        self,
        kind: ModelKind,
        name: str,
        *,
        field: str,
        what: str,
        family: str | None = None,
        models: Sequence[str] | None = None,
    ) -> Entry:
        """The file that a name means, as it is on disk now. Raises InvalidRequest."""

        def look() -> Entry:
            entries = permitted(self._catalog.entries(), models)
            return the_one(entries, kind, name, field=field, what=what, family=family)

        entry = look()
        return entry if self._catalog.latest(entry) is entry else look()


def file_hashes(adapters: Sequence[AppliedAdapter], embeddings: Sequence[Embedding]) -> dict[str, object]:
    """What a picture says of the files that its prompt names, by the names in the prompt: facts for
    `studio.picture.metadata`."""
    facts = {
        "lora_hashes": {one.name: one.adapter.sha256 for one in adapters if one.adapter.sha256},
        "lora_short_hashes": {one.name: one.adapter.short_hash for one in adapters if one.adapter.short_hash},
        "embedding_hashes": {one.word: one.sha256 for one in embeddings if one.sha256},
    }
    return {name: hashes for name, hashes in facts.items() if hashes}


class EmbeddingFiles:
    """Implements `studio.diffusion.embeddings.Words` over files."""

    def __init__(self, entries: Sequence[Entry], family: str, read: Callable[[Entry], Embedding]) -> None:
        """Of `entries` those that are embeddings for `family`, or may fit it: a word may be another's by chance."""
        self._all = readable = [e for e in entries if e.facts.kind == "embedding" and _readable(e)]
        here = (None, *adapters_for(family))
        self._entries = [e for e in readable if e.facts.family in here]
        self._others = {e.name: label_of(e.facts.family) for e in readable if e.facts.family not in here}
        self._read = read
        self._family = family
        folders = {end for e in self._entries for end in _ends(e.names[0])}
        self._names = tuple(folders | {e.name for e in self._entries})

    def of_models(self, models: Sequence[str] | None) -> EmbeddingFiles:
        """See `Words.of_models`."""
        return self if models is None else EmbeddingFiles(permitted(self._all, models), self._family, self._read)

    @property
    def version(self) -> Hashable:
        """Differs when a word or its file does."""
        return tuple((entry.name, entry.identity) for entry in self._entries)

    @property
    def names(self) -> Sequence[str]:
        """With and without folders; a name may be that of several files."""
        return self._names

    def embedding(self, name: str) -> Embedding:
        """See `Words.embedding`."""
        entry = the_one(self._entries, "embedding", name, field="prompt", what="embedding")
        try:
            return self._read(entry)
        except BadCheckpoint as error:
            raise InvalidRequest(
                Problem(
                    "prompt",
                    Message("the embedding {name}", name=quoted_value(name)),
                    Message("one that fits ({error})", error=error),
                )
            ) from error

    def of_others(self, text: str) -> list[tuple[str, str]]:
        """See `Words.of_others`."""
        here = {name_key(name) for name in self._names}
        families = {name_key(name): family for name, family in self._others.items() if name_key(name) not in here}
        pieces = split_at_names(text, tuple(self._others), prefix="embedding:")
        return [(piece, families[key]) for piece, key in pieces if key in families]

    def named_in(self, text: str) -> list[Entry]:
        """The files whose names stand in a prompt."""
        pieces = split_at_names(text.replace("\\", ""), self._names, prefix="embedding:")
        return [entry for piece, key in pieces if key for entry in matching(self._entries, "embedding", piece)]


def _readable(entry: Entry) -> bool:
    return entry.facts.state != "refused"


def _ends(path: str) -> list[str]:
    """The name alone, and with the folders before it."""
    parts = path.split("/")
    return ["/".join(parts[-count:]) for count in range(1, len(parts) + 1)]
