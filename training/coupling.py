"""Noise that goes with its picture: meant to let the empty prompt decide on one object instead of blending several.

Without words only the noise can say what is drawn. Where noise and picture are drawn independently, the U-Net must find
that decision in data that hardly shows through at large t, and answers with the mean of what is possible. So pictures
that are shown without a caption get noise that tells their object: by the signs of its components along a few
directions in which objects differ most, one pattern of signs for each object.

That is a coupling of noise and data with both marginals as they were: the noise of all pictures together is N(0, I),
as in generation, and the forward process keeps its form. Deterministic samplers follow such a coupling exactly
(Pooladian et al. 2023, "Multisample Flow Matching"; Tong et al. 2024, minibatch optimal transport; Li et al. 2024,
"Immiscible Diffusion", for noise prediction); those that add noise on the way follow it in part. Pictures with a
caption keep independent noise, since there the words decide.

Tried first: noise that points along its object's own direction more than along the 63 others'. A linear look at that
tells 9 % of it (2.35^2 / 64), so there is little to begin to learn by, and nothing was learned in 450 steps. How much
the signs do is not known either: no run without them was made to compare (training/README.md).
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from safetensors.torch import load_file, save_file
from scipy.optimize import linear_sum_assignment
from torch import Tensor

COUPLING_FILE = "coupling.safetensors"
ALONE = -1  # the object of a picture that has none of its own


class Coupling(NamedTuple):
    """K objects, each with a pattern of signs of the noise along log2(K) directions."""

    signs: Tensor  # (K, log2(K)), of 1 and -1; no two rows alike
    directions: Tensor  # (log2(K), C * H * W), orthonormal

    def apply(self, noise: Tensor, objects: Tensor) -> Tensor:
        """Noise (B, C, H, W) with the signs of its objects (B,) along all directions; as it was for `ALONE`.

        Reflections: they leave N(0, I) what it is when all objects are equally likely.
        """
        components = noise.flatten(1) @ self.directions.T  # (B, log2(K))
        wanted = components.abs() * self.signs[objects.clamp(min=0)]
        change = torch.where((objects == ALONE)[:, None], 0.0, wanted - components)
        return noise + (change @ self.directions).view_as(noise)


def make_coupling(latents: Tensor, objects: Tensor, count: int, rounds: int = 50) -> Coupling:
    """For `count` objects, a power of two: those that look alike get signs that are alike.

    Signs and directions are chosen in turns so that the objects' mean latents lie as far as can be in their own orthant
    (iterative quantisation, Gong & Lazebnik 2011, with each orthant given to one object).

    latents: (N, C, H, W); objects: (N,), the number of the object that each shows, or `ALONE`. Raises ValueError when
    `count` is no power of two, or some object is shown by none.
    """
    shown = torch.bincount(objects[objects != ALONE], minlength=count)
    if len(shown) != count or not bool(shown.all()):
        raise ValueError(f"objects: pictures of each of {count} are needed, there are {shown.tolist()}")
    bits = count.bit_length() - 1
    if 2**bits != count:
        raise ValueError(f"count: must be a power of two, got {count}")
    means = torch.stack([latents[objects == number].float().mean(dim=0) for number in range(count)]).flatten(1)
    means = means - means.mean(dim=0)
    orthants = 1.0 - 2.0 * (torch.arange(count)[:, None] >> torch.arange(bits) & 1).to(means)  # (count, bits)
    directions = torch.linalg.svd(means, full_matrices=False)[2][:bits]
    for _ in range(rounds):
        _, own = linear_sum_assignment((means @ directions.T @ orthants.T).cpu().numpy(), maximize=True)
        signs = orthants[torch.from_numpy(np.asarray(own)).to(orthants.device)]
        left, _, right = torch.linalg.svd(signs.T @ means, full_matrices=False)
        directions = left @ right
    return Coupling(signs, directions)


def save_coupling(coupling: Coupling | None, folder: Path) -> None:
    """Keeps it with the weights that learned it, if any: other pictures would give other signs."""
    if coupling is None:
        return
    tensors = {name: value.cpu().contiguous() for name, value in coupling._asdict().items()}
    save_file(tensors, folder / COUPLING_FILE)


def load_coupling(*folders: Path | None) -> Coupling | None:
    """That of the first of these folders which has one."""
    for folder in folders:
        if folder is not None and (folder / COUPLING_FILE).exists():
            return Coupling(**load_file(folder / COUPLING_FILE))
    return None
