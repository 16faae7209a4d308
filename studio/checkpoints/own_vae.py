"""The VAE that a run names instead of the one that its checkpoint runs with: for that run alone.

It is read beside the loaded checkpoint, which stays as it is, and is the same module that the checkpoint would have if
it were loaded with this VAE: the same config, precision and options.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass, replace
from typing import Any

from studio.asked.messages import Message
from studio.checkpoints import fitting
from studio.checkpoints.blueprints import blueprint_of
from studio.checkpoints.catalog import Entry
from studio.checkpoints.identify import identify
from studio.checkpoints.inspect import BadCheckpoint
from studio.checkpoints.loader import config_of
from studio.checkpoints.manager import ModelManager
from studio.checkpoints.part_plans import part_fit_problem
from studio.checkpoints.plans import empty_module, fill
from studio.checkpoints.tiny_autoencoder import TinyAutoencoder, load_tiny_autoencoder
from studio.diffusion.components import VAE, Components


@dataclass(frozen=True)
class OwnVae:
    """A VAE on the device, and what is said of it. `identity` changes with its file; `sha256`: "" where it is not
    known."""

    name: str
    module: Any
    identity: Hashable
    sha256: str

    def facts(self) -> dict[str, object]:
        """What a picture says of it: facts of `studio.picture.metadata`."""
        facts: dict[str, object] = {"vae": self.name, "vae_hash": self.sha256 or None}
        return facts | ({"vae_is_tiny": True} if isinstance(self.module, TinyAutoencoder) else {})


def with_vae(components: Components, own: OwnVae | None) -> Components:
    """The components with another VAE; themselves for None. What was fitted to the VAE before is left out; a small
    decoder that is not the checkpoint's own stays, since it is for all VAEs of these latents."""
    if own is None:
        return components
    dtype = next(iter(own.module.parameters())).dtype
    shared_decoder = components.tiny_vae_file is not None
    return replace(
        components,
        vae=own.module,
        vae_dtype=dtype if dtype != components.dtype else None,
        fast_preview=None,
        tiny_vae=components.tiny_vae if shared_decoder else None,
    )


def load_vae(source: Entry, components: Components, manager: ModelManager) -> Any:
    """The VAE of a file or folder for the loaded checkpoint, on its device. Raises BadCheckpoint, naming the file, for
    one that cannot be read or does not fit."""
    checkpoint = manager.entry
    assert checkpoint is not None
    # On a CPU the parts' precisions were measured; elsewhere a VAE begins in the checkpoint's precision.
    dtype = (components.vae_dtype if manager.device.is_cpu else None) or components.dtype
    if source.facts.kind == "preview_decoder":
        return load_tiny_autoencoder(source.path, device=components.device, dtype=dtype)
    facts = identify(checkpoint.path)
    corrected_prediction = manager.catalog.correction(checkpoint)
    if corrected_prediction is not None:
        facts = replace(facts, prediction_type=corrected_prediction, prediction_source="user")
    plan = blueprint_of(checkpoint.path, facts, vae=source.path).plans[VAE]
    module = empty_module(plan)
    parts = components.parts | {VAE: module}
    problem = part_fit_problem({part: config_of(one) for part, one in parts.items()})
    if problem:
        raise BadCheckpoint(Message("{file}: {problem}", file=source.path.name, problem=problem))
    fill(module, plan, components.device, dtype)
    fitting.apply_to_vae(module, manager.options)
    return module
