"""The names that a prompt may say: LoRAs with their trigger words, embeddings, wildcard files. For the page's prompt
fields, which complete them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from studio.answered.engine import Engine
from studio.answered.models import Model
from studio.asked.orders import ModelList, WildcardNames
from studio.families.registry import label_of

MAX_NAMES = 5000  # of each kind


class PromptNames:
    """Answers GET /ask/prompt-names with what this visitor may name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def answer(self, request: Request) -> Response:
        """GET: {"loras": [...], "embeddings": [...], "wildcards": [{"name"}], "isComplete"}; `isComplete`: no name is
        left out, so that one which is not listed is unknown. Of a LoRA and an embedding: name, alias, `words` that call
        it, `tags` that it was trained with, the `weight` that suits it or null, the label of its `family`, and the id
        of its `picture` or ""."""
        models = (await self._engine.ask(ModelList())).models
        usable = [one for one in models if one.state == "usable"]
        loras = [one for one in usable if one.kind == "lora"]
        embeddings = [one for one in usable if one.kind == "embedding"]
        wildcards = await self._engine.ask(WildcardNames())
        listing: dict[str, list[dict[str, Any]]] = {
            "loras": [_row(one) for one in loras],
            "embeddings": [_row(one) for one in embeddings],
            "wildcards": [{"name": name} for name in wildcards],
        }
        names = {kind: rows[:MAX_NAMES] for kind, rows in listing.items()}
        is_complete = all(len(rows) <= MAX_NAMES for rows in listing.values())
        return JSONResponse(names | {"isComplete": is_complete}, headers={"cache-control": "no-store"})


def _row(model: Model) -> dict[str, Any]:
    return {
        "name": model.name,
        "alias": model.facts.alias,
        "words": list(model.trigger_words),
        "tags": list(model.facts.tags),
        "weight": model.preferred_weight,
        "family": label_of(model.facts.family) if model.facts.family else "",
        "picture": model.id if model.has_picture else "",
    }
