"""A textual inversion file => `Embedding`: A1111's form, diffusers' form, and SDXL's with a set for each encoder."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import torch

from studio.asked.messages import Message
from studio.checkpoints.identify import of_header
from studio.checkpoints.inspect import BadCheckpoint, TensorEntry, read_whole_header
from studio.checkpoints.reader import WeightsFile, finite
from studio.diffusion.components import Components
from studio.diffusion.embeddings import Embedding
from studio.families.registry import label_of

_BY_NAME = ("clip_l", "clip_g")  # SDXL: first and second encoder


def load_embedding(path: Path, components: Components) -> Embedding:
    """Read an embedding for these components. Raises BadCheckpoint, naming the file, where it does not fit them."""
    header = read_whole_header(path)
    if of_header(header, path.stem).kind != "embedding" and not _small(header.tensors):
        raise BadCheckpoint(Message("{file} is no embedding.", file=path.name))
    tensors = header.tensors
    if all(name in tensors for name in _BY_NAME):
        names = list(_BY_NAME[-len(components.encoders) :])
    else:
        names = ["emb_params" if "emb_params" in tensors else next(iter(tensors))]
    widths = [int(encoder.config.hidden_size) for _, encoder in components.encoders]
    if len(names) != len(widths) or [tensors[name].shape[-1] for name in names] != widths:
        raise BadCheckpoint(
            Message(
                "The embedding {file} does not fit {components}, which is {family}: "
                "its vectors are {names} wide, "
                "{numbers} are needed.",
                file=path.name,
                components=components.name,
                family=label_of(components.family.name),
                names=" and ".join(str(tensors[name].shape[-1]) for name in names),
                numbers=" and ".join(map(str, widths)),
            )
        )
    with WeightsFile(path) as file:
        sets = [finite(path, file.read(tensors[name], device=components.device, dtype=torch.float32)) for name in names]
    vectors = tuple(tensor if tensor.ndim == 2 else tensor.reshape(1, -1) for tensor in sets)
    if len({len(v) for v in vectors}) != 1 or not 1 <= len(vectors[0]) <= components.chunk_tokens:
        raise BadCheckpoint(
            Message(
                "The embedding {file} should have 1 to {chunk_tokens} vectors for each text encoder.",
                file=path.name,
                chunk_tokens=components.chunk_tokens,
            )
        )
    return Embedding(path.stem, vectors)


def _small(tensors: Mapping[str, TensorEntry]) -> bool:
    """A file of one or two lists of vectors, of whatever width: narrow models have narrow embeddings."""
    return 1 <= len(tensors) <= 2 and all(len(entry.shape) in (1, 2) for entry in tensors.values())
