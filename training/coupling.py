"""Noise that goes with its picture, so that the empty prompt decides on one object instead of blending several.

Without words only the noise can say what is drawn. Where noise and picture are drawn independently, the paths of all
objects cross at large t: the U-Net must find the decision in data that hardly shows through, and answers with a mean of
what is possible. So pictures that are shown without a caption get noise that lies nearest to their own object: optimal
transport between N(0, I) and the objects' mean latents, where no two paths cross. Each object k owns the noises with
the largest <mean_k, noise> - price_k, and the prices are such that all own as many (semi-discrete optimal transport,
e.g. Peyre & Cuturi 2019, section 5.2).

Both marginals are as they were: the noise of all pictures together is N(0, I), as in generation, and the forward
process keeps its form. Deterministic samplers follow such a coupling exactly (Pooladian et al. 2023, "Multisample Flow
Matching"; Tong et al. 2024, minibatch optimal transport; Li et al. 2024, "Immiscible Diffusion", for noise
prediction); those that add noise on the way follow it in part. Pictures with a caption keep independent noise, since
there the words decide.
"""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

import torch
from safetensors.torch import load_file, save_file
from torch import Tensor

COUPLING_FILE = "coupling.safetensors"
ALONE = -1  # the object of a picture that has none of its own
POOL = 32  # noises that are drawn for each object, on the average, before one is chosen


class Coupling(NamedTuple):
    """K objects, each with the noises that are its own."""

    means: Tensor  # (K, C * H * W): the objects' mean latents, less the mean of all
    prices: Tensor  # (K,)

    def owners(self, noise: Tensor) -> Tensor:
        """Noise (B, C, H, W) => the object that owns each, (B,)."""
        return (noise.flatten(1) @ self.means.T - self.prices).argmax(dim=1)

    def apply(self, noise: Tensor, objects: Tensor, generator: torch.Generator) -> Tensor:
        """Noise (B, C, H, W) with that of every object's picture replaced by noise of the object's own; objects: (B,).

        As it was for `ALONE`. A noise that nobody found in `POOL` draws for each object (none in 10^14) stays too.
        """
        pool = torch.randn(
            (POOL * len(self.means), *noise.shape[1:]), generator=generator, device=noise.device, dtype=noise.dtype
        )
        owners = self.owners(pool)
        order = torch.argsort(owners, stable=True)
        begin = torch.searchsorted(owners[order], torch.arange(len(self.means), device=noise.device))
        uses = torch.zeros_like(begin)
        result = noise.clone()
        for row in torch.nonzero(objects != ALONE).flatten().tolist():
            number = int(objects[row])
            place = int(begin[number] + uses[number])
            if place < len(order) and int(owners[order[place]]) == number:
                result[row] = pool[order[place]]
                uses[number] += 1
        return result


def make_coupling(latents: Tensor, objects: Tensor, count: int, draws: int = 1 << 15, rounds: int = 150) -> Coupling:
    """For `count` objects. The prices are found by `rounds` rounds over `draws` noises, to a fifth of a share at worst.

    latents: (N, C, H, W); objects: (N,), the number of the object that each shows, or `ALONE`. Raises ValueError when
    some object is shown by none.
    """
    counts = torch.bincount(objects[objects != ALONE], minlength=count)
    if len(counts) != count or not bool(counts.all()):
        raise ValueError(f"objects: pictures of each of {count} are needed, there are {counts.tolist()}")
    means = torch.stack([latents[objects == number].float().mean(dim=0) for number in range(count)]).flatten(1)
    means = means - means.mean(dim=0)
    # <mean_k, noise> of all k together is N(0, means means^T): there is no need to draw the noises themselves.
    vectors, spread, _ = torch.linalg.svd(means.cpu(), full_matrices=False)
    generator = torch.Generator().manual_seed(0)
    scores = (torch.randn(draws, len(spread), generator=generator) * spread) @ vectors.T
    prices = torch.zeros(count)
    for number in range(rounds):
        shares = torch.bincount((scores - prices).argmax(dim=1), minlength=count) / draws
        # The gain falls with the rounds: at first prices have far to go, at last they must not swing.
        prices += spread[0] * (shares * count - 1).clamp(max=3) * 0.5 / (1 + number / 10)
    return Coupling(means, prices.to(means))


def save_coupling(coupling: Coupling | None, folder: Path) -> None:
    """Keeps it with the weights that learned it, if any: other pictures would give another."""
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
