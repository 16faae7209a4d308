"""The names that a prompt may say: LoRAs with their trigger words, embeddings, wildcard files. For the page's prompt
fields, which complete them."""

from __future__ import annotations

from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response

from studio.answered.engine import Engine
from studio.asked.orders import ModelList, WildcardNames

MAX_NAMES = 5000  # of each kind


class PromptNames:
    """Answers GET /ask/prompt-names with what this visitor may name."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    async def answer(self, request: Request) -> Response:
        """GET: {"loras": [{"name", "alias", "trigger"}], "embeddings": [{"name"}], "wildcards": [{"name"}],
        "isComplete"}; `isComplete`: no name is left out, so that one which is not listed is unknown."""
        models = (await self._engine.ask(ModelList())).models
        usable = [one for one in models if one.state == "usable"]
        loras = [one for one in usable if one.kind == "lora"]
        embeddings = [one for one in usable if one.kind == "embedding"]
        wildcards = await self._engine.ask(WildcardNames())
        listing: dict[str, list[dict[str, Any]]] = {
            "loras": [{"name": m.name, "alias": m.facts.alias, "trigger": m.facts.trigger} for m in loras],
            "embeddings": [{"name": one.name} for one in embeddings],
            "wildcards": [{"name": name} for name in wildcards],
        }
        names = {kind: rows[:MAX_NAMES] for kind, rows in listing.items()}
        is_complete = all(len(rows) <= MAX_NAMES for rows in listing.values())
        return JSONResponse(names | {"isComplete": is_complete}, headers={"cache-control": "no-store"})
