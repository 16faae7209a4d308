"""The fast preview of a VAE that came without one: from the cache, else fitted in idle time, better with every decode.

Works in slices of one encoding or decoding, so that a job that comes meanwhile waits no longer than that; on a GPU,
where all of them take less than a picture, at once. What was decoded for a picture or a full preview is learned from.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator

import torch

from studio.checkpoints.catalog import Entry
from studio.checkpoints.preview_fits import PreviewFits, hashing
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.preview import FastFit
from studio.engine.device import Device

logger = logging.getLogger(__name__)

SIDE = 256  # pixels of a picture that is fitted to
PICTURES, PICTURES_ON_CPU = 8, 2
PATCHES = 1024  # of one decoded picture that are learned from
ENOUGH = 4  # decodings that make a preview worth showing before the drawn pictures were looked at


class PreviewFitter:
    """Looks after the loaded checkpoint's fast preview from `begin` to `rest`. Used from the engine's thread alone."""

    def __init__(self, fits: PreviewFits, device: Device) -> None:
        self._fits = fits
        self._device = device
        self._components: Components | None = None
        self._hash: str | None = None
        self._fit: FastFit | None = None
        self._saved_rows = 0.0  # rows of the fit that are kept already
        self._decodings = 0  # learned from since `begin`
        self._work: Iterator[None] | None = None

    def begin(self, components: Components, entry: Entry | None) -> None:
        """Look after these components, whose VAE lies in `entry`; one that came with a preview needs nothing.

        What is known of this very file is there at once; the rest is for `idle` on a CPU."""
        if components is self._components:
            return
        self.rest()
        if entry is None or components.fast_preview is not None:
            return
        self._components = components
        self._fit = FastFit.empty(components.latent_channels, components.vae_scale_factor)
        self._hash = self._fits.hash_of(entry, components.dtype)
        if self._hash is not None and self._add_stored_fit():
            return
        self._work = self._slices(components, entry)
        while not self._device.is_cpu and self._work is not None:
            self._slice(self._work)

    def idle(self) -> bool:
        """One slice of what is still to be done, or the keeping of what was learned. False when there is nothing."""
        if self._work is None:
            return self._keep()
        self._slice(self._work)
        return True

    def _slice(self, work: Iterator[None]) -> None:
        try:
            next(work)
        except StopIteration:
            self._work = None
        except Exception as error:
            # No preview is worth a job: what is wrong with the VAE will be said by the first picture.
            self._work = None
            logger.warning("No fast preview could be fitted to this VAE", exc_info=True)
            if self._device.is_out_of_memory(error):
                error.__traceback__ = None
                self._device.release()

    def learn(self, components: Components, latents: torch.Tensor, pixels: torch.Tensor) -> None:
        """Take in what the VAE has made of latents (B, C, h, w): pixels (B, 3, H, W)."""
        if components is not self._components or self._fit is None:
            return
        self._fit.add(latents, pixels.clamp(-1, 1), most=PATCHES * len(latents))
        self._decodings += len(latents)
        if components.fast_preview is not None or self._decodings >= ENOUGH:
            self._show()

    @property
    def vae_hash(self) -> str | None:
        """The hash of the VAE that is being fitted or has been; None until it is known."""
        return self._hash

    def rest(self) -> None:
        """Let go of the components; what was learned is kept."""
        self._keep()
        self._components = self._hash = self._fit = self._work = None
        self._saved_rows, self._decodings = 0.0, 0

    def _slices(self, components: Components, entry: Entry) -> Iterator[None]:
        assert self._fit is not None
        if self._hash is None:
            for sha256 in hashing(components.vae):
                self._hash = sha256
                yield
            assert self._hash is not None
            self._fits.name(entry, components.dtype, self._hash)
            if self._add_stored_fit():
                return
        if not components.encodes_pictures:  # runs alone show what its latents look like
            return
        count = PICTURES_ON_CPU if self._device.is_cpu else PICTURES
        for picture in vae.synthetic_pictures(count, SIDE).split(1):
            latents = vae.encode(components, picture)
            yield
            self._fit.add(latents, vae.decode(components, latents).clamp(-1, 1))
            yield
        self._show()

    def _add_stored_fit(self) -> bool:
        """What was learned of this VAE before, added to what was learned meanwhile. Whether there was any."""
        assert self._hash is not None
        assert self._fit is not None
        stored_fit = self._fits.get(self._hash, like=self._fit)
        if stored_fit is None:
            return False
        fresh = self._fit.rows > 0
        self._fit += stored_fit
        self._saved_rows = 0.0 if fresh else self._fit.rows
        self._show()
        return True

    def _show(self) -> None:
        """Let the components have the best preview that is known now."""
        if self._components is None or self._fit is None:
            return
        try:
            weight, bias = self._fit.solve()
        except (RuntimeError, ArithmeticError):
            return
        if bool(torch.isfinite(weight).all()) and bool(torch.isfinite(bias).all()):
            device = self._components.device
            self._components.fast_preview = weight.to(device), bias.to(device)

    def _keep(self) -> bool:
        if self._fit is None or self._hash is None or self._fit.rows == self._saved_rows or self._work is not None:
            return False
        self._saved_rows = self._fit.rows
        self._fits.put(self._hash, self._fit)
        return True
