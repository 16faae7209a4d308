"""Questions for a figure of the tab Learn: the picture that a run of few steps ends with. None of them is kept."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, ClassVar

from studio.asked.control import Control
from studio.asked.fields import ImageToImage, Inpaint, TextToImage
from studio.asked.question import Question
from studio.asked.schedulers import NoiseScheduleName, SchedulerName

# What may be made anew of a picture => its box in shares of the sides: left, upper, right, lower.
PARTS: Mapping[str, tuple[float, float, float, float]] = {
    "left": (0, 0, 0.5, 1),
    "right": (0.5, 0, 1, 1),
    "top": (0, 0, 1, 0.5),
    "bottom": (0, 0.5, 1, 1),
    "middle": (0.25, 0.25, 0.75, 0.75),
}
PART_LABELS: Mapping[str, str] = {
    "left": "Left half",
    "right": "Right half",
    "top": "Upper half",
    "bottom": "Lower half",
    "middle": "Middle",
}


@dataclass(frozen=True, kw_only=True)
class FewSteps(Question):
    """The picture that a run of so few steps ends with, from the noise of this seed. It is not kept."""

    name: ClassVar[str] = "few-steps"

    prompt: str = ""
    steps: int = 1
    guidance_scale: float = 5.0
    scheduler: SchedulerName = "dpmpp_2m"
    noise_schedule: NoiseScheduleName = "automatic"
    seed: int = 0

    @property
    def num_inference_steps(self) -> int:
        """As the questions about schedules call it."""
        return self.steps

    @property
    def request(self) -> TextToImage | ImageToImage:
        """The run whose picture this is."""
        return TextToImage(**self._values())

    def _values(self) -> dict[str, Any]:
        names = ("prompt", "checkpoint", "guidance_scale", "scheduler", "noise_schedule", "seed", "num_inference_steps")
        return {name: getattr(self, name) for name in names}


@dataclass(frozen=True, kw_only=True)
class FewStepsFromPicture(FewSteps):
    """The same from a picture with the noise that belongs to a strength: int(steps * strength) steps are run."""

    name: ClassVar[str] = "few-steps-from-picture"
    needs_image: ClassVar[bool] = True

    strength: float = 0.6

    @property
    def request(self) -> ImageToImage:
        """The run whose picture this is."""
        return ImageToImage(**self._values(), image=self.image, strength=self.strength)


@dataclass(frozen=True, kw_only=True)
class FewStepsUnderMask(FewSteps):
    """The same where one part of a picture is made anew, from pure noise, and the rest stays."""

    name: ClassVar[str] = "few-steps-under-mask"
    needs_image: ClassVar[bool] = True

    part: str = "left"

    @property
    def request(self) -> Inpaint:
        """The run whose picture this is. Its mask is drawn once the picture's size is known; a byte stands for it."""
        return Inpaint(**self._values(), image=self.image, mask=b"?")


@dataclass(frozen=True, kw_only=True)
class FewStepsOfMap(FewSteps):
    """The same where a ControlNet, the one of the name `control`, holds the run to a finished map."""

    name: ClassVar[str] = "few-steps-of-map"
    needs_image: ClassVar[bool] = True

    control: str

    @property
    def request(self) -> TextToImage:
        """The run whose picture this is."""
        return TextToImage(**self._values(), controls=(Control(model=self.control, image=self.image),))
