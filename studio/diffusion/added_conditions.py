"""What a family's U-Net is given beside the sample, the timestep and the prompt's embeddings. No torch."""

from __future__ import annotations

from typing import Literal, NamedTuple


class AddedCondition(NamedTuple):
    """One of diffusers' added_cond_kwargs: its name, and where its values come from. It has a row for each row of the
    sample, so the rows of several lanes are put one behind the other."""

    name: str
    source: Literal["pooled", "size"]  # a text encoder's pooled embedding, or numbers about the picture's size
