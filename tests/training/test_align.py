"""An autoencoder whose latents were turned is turned back: same pictures, the latents that were known before."""

from __future__ import annotations

import copy

import torch

from tests.training.test_resume import TINY_AUTOENCODER
from training.align import decode, encode, fit_map, fold
from training.train_autoencoder import make_autoencoder

TURNED = torch.tensor([[1.0, 0.4, 0.0, 0.2], [0.1, -2.0, 0.0, 0.0], [0.0, 0.3, 0.5, 0.0], [0.0, 0.0, 0.7, 1.0]])
MOVED = torch.tensor([0.3, -0.2, 0.0, 1.0])


def test_the_map_is_found_and_folding_it_changes_latents_but_no_picture() -> None:
    old = make_autoencoder(TINY_AUTOENCODER).eval()
    pixels = torch.rand(4, 3, 64, 64, generator=torch.Generator().manual_seed(0)) * 2 - 1
    known = encode(old, pixels)
    new = copy.deepcopy(old)
    fold(new, TURNED, MOVED)
    moved = encode(new, pixels)
    torch.testing.assert_close(moved, torch.einsum("ij,bjhw->bihw", TURNED, known) + MOVED.view(1, 4, 1, 1))
    torch.testing.assert_close(decode(new, moved), decode(old, known), rtol=1e-4, atol=1e-5)

    matrix, offset = fit_map(moved, known)
    torch.testing.assert_close(matrix, torch.linalg.inv(TURNED), rtol=1e-3, atol=1e-4)
    fold(new, matrix, offset)
    torch.testing.assert_close(encode(new, pixels), known, rtol=1e-3, atol=1e-4)
    torch.testing.assert_close(decode(new, known), decode(old, known), rtol=1e-3, atol=1e-4)
