"""The numbers of every evaluation as a table, one row each."""

from __future__ import annotations

import csv
import io
from collections.abc import Mapping
from typing import Any

from studio.export.replay import Replay


def table(replay: Replay) -> bytes:
    """CSV with a header line, UTF-8. Nested numbers become columns such as `step_equation.x0` and `mean.x_t.0`; what
    has no value is empty."""
    rows = [dict(_flat(facts)) for facts in replay.evaluations]
    names = list(dict.fromkeys(name for row in rows for name in row))
    out = io.StringIO()
    writer = csv.DictWriter(out, names, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return out.getvalue().encode()


def _flat(values: Mapping[str, Any], before: str = "") -> list[tuple[str, Any]]:
    pairs: list[tuple[str, Any]] = []
    for name, value in values.items():
        if isinstance(value, list):
            value = {str(place): one for place, one in enumerate(value)}
        if isinstance(value, dict):
            pairs += _flat(value, f"{before}{name}.")
        else:
            pairs.append((before + name, value))
    return pairs
