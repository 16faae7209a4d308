"""Noise that goes with its picture: what lets the empty prompt decide on one object instead of blending several.

Without words only the noise can say what is drawn. Where noise and picture are drawn independently, the U-Net must find
that decision in data that hardly shows through at large t, and answers with the mean of what is possible. So pictures
that are shown without a caption get noise that leans towards their own object more than towards any other.

That is a coupling of noise and data with both marginals as they were: the noise of all pictures together is N(0, I),
as in generation, and the forward process keeps its form. Deterministic samplers follow such a coupling exactly
(Pooladian et al. 2023, "Multisample Flow Matching"; Tong et al. 2024, minibatch optimal transport; Li et al. 2024,
"Immiscible Diffusion", for noise prediction); those that add noise on the way follow it in part. Pictures with a
caption keep independent noise, since there the words decide.
"""

from __future__ import annotations

import torch
from torch import Tensor

ALONE = -1  # the object of a picture that has none of its own to lean to


def object_directions(latents: Tensor, objects: Tensor, count: int) -> Tensor:
    """Orthonormal directions, (count, C, H, W), of which number k is as near as can be to the mean latents of object k.

    latents: (N, C, H, W); objects: (N,), the number of the object that each shows, or `ALONE` for those to leave out.
    Symmetric orthogonalisation (Loewdin 1950): of all orthonormal sets the nearest to the means in least squares.
    Raises ValueError when some object is shown by none.
    """
    shown = torch.bincount(objects[objects != ALONE], minlength=count)
    if len(shown) != count or not bool(shown.all()):
        raise ValueError(f"objects: pictures of each of {count} are needed, there are {shown.tolist()}")
    means = torch.stack([latents[objects == number].float().mean(dim=0) for number in range(count)])
    left, _, right = torch.linalg.svd(means.flatten(1), full_matrices=False)
    return (left @ right).view_as(means)


def couple(noise: Tensor, objects: Tensor, directions: Tensor) -> Tensor:
    """Noise (B, C, H, W) that, of all `directions`, points most along that of its object; as it was for `ALONE`.

    The component along the object's direction is exchanged with the largest one: a reflection, which leaves N(0, I)
    what it is when all objects are equally likely.
    """
    components = noise.flatten(1) @ directions.flatten(1).T  # (B, K)
    largest = components.argmax(dim=1)
    own = torch.where(objects == ALONE, largest, objects)  # exchanged with itself
    rows = torch.arange(len(noise), device=noise.device)
    difference = components[rows, largest] - components[rows, own]
    return noise + difference.view(-1, 1, 1, 1) * (directions[own] - directions[largest])
