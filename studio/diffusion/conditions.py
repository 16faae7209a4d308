"""The added conditions of a U-Net call, as its family says them: from the prompt, from the picture's size, and the rows
of several lanes together."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import torch

from studio.diffusion.components import Components

Conditions = dict[str, torch.Tensor]  # added_cond_kwargs, each (rows, ...)


def text_conditions(components: Components, pooled: Sequence[torch.Tensor | None]) -> Conditions:
    """Those that come from the prompts: `pooled` (1, dim) of each row, the negative prompt's first."""
    rows = [row for row in pooled if row is not None]
    return {one.name: torch.cat(rows) for one in components.family.added_conditions if one.source == "pooled" and rows}


def size_conditions(components: Components, width: int, height: int, rows: int) -> Conditions:
    """Those that come from the picture's size (rows, 6 or 5), the negative prompt's row first."""
    family = components.family
    names = [one.name for one in family.added_conditions if one.source == "size"]
    if not names:
        return {}
    numbers = [family.size_numbers(width, height, negative=rows > 1 and k == 0) for k in range(rows)]
    return {name: torch.tensor(numbers, dtype=components.dtype, device=components.device) for name in names}


def no_words(components: Components, width: int, height: int) -> Conditions:
    """Those of one row without a prompt: zeros in the place of its pooled embedding."""
    zeros = None
    if any(one.source == "pooled" for one in components.family.added_conditions):
        pooled = int(components.text_encoders[-1].module.config.projection_dim)
        zeros = torch.zeros(1, pooled, device=components.device, dtype=components.dtype)
    return text_conditions(components, [zeros]) | size_conditions(components, width, height, 1)


def of_lanes(conditions: Sequence[Mapping[str, torch.Tensor]]) -> Conditions:
    """Those of several lanes' calls as those of one call, rows in the order of the calls."""
    if len(conditions) == 1:
        return dict(conditions[0])
    return {name: torch.cat([one[name] for one in conditions]) for name in conditions[0]}
