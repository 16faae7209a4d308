"""Every loss of the built-in model, each named after its equation.

Papers: Kingma & Welling 2014 (VAE), Ho et al. 2020 (DDPM), Rombach et al. 2022 (LDM), Hang et al. 2023 (min-SNR).
Rombach's numbers: (1) L_DM on pixels, (2) L_LDM on latents, (3) L_LDM with condition.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
import torch.nn.functional as F
from torch import Tensor

Denoiser = Callable[[Tensor, Tensor], Tensor]  # (z_t, t) -> predicted noise
ConditionalDenoiser = Callable[[Tensor, Tensor, Tensor], Tensor]  # (z_t, t, tau_theta(y)) -> predicted noise


# ------------------------------------------------------------------------------------------------ autoencoder


def reconstruction_loss(decoded: Tensor, pixels: Tensor, l2_weight: float = 1.0) -> Tensor:
    """L1 + L2 over pixels in [-1, 1], (B, 3, H, W): L1 keeps edges, L2 keeps colours and the PSNR honest."""
    return F.l1_loss(decoded, pixels) + l2_weight * F.mse_loss(decoded, pixels)


def gradient_loss(decoded: Tensor, pixels: Tensor, scales: int = 2) -> Tensor:
    """Our perceptual term: mean |difference of image gradients| at full, half, ... resolution, no network needed.

    A soft edge costs little in L1 but is what the eye sees first; gradients make it dear.
    """
    total = decoded.new_zeros(())
    error = decoded - pixels  # gradients are linear, so the gradient of the error is the error of the gradients
    for scale in range(scales):
        if scale:
            error = F.avg_pool2d(error, 2)
        total = total + (error[..., :, 1:] - error[..., :, :-1]).abs().mean()
        total = total + (error[..., 1:, :] - error[..., :-1, :]).abs().mean()
    return total / scales


def kl_loss(mean: Tensor, logvar: Tensor) -> Tensor:
    """KL(N(mean, exp(logvar)) || N(0, 1)) per latent value (Kingma & Welling 2014, appendix B), averaged over all."""
    return 0.5 * (mean.square() + logvar.exp() - 1.0 - logvar).mean()


def linear_decodability_loss(head_pixels: Tensor, pixels: Tensor) -> Tensor:
    """L2 of what one 3x3 convolution makes of the latents: keeps them linear in colour for the *fast* preview."""
    return F.mse_loss(head_pixels, pixels)


# ------------------------------------------------------------------------------------------------ diffusion


def forward_process(clean: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """Draws from q(z_t | z_0) = N(sqrt(abar_t) z_0, (1 - abar_t) I), Ho et al. 2020 eq. 4, with the noise given.

    clean, noise: (B, C, H, W); timesteps: (B,) in [0, T); alphas_cumprod: (T,).
    """
    abar = alphas_cumprod[timesteps].view(-1, 1, 1, 1)
    return abar.sqrt() * clean + (1 - abar).sqrt() * noise


def min_snr_weights(timesteps: Tensor, alphas_cumprod: Tensor, gamma: float = 5.0) -> Tensor:
    """min(SNR, gamma) / SNR for noise prediction (Hang et al. 2023, section 3.4), (B,).

    Plain L_LDM spends most of its gradient on nearly clean latents, where there is little to learn.
    """
    abar = alphas_cumprod[timesteps]
    snr = abar / (1 - abar)
    return snr.clamp(max=gamma) / snr


def high_noise_weights(timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """max(1, SNR^-1/2), (B,): what the loss at the noisy end is multiplied with.

    There the noise prediction is nearly right for anyone who copies z_t, so its error is tiny; yet there the background
    is decided, by words alone once generation starts from pure noise. Unweighted, the words for it are learned last.
    """
    abar = alphas_cumprod[timesteps]
    return ((1 - abar) / abar).sqrt().clamp_min(1.0)


def decision_weights(timesteps: Tensor, alphas_cumprod: Tensor, gain: float = 0.25) -> Tensor:
    """max(1, gain SNR^-1/2), (B,): with `high_noise_weights`, the loss where the noise is strongest is one on x0.

    The error of the noise is that of the predicted x0 times SNR, so 1 / SNR is what weighs x0 alike at all timesteps.
    What the empty prompt draws is decided there, and counted as noise it is 1 / 200 of what it is to the picture.
    """
    abar = alphas_cumprod[timesteps]
    return (gain * ((1 - abar) / abar).sqrt()).clamp_min(1.0)


def draw_timesteps(count: int, weights: Tensor, generator: torch.Generator) -> Tensor:
    """Timesteps (count,) with probability proportional to `weights` (T,), one from each of `count` equal slices.

    Drawing by the min-SNR weight instead of multiplying by it has the same expectation up to a constant, and spends no
    step on timesteps that hardly count. Slices, because losses differ a hundredfold between timesteps: an uneven draw
    would be noise in the gradient.
    """
    device = generator.device  # that of the weights too
    order = torch.randperm(count, generator=generator, device=device)
    place = (order + torch.rand(count, generator=generator, device=device)) / count
    cumulative = torch.cumsum(weights.double(), 0)
    return torch.searchsorted(cumulative / cumulative[-1], place.double()).clamp(max=len(weights) - 1)


def _noise_error(noise_pred: Tensor, noise: Tensor, weights: Tensor | None) -> Tensor:
    error = (noise_pred - noise).square().mean(dim=(1, 2, 3))  # (B,)
    return (error if weights is None else error * weights).mean()


def dm_loss(denoiser: Denoiser, pixels: Tensor, noise: Tensor, timesteps: Tensor, alphas_cumprod: Tensor) -> Tensor:
    """L_DM = E ||eps - eps_theta(x_t, t)||^2 on pixels (Rombach et al. 2022, eq. 1): what latent diffusion replaces."""
    return _noise_error(denoiser(forward_process(pixels, noise, timesteps, alphas_cumprod), timesteps), noise, None)


def ldm_loss(
    denoiser: Denoiser,
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    alphas_cumprod: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """L_LDM = E ||eps - eps_theta(z_t, t)||^2 on latents (Rombach et al. 2022, eq. 2); empty captions train it."""
    noisy_latents = forward_process(latents, noise, timesteps, alphas_cumprod)
    return _noise_error(denoiser(noisy_latents, timesteps), noise, weights)


def conditional_ldm_loss(
    denoiser: ConditionalDenoiser,
    latents: Tensor,
    noise: Tensor,
    timesteps: Tensor,
    prompt_embeds: Tensor,
    alphas_cumprod: Tensor,
    weights: Tensor | None = None,
) -> Tensor:
    """L_LDM = E ||eps - eps_theta(z_t, t, tau_theta(y))||^2 (Rombach et al. 2022, eq. 3).

    `prompt_embeds` = tau_theta(y), (B, tokens, dim), still attached to the text encoder, which is trained jointly.
    """
    noisy_latents = forward_process(latents, noise, timesteps, alphas_cumprod)
    return _noise_error(denoiser(noisy_latents, timesteps, prompt_embeds), noise, weights)
