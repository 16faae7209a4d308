"""Which evaluations of a run are forecast from those before them, without a call of the U-Net. Plain data."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from studio.asked.schedulers import SCHEDULERS

ForecastName = Literal["off", "third", "half", "two_thirds"]

FORECASTS: Mapping[str, str] = {"off": "Off", "third": "A third", "half": "Half", "two_thirds": "Two thirds"}
# After the first evaluations: how many are computed in a row, and how many are then forecast.
_RHYTHMS: Mapping[str, tuple[int, int]] = {"third": (2, 1), "half": (1, 1), "two_thirds": (1, 2)}
COMPUTED_FIRST = 3  # at the beginning, and after each change of what the U-Net is asked
POINTS = 2  # a forecast is the line through so many computed evaluations
# A line is not followed further than this many times the distance of its two points.
REACH = 4.0


@dataclass(frozen=True)
class Asked:
    """What the U-Net is asked in one evaluation. `place` is log(a / s) of its noise level, None where that is not
    finite or predicted x0 is undefined; evaluations with equal `question` have the same text, guidance and controls."""

    place: float | None
    question: Hashable = None


def can_forecast(scheduler: str) -> bool:
    """Whether each evaluation of a scheduler is a step of its own, but perhaps for the last."""
    return not SCHEDULERS[scheduler].second_order and scheduler != "pndm"


def forecast_evaluations(forecast: str, asked: Sequence[Asked], begin: int = 0) -> frozenset[int]:
    """The 0-based evaluations that are forecast, of those from `begin` on.

    The first three and the last one are computed, and three after each change of the question. In between, "third"
    forecasts one after every two computed ones, "half" one after each, "two_thirds" two after each. An evaluation whose
    noise level is too far from those before is computed, whatever its turn.
    """
    if forecast not in _RHYTHMS:
        return frozenset()
    in_a_row, skipped = _RHYTHMS[forecast]
    chosen = set[int]()
    places = list[float]()  # of the computed evaluations since the question last changed
    to_compute, to_forecast = COMPUTED_FIRST, 0
    for index in range(begin, len(asked)):
        now = asked[index]
        if index > begin and now.question != asked[index - 1].question:
            places, to_compute = [], COMPUTED_FIRST
        if to_compute == 0 and index < len(asked) - 1 and _is_near(places, now.place):
            chosen.add(index)
            to_forecast -= 1
            to_compute = in_a_row if to_forecast == 0 else 0
            continue
        if now.place is None:
            places, to_compute = [], COMPUTED_FIRST
            continue
        places.append(now.place)
        to_compute = max(0, to_compute - 1)
        to_forecast = skipped
    return frozenset(chosen)


def computed_evaluations(forecast: str, total: int) -> int:
    """How many of a run's evaluations ask the U-Net, as far as it can be said without its noise levels and words."""
    return total - len(forecast_evaluations(forecast, [Asked(float(index)) for index in range(total)]))


def _is_near(places: Sequence[float], place: float | None) -> bool:
    """Whether the line through the last two places reaches a place."""
    if place is None or len(places) < POINTS:
        return False
    before, last = places[-2:]
    return before < last < place <= last + REACH * (last - before)
