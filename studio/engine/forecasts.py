"""Evaluations that lanes forecast: they need no U-Net call, so no place in a tick."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import torch

from studio.engine.executor import TickResult, checked
from studio.engine.jobs import Job
from studio.engine.runs import ActiveImage


@torch.inference_mode()
def forecast(
    images: Sequence[ActiveImage], show: Callable[[TickResult], None], fail: Callable[[Job, Exception], None]
) -> list[ActiveImage]:
    """Bring these images to their next call of the U-Net. Each evaluation on the way is shown as any other. Returns the
    images whose jobs have not ended by it."""
    while True:
        result = TickResult()
        for active in images:
            if active.at_work and active.lane.is_forecast:
                try:
                    result.evaluations.append((active, checked(active.lane, active.lane.forecast())))
                except Exception as error:
                    fail(active.run.job, error)
        if not result.evaluations:
            return [active for active in images if active.at_work]
        show(result)
