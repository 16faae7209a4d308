"""How much fresh noise a run adds at its steps, beside what its scheduler adds by itself. Plain data."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from studio.asked.schedulers import SCHEDULERS

NOISE_FIELDS = ("eta", "s_churn", "s_tmin", "s_tmax", "s_noise", "noise_seed_delta")  # of a request
MOST_SEEDS = 2**63  # the seed of the noise begins again at 0 there


@dataclass(frozen=True, kw_only=True)
class NoiseSettings:
    """The fields of a request that say it, as far as its scheduler has them. `eta` None: the scheduler's own, 1 where
    it is ancestral and else 0. `s_tmax` 0: no end. `noise_seed_delta` is added to the seed for all noise but the
    first."""

    eta: float | None = None
    s_churn: float = 0.0
    s_tmin: float = 0.0
    s_tmax: float = 0.0
    s_noise: float = 1.0
    noise_seed_delta: int = 0

    def is_usual(self, name: str) -> bool:
        """Whether one of them is as it is without a wish."""
        return bool(getattr(self, name) == getattr(USUAL, name))

    @property
    def is_plain(self) -> bool:
        """Whether the scheduler adds its noise as it does by itself."""
        return all(self.is_usual(name) for name in NOISE_FIELDS if name != "noise_seed_delta")

    def seed_after(self, seed: int) -> int:
        """The seed of the noise behind the first one, of an image's seed."""
        return (seed + self.noise_seed_delta) % MOST_SEEDS


USUAL = NoiseSettings()


def settings_of(scheduler: str | None, values: Mapping[str, object]) -> NoiseSettings:
    """Of the values of a request, those that have a say with this scheduler. `eta` is none of them where it is the
    scheduler's own."""
    if scheduler is None or scheduler not in SCHEDULERS:
        return USUAL
    facts = SCHEDULERS[scheduler]
    own = {name: values[name] for name in facts.noise_settings if values.get(name) is not None}
    if own.get("eta") == facts.usual_eta:
        del own["eta"]
    settings = NoiseSettings(**own)  # type: ignore[arg-type]
    # Without noise nothing scales it, and its seed says nothing.
    return settings if adds_noise(scheduler, settings) else NoiseSettings(eta=settings.eta)


def adds_noise(scheduler: str, settings: NoiseSettings) -> bool:
    """Whether the steps of a run add fresh noise."""
    facts = SCHEDULERS[scheduler]
    return settings.s_churn > 0 or (facts.adds_noise if settings.eta is None else settings.eta > 0)


def idle_fields(scheduler: str, values: Mapping[str, object]) -> tuple[str, ...]:
    """The fields that a request sets and that have no say with its scheduler."""
    asked = NoiseSettings(**{name: values[name] for name in NOISE_FIELDS if values.get(name) is not None})  # type: ignore[arg-type]
    own, eta = settings_of(scheduler, values), SCHEDULERS[scheduler].usual_eta
    return tuple(
        name
        for name in NOISE_FIELDS
        if not asked.is_usual(name) and own.is_usual(name) and not (name == "eta" and asked.eta == eta)
    )


def acts(name: str) -> Callable[[Mapping[str, object]], bool]:
    """Whether a field has a say in a request, by its values."""

    def has_say(values: Mapping[str, object]) -> bool:
        scheduler = values.get("scheduler")
        return not settings_of(scheduler if isinstance(scheduler, str) else None, values).is_usual(name)

    return has_say
