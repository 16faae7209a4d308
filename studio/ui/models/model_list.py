"""What the tab Models shows, as plain values: served by `studio.web.routes`, drawn by static/models.js. No gradio."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, fields
from typing import Any

from studio.asked.messages import sentences
from studio.ui.stored_sentences import retold
from studio.ui.text import spoken
from studio.answered.engine import EngineStatus
from studio.answered.model_facts import VAE
from studio.answered.models import Conversion, Download, Model, ModelsNow
from studio.ui.models import labels
from studio.ui.visible import visible


def view_of(listing: ModelsNow, now: EngineStatus, manages: bool) -> dict[str, Any]:
    """Everything the list shows, with a stamp that changes when any of it does."""
    loading = now.checkpoint if now.state == "loading" else None
    view: dict[str, Any] = {
        "models": [_line(_row(model)) for model in listing.models],
        "memory": asdict(listing.memory),
        "message": spoken(listing.message),
        "downloads": [_line(asdict(d)) for d in listing.downloads] if manages else [],
        "conversions": [_line(asdict(c)) for c in listing.conversions] if manages else [],
        "merges": [_line(asdict(m)) for m in listing.merges] if manages else [],
        "loading": {"name": visible(loading), "fraction": now.fraction} if loading else None,
        "manages": manages,
    }
    steady = view | {"memory": {k: v for k, v in view["memory"].items() if not k.endswith("_free")}}  # changes all the time
    stamp = hashlib.sha256(json.dumps(steady, sort_keys=True).encode()).hexdigest()[:16]
    return view | {"stamp": stamp}


def _row(model: Model) -> dict[str, Any]:
    """A model as the page shows it: what its facts say under the names that people have for it."""
    facts = model.facts
    own = {field.name: getattr(model, field.name) for field in fields(model) if field.name != "facts"}
    return own | {
        "kind": model.kind,
        "family": labels.family(facts.family),
        "form": labels.form(facts),
        "precision": facts.precision,
        "parts": labels.parts(facts),
        "own_vae": VAE in facts.parts,
        "mergeable": facts.kind == "checkpoint" and facts.form == "single_file" and facts.usable,
        "native_width": facts.native_width,
        "native_height": facts.native_height,
        "metadata": labels.metadata(facts),
        # A tiny autoencoder is a run's choice, never a checkpoint's.
        "lends_vae_to": [labels.family(n) for n in model.lends_vae_to] if model.kind != "preview_decoder" else [],
    }


def _line(values: dict[str, Any]) -> dict[str, Any]:
    """The fields that are not empty, since a folder of thousands makes a long list. What cannot be seen in a text is
    written as its number; a line break is allowed in sentences, and never in a name."""
    present_values = {name: value for name, value in values.items() if value not in ("", None, (), [], False)}
    return {name: _visible_value(retold(value) if name in _SENTENCES else spoken(value), "" if name in _NAMES else "\n\t") for name, value in present_values.items()}


_SENTENCES = ("reason", "message", "note")
_NAMES = ("name", "label", "where", "repository", "current", "recipe")


def _visible_value(value: Any, keep: str) -> Any:
    if isinstance(value, str):
        return visible(value, keep)
    return [_visible_value(one, keep) for one in value] if isinstance(value, (list, tuple)) else value
