"""The ways in which the predictions with and without the prompt become one, as `studio.asked.guidance` names them.

u is the model's output for the negative prompt, c that for the prompt, w the guidance scale.
"""

from __future__ import annotations

import torch

from studio.asked.guidance import CFGPP_FULL, GuidanceSettings
from studio.diffusion.guidance import guide
from studio.diffusion.levels import Level
from studio.diffusion.quantities import noise_terms, x0_terms

_SMALLEST = 1e-12  # a norm that is divided by, as torch.nn.functional.normalize has it


def rescaled(output: torch.Tensor, conditional: torch.Tensor, share: float) -> torch.Tensor:
    """Guided output (1, C, h, w) brought to the standard deviation of the conditional one, by a share of 0 to 1: g =>
    share * g std(c) / std(g) + (1 - share) g (Lin et al. 2023, section 3.4)."""
    ratio = conditional.std() / output.std()
    return share * (output * ratio) + (1 - share) * output


def parallel_part(difference: torch.Tensor, direction: torch.Tensor) -> torch.Tensor:
    """The part of a difference along a direction, both of one shape; computed in float64 where the device has it."""
    wide = torch.float32 if difference.device.type == "mps" else torch.float64
    one, other = difference.to(wide), direction.to(wide)
    unit = other / other.norm().clamp_min(_SMALLEST)
    return ((one * unit).sum() * unit).to(difference.dtype)


class GuidanceMethod:
    """How one image's predictions become one. It remembers the sum of APG's momentum: its evaluations come in order."""

    def __init__(self, settings: GuidanceSettings, prediction_type: str) -> None:
        self.settings = settings
        self._prediction_type = prediction_type
        self._average: torch.Tensor | None = None  # of the differences of predicted x0 so far, by APG's momentum

    def guide(self, outputs: torch.Tensor, scale: float, x_t: torch.Tensor, level: Level) -> torch.Tensor:
        """(2, C, h, w) float32, the negative prompt's first, => (1, C, h, w); one row passes through. `x_t`
        (1, C, h, w) is what the model was given."""
        if len(outputs) == 1 or self.settings.is_usual:
            return guide(outputs, scale)
        if self.settings.method == "apg":
            guided = self._projected(outputs, scale, x_t, level)
        else:
            guided = guide(outputs, scale / CFGPP_FULL if self.settings.method == "cfgpp" else scale)
        if self.settings.rescale:
            guided = rescaled(guided, outputs[1:], self.settings.rescale)
        return guided

    def _projected(self, outputs: torch.Tensor, scale: float, x_t: torch.Tensor, level: Level) -> torch.Tensor:
        """APG (Sadat et al. 2024, algorithm 1): of D = x0(c) - x0(u), summed with momentum and no longer than the
        threshold, the part along x0(c) counts `apg_eta` times; x0(c) + (w - 1) D is the guided x0. Where x0 is
        undefined (pure noise) it is plain guidance."""
        terms = x0_terms(level.a, level.s, self._prediction_type)
        if terms is None:
            return guide(outputs, scale)
        negative, positive = (terms.of_input * x_t + terms.of_output * one for one in outputs.split(1))
        difference = positive - negative
        if self._average is not None:
            difference = difference + self.settings.apg_momentum * self._average
        self._average = difference
        if self.settings.apg_norm:
            length = difference.norm().clamp_min(_SMALLEST)
            difference = difference * torch.clamp(self.settings.apg_norm / length, max=1.0)
        along = parallel_part(difference, positive)
        update = difference - along + self.settings.apg_eta * along
        return outputs[1:] + (scale - 1) * update / terms.of_output  # x0 is linear in the output

    def for_step(
        self, guided: torch.Tensor, outputs: torch.Tensor, x_t: torch.Tensor, level: Level
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """(x_t, model output) that the scheduler's step is given; but for CFG++ what the model was given and the guided
        output. CFG++ (Chung et al. 2024, algorithm 2) goes from the guided x0 to the next noise level with the noise
        predicted without the prompt: x_t is made of these two."""
        if self.settings.method != "cfgpp" or len(outputs) == 1:
            return x_t, guided
        of_x0, of_noise = (f(level.a, level.s, self._prediction_type) for f in (x0_terms, noise_terms))
        if of_x0 is None or of_noise is None:
            return x_t, guided
        x0 = of_x0.of_input * x_t + of_x0.of_output * guided
        noise = of_noise.of_input * x_t + of_noise.of_output * outputs[:1]
        mixed = level.a * x0 + level.s * noise
        # Of the two formulas for the output that says so, the one that divides by the larger number.
        if abs(of_noise.of_output) >= abs(of_x0.of_output):
            return mixed, (noise - of_noise.of_input * mixed) / of_noise.of_output
        return mixed, (x0 - of_x0.of_input * mixed) / of_x0.of_output
