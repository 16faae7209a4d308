"""What a guest is told of the models: of those that they may not use, nothing.

Who asks is known from the request that is being answered. The page is built before anybody asks; what it is built with
everybody may know, which is the built-in checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Container, Sequence
from contextvars import ContextVar
from dataclasses import replace
from typing import Any

from studio.answered.engine import EngineStatus
from studio.answered.models import Checkpoint, MemoryUse, Model, ModelsNow
from studio.asked.guest_rules import Rules
from studio.asked.names import same_name
from studio.ui.text import say

# The visitor whose request this task answers; set by studio.web.owner. Gradio's own tasks are another matter.
ANSWERED: ContextVar[str] = ContextVar("answered", default="")
Visitor = Callable[[], str]

_SUITS = ("num_inference_steps", "guidance_scale", "scheduler", "noise_schedule")  # of a Checkpoint
_DOING = {"loading": "header.guest.loading", "ready": "header.guest.ready", "failed": "header.guest.failed"}


def answered_visitor() -> str:
    """Whose request is being answered by an address of the studio's own; "" outside of one."""
    return ANSWERED.get()


def lesson(catalog: Sequence[Checkpoint], rules: Rules, examples: Sequence[str]) -> tuple[Checkpoint, ...]:
    """The catalogue of a guest: what they may use, with the owner's example prompts. The values that are locked are
    what suits each, so that the page's fields follow to them."""
    locked = rules.locked_values
    suits = {name: locked[name] for name in _SUITS if name in locked}
    if "scheduler" in suits:
        suits.setdefault("noise_schedule", "automatic")
    changes: dict[str, Any] = suits | {"locked": rules.locked} | ({"examples": tuple(examples)} if examples else {})
    name = locked.get("checkpoint")
    return tuple(
        replace(one, **changes)
        for one in checkpoints(catalog, rules.models)
        if name is None or same_name(one.name, str(name))
    )


def checkpoints(catalog: Sequence[Checkpoint], models: Sequence[str] | None) -> tuple[Checkpoint, ...]:
    """The catalogue as somebody sees it who may use `models` (ids; None: all)."""
    if models is None:
        return tuple(catalog)
    allowed = frozenset(models)
    return tuple(_with_adapters(one, allowed) for one in catalog if one.id in allowed)


def _with_adapters(checkpoint: Checkpoint, allowed: frozenset[str]) -> Checkpoint:
    pairs = [
        (name, net)
        for name, net in zip(checkpoint.controlnets, checkpoint.controlnet_ids, strict=True)
        if net in allowed
    ]
    names = {name for name, _ in pairs}
    vaes = [(name, vae) for name, vae in zip(checkpoint.vaes, checkpoint.vae_ids, strict=True) if vae in allowed]
    all_upscalers = zip(checkpoint.upscalers, checkpoint.upscaler_ids, strict=True)
    upscalers = [(name, upscaler) for name, upscaler in all_upscalers if upscaler in allowed]
    return replace(
        checkpoint,
        controlnets=tuple(name for name, _ in pairs),
        controlnet_ids=tuple(net for _, net in pairs),
        palettes=tuple(row for row in checkpoint.palettes if row[0] in names),
        vaes=tuple(name for name, _ in vaes),
        vae_ids=tuple(vae for _, vae in vaes),
        upscalers=tuple(name for name, _ in upscalers),
        upscaler_ids=tuple(upscaler for _, upscaler in upscalers),
        fast_lora=checkpoint.fast_lora if checkpoint.fast_lora_id in allowed else "",
        fast_lora_id=checkpoint.fast_lora_id if checkpoint.fast_lora_id in allowed else "",
    )


def status(now: EngineStatus, catalog: Sequence[Checkpoint], models: Sequence[str] | None) -> EngineStatus:
    """What the engine is doing, without the name of a checkpoint that they may not use."""
    if models is None:
        return now
    names = {one.name for one in checkpoints(catalog, models)}
    next_one = now.next if now.next in names else None
    if now.state == "starting" or (now.state == "loading" and now.checkpoint in names):
        return replace(now, next=next_one)
    checkpoint = now.checkpoint if now.checkpoint in names else None
    return replace(now, next=next_one, checkpoint=checkpoint, message=say(_DOING[now.state]))


def listing(now: ModelsNow, models: Sequence[str] | None) -> ModelsNow:
    """What the tab Models shows them: what they may use (`models` as in `checkpoints`) and can be used, by its name and
    kind. Not where it lies, what its trainer or the owner wrote of it, why other files cannot be used, or how much
    memory this machine has."""
    allowed = {one.id for one in now.models} if models is None else frozenset(models)
    visible = tuple(_public(one, allowed) for one in now.models if one.id in allowed and one.state == "usable")
    return ModelsNow(models=visible, memory=MemoryUse())


def _public(model: Model, allowed: Container[str]) -> Model:
    return replace(
        model,
        where="",
        reason="",
        note="",
        origin="",
        convertible=False,
        vae=model.vae if model.vae in allowed else "",
        facts=replace(model.facts, metadata=(), notes=(), tags=()),
    )
