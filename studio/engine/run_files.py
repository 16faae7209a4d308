"""Which files a run uses, so that everything that continues it uses the same ones: its other images, its second pass,
its branches, and questions about it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence

from studio.asked.messages import Message
from studio.checkpoints.inspect import BadCheckpoint
from studio.diffusion.embeddings import Embedding
from studio.diffusion.lora import AppliedAdapter

RunFiles = Mapping[str, Hashable]  # by what people call a file; the value changes with the file


def run_files(
    checkpoint: str,
    identity: Hashable,
    adapters: Sequence[AppliedAdapter] = (),
    embeddings: Sequence[Embedding] = (),
    controlnets: Mapping[str, Hashable] | None = None,
    vaes: Mapping[str, Hashable] | None = None,
) -> RunFiles:
    """The files of a run: of its checkpoint and VAE, of the LoRAs and the embeddings that its prompts name, of its
    ControlNets, and of a VAE that it names itself."""
    files: dict[str, Hashable] = {Message("checkpoint {name}", name=checkpoint): identity}
    files |= {Message("ControlNet {name}", name=name): identity for name, identity in (controlnets or {}).items()}
    files |= {Message("VAE {name}", name=name): identity for name, identity in (vaes or {}).items()}
    files |= {Message("LoRA {name}", name=one.adapter.name): one.adapter.identity for one in adapters}
    files |= {Message("embedding {word}", word=one.word): one.sha256 for one in embeddings}
    return files


def check_unchanged(before: RunFiles, now: RunFiles) -> None:
    """Raises BadCheckpoint where a file that both have has been replaced."""
    replacements = [name for name, value in now.items() if name in before and before[name] != value]
    if replacements:
        raise BadCheckpoint(
            Message(
                "The {name} has been replaced on disk since this run began, so it cannot go on as it was. "
                "Start it again.",
                name=replacements[0] if len(replacements[0]) <= 90 else replacements[0][:90],
            )
        )
