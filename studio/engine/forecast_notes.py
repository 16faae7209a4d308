"""What is to be known of a run's forecasts: how many of its evaluations need no U-Net call."""

from __future__ import annotations

from studio.asked.forecast import COMPUTED_FIRST
from studio.asked.messages import Message
from studio.asked.resolved import Resolved
from studio.diffusion.lane import Lane


def forecast_notes(lane: Lane, resolved: Resolved) -> list[Message]:
    """Sentences for the start of a run, whose first image has this lane; of a picture that is made twice they tell of
    the first pass."""
    if resolved.request.forecast == "off":
        return []
    count, total = len(lane.forecasts), lane.total
    if not count:
        return [
            Message(
                "None of {total} evaluations is forecast: the first {first} and the last are always computed, and as "
                "many after each change of the text, the guidance or a ControlNet.",
                total=total,
                first=COMPUTED_FIRST,
            )
        ]
    if resolved.second_pass is not None:
        return [
            Message(
                "In the first pass {count} of {total} evaluations are forecast, without a U-Net call. The "
                "second pass follows the same rule.",
                count=count,
                total=total,
            )
        ]
    return [
        Message("{count} of {total} evaluations are forecast, without a call of the U-Net.", count=count, total=total)
    ]
