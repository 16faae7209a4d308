"""How strong an adapter of peft is: its scale stands beside its tensors, in the header's metadata as diffusers writes
them or in an adapter_config.json in the same folder."""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from studio.checkpoints.details import read_json
from studio.checkpoints.inspect import Header

METADATA = "lora_adapter_metadata"
CONFIG = "adapter_config.json"
AlphaOf = Callable[[str, str, int | None], float | None]


def adapter_scales(path: Path, header: Header) -> AlphaOf:
    """alpha by part, module name and rank, where the file's tensors do not say it; None where nothing else does."""
    configs = _of_metadata(header.metadata)
    config_file = read_json(path.parent / CONFIG) if path.stem.startswith("adapter_model") and not configs else None
    if config_file is not None:
        configs = {"": config_file}

    def alpha_of(part: str, module: str, rank: int | None) -> float | None:
        config = configs.get(part, configs.get(""))
        if config is None:
            return None
        alpha = _matching(config.get("alpha_pattern"), module, config.get("lora_alpha"))
        if alpha is None or rank is None:
            return alpha
        return alpha * math.sqrt(rank) if config.get("use_rslora") is True else alpha  # whose scale is alpha / sqrt

    return alpha_of


def _of_metadata(metadata: Mapping[str, str]) -> dict[str, Mapping[str, Any]]:
    """peft's config by part ("" where it is of one module alone): {"unet.r": 4, "unet.lora_alpha": 8, ...}."""
    try:
        values = json.loads(metadata.get(METADATA, "{}"))
    except (ValueError, RecursionError):
        return {}
    configs: dict[str, dict[str, Any]] = {}
    for key, value in values.items() if isinstance(values, dict) else ():
        part, _, name = str(key).rpartition(".")
        configs.setdefault(part, {})[name] = value
    return configs  # type: ignore[return-value]


def _matching(patterns: object, module: str, otherwise: object) -> float | None:
    """The value of the first pattern that is the end of a module's name. peft takes patterns for regular expressions;
    those of a stranger's file are not run, and names are what diffusers writes."""
    for pattern, value in patterns.items() if isinstance(patterns, dict) else ():
        if f".{module}".endswith(f".{pattern}"):
            otherwise = value
            break
    return float(otherwise) if isinstance(otherwise, (int, float)) and not isinstance(otherwise, bool) else None
