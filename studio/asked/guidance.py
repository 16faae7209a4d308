"""How a run is guided: in which noise levels, and how the two predictions become one. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Literal

GuidanceMethodName = Literal["cfg", "apg", "cfgpp"]

METHODS: Mapping[str, str] = {"cfg": "CFG", "apg": "APG", "cfgpp": "CFG++"}
# CFG++ gives the scheduler a predicted x0 and a predicted noise that do not belong to one x_t: those of one evaluation
# a step, without a memory of earlier ones, take it as its paper means it.
CFGPP_SCHEDULERS = ("euler", "euler_a", "ddim")
CFGPP_FULL = 12.5  # the guidance scale at which CFG++'s own, from 0 to 1, is 1 (as in A1111's DDIM CFG++)
GUIDANCE_FIELDS = (
    "guidance_low", "guidance_high", "guidance_rescale", "guidance_method", "apg_eta", "apg_norm", "apg_momentum",
)  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class GuidanceSettings:
    """The fields of a request that say it, without the guidance scale.

    `low`, `high`: guidance acts at noise levels sigma from `low` to `high`, both included; `high` 0: no limit.
    `rescale`: the share, 0 to 1, of Lin et al.'s (2023) rescaled prediction. `method`: "cfg" (Ho & Salimans 2022),
    "apg" (Sadat et al. 2024) with `apg_eta`, the share of the parallel part that stays, `apg_norm`, the longest
    difference of the two predicted pictures (0: no limit), and `apg_momentum`; or "cfgpp" (Chung et al. 2024).
    """

    low: float = 0.0
    high: float = 0.0
    rescale: float = 0.0
    method: GuidanceMethodName = "cfg"
    apg_eta: float = 0.0
    apg_norm: float = 15.0
    apg_momentum: float = -0.5

    @property
    def is_usual(self) -> bool:
        """Whether it is classifier-free guidance at every noise level."""
        return self.method == "cfg" and not (self.rescale or self.has_band)

    @property
    def has_band(self) -> bool:
        """Whether it acts at some noise levels alone."""
        return bool(self.low or self.high)

    def acts_at(self, sigma: float) -> bool:
        """Whether it acts at a noise level."""
        return self.low <= sigma and (not self.high or sigma <= self.high)


USUAL_GUIDANCE = GuidanceSettings()
_SHORT = {name: name.removeprefix("guidance_") for name in GUIDANCE_FIELDS}  # of the settings, by field


def settings_of(values: Mapping[str, object]) -> GuidanceSettings:
    """The settings of a request's fields by name."""
    return GuidanceSettings(**{_SHORT[n]: values[n] for n in _SHORT if values.get(n) is not None})  # type: ignore[arg-type]


def idle_fields(values: Mapping[str, object], *, guided: bool) -> tuple[str, ...]:
    """The fields that a request sets and that have no say: all of them without guidance, APG's without APG."""
    is_set = [n for n in GUIDANCE_FIELDS if values.get(n) not in (None, getattr(USUAL_GUIDANCE, _SHORT[n]))]
    return tuple(n for n in is_set if not guided or (n.startswith("apg_") and values.get("guidance_method") != "apg"))


def acts(name: str) -> Callable[[Mapping[str, object]], bool]:
    """Whether a field has a say in a request, by its values."""

    def has_say(values: Mapping[str, object]) -> bool:
        if name.startswith("apg_"):
            return values.get("guidance_method") == "apg"
        return values.get(name) not in (None, getattr(USUAL_GUIDANCE, _SHORT[name]))

    return has_say
