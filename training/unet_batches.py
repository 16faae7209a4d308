"""What the U-Net is shown in each step: latents, captions or none, timesteps and noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

import torch
from torch import Tensor

from training.coupling import ALONE, Coupling, make_coupling
from training.encode_latents import CachedLatents, draw_indices
from training.losses import draw_timesteps
from training.state import generator_for
from training.world import OBJECTS, draw_scene, plain_single

# Below this timestep the noisy latents themselves show what they are of, and whatever is drawn serves as an example.
# Above it the empty prompt must decide, and sees plain objects with coupled noise alone. Measured: where words led the
# first ten of 25 Karras steps (to t of about 530), the empty prompt finished 89 % of the objects rightly.
CAPTIONLESS_FROM = 400


def plain_objects(seed: int, count: int) -> Tensor:
    """Which object each of the samples 0 ... count-1 of the world `seed` shows plainly, or `ALONE`; int64 (count,).

    The samples are drawn up again, not rendered: `world.py` must be as it was when their latents were made.
    """
    objects = [plain_single(draw_scene(seed, index)) for index in range(count)]
    return torch.tensor([ALONE if number is None else number for number in objects])


def choose_tokens(tokens: Tensor, empty: Tensor, shares: Tensor, generator: torch.Generator) -> Tensor:
    """One wording of each caption, or none: int16 (B, WORDINGS, 77), (77,), (B,) => int64 (B, 77).

    `shares`: how likely each caption is dropped.
    """
    device = generator.device
    wording = torch.randint(tokens.shape[1], (len(tokens),), generator=generator, device=device)
    is_dropped = torch.rand(len(tokens), generator=generator, device=device) < shares
    wordings = tokens[torch.arange(len(tokens), device=device), wording]
    return torch.where(is_dropped[:, None], empty, wordings).long()


class CaptionlessRows:
    """Puts pictures of one plain object in the place of a share of each batch, to be shown without a caption."""

    def __init__(self, coupling: Coupling, objects: Tensor, share: float) -> None:
        """objects: (N,) of `plain_objects`, of all pictures that there are."""
        self.coupling = coupling
        self._objects = objects
        self._plain = torch.nonzero(objects != ALONE).flatten()
        self._share = share

    def replace(self, indices: Tensor, generator: torch.Generator) -> tuple[Tensor, Tensor]:
        """A batch's indices (B,) with some replaced, and which these are, bool (B,)."""
        count, device = len(indices), generator.device
        is_plain = torch.rand(count, generator=generator, device=device) < self._share
        others = self._plain[torch.randint(len(self._plain), (count,), generator=generator, device=device)]
        return torch.where(is_plain, others, indices), is_plain

    def couple(self, noise: Tensor, indices: Tensor, is_plain: Tensor, generator: torch.Generator) -> Tensor:
        """The noise (B, 4, 16, 16) of pictures `indices`, that of the plain ones coupled to their objects."""
        return self.coupling.apply(noise, torch.where(is_plain, self._objects[indices], ALONE), generator)


class Shares(Protocol):
    """What of the U-Net's configuration decides over its batches."""

    @property
    def seed(self) -> int: ...
    @property
    def batch(self) -> int: ...
    @property
    def caption_dropout(self) -> float: ...
    @property
    def unprompted(self) -> float: ...
    @property
    def unprompted_from(self) -> int: ...


class UnetBatch(NamedTuple):
    """The rows of one process: latents and noise (B, 4, 16, 16), tokens (B, 77), timesteps (B,), unprompted (B,)."""

    latents: Tensor
    tokens: Tensor
    timesteps: Tensor
    noise: Tensor
    unprompted: Tensor  # which rows are plain objects with coupled noise


class UnetBatches:
    """Draws every batch of a run anew from its seed and the number of the step."""

    def __init__(
        self,
        latents_files: Sequence[CachedLatents],
        empty: Tensor,
        weights: Tensor,
        shares: Shares,
        device: torch.device,
        coupling: Coupling | None = None,
    ) -> None:
        """cached: of one autoencoder, with captions in one vocabulary, shown as if they were one.
        empty: tokens of the empty caption, (77,); weights: how often each timestep is drawn, (T,).
        coupling: the one to go on with, else one is made of these latents, if the shares ask for any. Raises ValueError
        when these latents do not show every object plainly.
        """
        self._latents = torch.cat([one.latents for one in latents_files]).to(device)
        self._tokens = torch.cat([one.tokens for one in latents_files if one.tokens is not None]).to(device)
        self._empty = empty.to(device, self._tokens.dtype)
        self._weights = weights
        self._shares = shares
        self._device = device
        self._captionless = None
        if shares.unprompted:
            objects = torch.cat([plain_objects(one.seed, len(one.latents)) for one in latents_files]).to(device)
            if coupling is None:
                coupling = make_coupling(self._latents, objects, len(OBJECTS))
            coupling = Coupling(*(part.to(device) for part in coupling))
            self._captionless = CaptionlessRows(coupling, objects, shares.unprompted)
        self.coupling = coupling

    def draw(self, step: int, rows: range) -> UnetBatch:
        """Those `rows` of batch number `step`; all random numbers are drawn for the whole batch, so any process may."""
        shares, device, mine = self._shares, self._device, slice(rows.start, rows.stop)
        generator = generator_for(shares.seed, step, device)
        row_numbers = draw_indices(len(self._latents), shares.batch, step, shares.seed)
        indices = torch.from_numpy(row_numbers).to(device, non_blocking=True)
        timesteps = draw_timesteps(shares.batch, self._weights, generator)
        dropout = torch.full((shares.batch,), shares.caption_dropout, device=device)
        is_plain = torch.zeros(shares.batch, dtype=torch.bool, device=device)
        if self._captionless is not None:
            indices, is_plain = self._captionless.replace(indices, generator)
            even = torch.randint(
                shares.unprompted_from, len(self._weights), timesteps.shape, generator=generator, device=device
            )
            timesteps = torch.where(is_plain, even, timesteps)
            dropout = torch.where(timesteps < CAPTIONLESS_FROM, dropout, 0.0).masked_fill(is_plain, 1.0)
        tokens = choose_tokens(self._tokens[indices], self._empty, dropout, generator)[mine]
        latents = self._latents[indices[mine]].float()
        noise = torch.randn(shares.batch, *latents.shape[1:], generator=generator, device=device)
        if self._captionless is not None:  # for the whole batch: two rows of one object must not get the same noise
            noise = self._captionless.couple(noise, indices, is_plain, generator)
        return UnetBatch(latents, tokens, timesteps[mine], noise[mine], is_plain[mine])
