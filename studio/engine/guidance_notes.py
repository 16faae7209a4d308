"""What is to be known of a run's guidance: how many rows its band saves, and which of its fields do nothing."""

from __future__ import annotations

from studio.asked.guidance import GUIDANCE_FIELDS, idle_fields
from studio.asked.messages import Message
from studio.asked.resolved import Resolved
from studio.diffusion.components import Components
from studio.diffusion.lane import schedule_of


def guidance_notes(components: Components, resolved: Resolved) -> list[str]:
    """Sentences for the start of a run."""
    passes = [one for one in (resolved, resolved.second_pass) if one is not None]
    guided = any(components.branches(one.guidance_scale) > 1 for one in passes)
    values = {name: getattr(resolved.request, name) for name in GUIDANCE_FIELDS}
    notes: list[str] = [
        Message("{field} does nothing without APG.", field=name)
        if guided
        else Message(
            "{field} does nothing here: the guidance scale is 1, or the model is told its guidance.", field=name
        )
        for name in idle_fields(values, guided=guided)
    ]
    if not resolved.guidance.has_band or components.branches(resolved.guidance_scale) == 1:
        return notes
    levels = schedule_of(components, resolved).levels
    count, total = sum(resolved.guidance.acts_at(level.sigma) for level in levels), len(levels)
    if resolved.prompt.is_composed:
        notes.append(
            Message(
                "Guidance acts in {count} of {total} evaluations. With AND all rows are computed all the same.",
                count=count,
                total=total,
            )
        )
        return notes
    notes.append(
        Message(
            "Guidance acts in {count} of {total} evaluations: {saved} of {rows} rows of the U-Net are not computed.",
            count=count,
            total=total,
            saved=total - count,
            rows=2 * total,
        )
    )
    return notes
