"""Which file a name in a request means: a checkpoint's, a VAE's, a LoRA's, an embedding's or a ControlNet's.

A name that several files have is refused with the names that tell them apart: it must not become another file's because
a folder got one. No torch.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from studio.answered.model_facts import VAE_KINDS
from studio.asked.fields import HIRES_UPSCALERS, ImageToImage, TextToImage
from studio.asked.messages import Message, listed, sentences
from studio.asked.names import best_matches, compose
from studio.asked.orders import ModelKind
from studio.asked.problems import InvalidRequest, Problem, quoted_value, without_encoder
from studio.asked.requests import Request
from studio.asked.upscale import AUTOMATIC_UPSCALER, MAX_AUTOMATIC_PIXELS, NO_UPSCALER
from studio.checkpoints.catalog import NO_ENCODER, Entry
from studio.checkpoints.tiny_pair import encoder_of
from studio.families.registry import adapters_for, label_of

MAX_NAMES = 20


def permitted(entries: Sequence[Entry], models: Sequence[str] | None) -> Sequence[Entry]:
    """Those whose ids are among `models`, as an engine's visitors call them; None: all. The others are not there for
    whoever may not name them: no message tells of them."""
    if models is None:
        return entries
    ids = {model_id.rpartition("-")[2] for model_id in models}
    return [entry for entry in entries if entry.id in ids]


def matching(entries: Iterable[Entry], kind: ModelKind, name: str, family: str | None = None) -> list[Entry]:
    """The files of a kind that a name may mean: none, one, or several among which it does not choose.

    By its name with or without folders, in any spelling, then by a LoRA's alias. Files that can be used come first;
    among several of one name those that cannot fit the `family` are left out.
    """
    of_kind = [e for e in entries if e.facts.kind == kind]
    for pool in ([e for e in of_kind if _ready(e)], [e for e in of_kind if not _ready(e)]):
        matches = [e for e in pool if e.name == compose(name)]
        matches = matches or best_matches(name, pool, lambda e: e.names)
        matches = matches or best_matches(name, pool, lambda e: (e.facts.alias,) if e.facts.alias else ())
        if len(matches) > 1 and family:
            matches = [e for e in matches if e.facts.family in (None, *adapters_for(family))] or matches
        if matches:
            return matches
    return []


def the_one(
    entries: Sequence[Entry], kind: ModelKind, name: str, *, field: str, what: str, family: str | None = None
) -> Entry:
    """The file that a name means. Raises InvalidRequest for `field`, which says what there is or which names tell the
    files of this name apart; `what` is its kind in words ("LoRA")."""
    matches = matching(entries, kind, name, family)
    if len(matches) == 1:
        return matches[0]
    if matches:
        raise InvalidRequest(
            Problem(
                field,
                Message(
                    "the {what} {name}, a name of {count} files,",
                    what=what,
                    name=quoted_value(name),
                    count=len(matches),
                ),
                one_of(matches),
            )
        )
    there = [e for e in entries if e.facts.kind == kind and _ready(e)]
    expectation = one_of(there) if there else Message("none: there is no {what} in the models folders", what=what)
    raise InvalidRequest(Problem(field, Message("the {what} {name}", what=what, name=quoted_value(name)), expectation))


def the_checkpoint(entries: Sequence[Entry], name: str, *, field: str = "checkpoint") -> Entry:
    """The checkpoint that a name means. Raises InvalidRequest for `field`, with the reason where it cannot be run."""
    matches = matching(entries, "checkpoint", name)
    if len(matches) == 1 and matches[0].usable:
        return matches[0]
    if len(matches) == 1 and matches[0].problem:
        what = Message("a VAE with an encoder") if matches[0].problem == NO_ENCODER else Message("a VAE")
        expectation: str = Message("one that has {what}: choose one for it on the Models tab", what=what)
        why = sentences(matches[0].facts.notes)  # of a VAE that was left out, what is wrong with it
        raise InvalidRequest(
            Problem(
                field,
                Message("{name} ({why})", name=quoted_value(name), why=why) if why else quoted_value(name),
                expectation,
            )
        )
    if len(matches) > 1:
        raise InvalidRequest(
            Problem(
                field,
                Message(
                    "{name}, a name of {count} checkpoints,",
                    name=quoted_value(name),
                    count=len(matches),
                ),
                one_of(matches),
            )
        )
    there = [e for e in entries if e.usable]
    value: str = quoted_value(name)
    if matches:
        value = Message("{name} ({reason})", name=value, reason=matches[0].facts.reason)
    expectation = one_of(there) if there else Message("none: there is no checkpoint in the models folder")
    raise InvalidRequest(Problem(field, value, expectation))


def in_listing(request: Request, entries: Sequence[Entry], *, field: str = "checkpoint") -> Request:
    """The request with the listing's names of its checkpoint, its VAE, its upscalers and its ControlNets. Raises
    InvalidRequest, naming `field`, "vae_name", "upscaler_name", "upscale" or "controls", for one that is not there,
    that several files are called, or that cannot be run here."""
    checkpoint = the_checkpoint(entries, request.checkpoint, field=field)
    vae = the_vae(entries, request.vae_name, checkpoint) if request.vae_name else None
    if vae is not None:
        _check_encodes(request, vae, checkpoint)
    elif not checkpoint.encodes_pictures:
        _check_begins_with_text(request, checkpoint, field)
    controls = [
        replace(control, model=_the_controlnet(entries, control.model, number, checkpoint).name)
        for number, control in enumerate(request.controls, start=1)
    ]
    vae_name = vae.name if vae is not None else ""
    if isinstance(request, TextToImage) and request.upscaler_name:
        upscaler = the_one(entries, "upscaler", request.upscaler_name, field="upscaler_name", what="upscaler")
        request = replace(request, upscaler_name=_usable(upscaler).name)
    if isinstance(request, TextToImage) and request.upscale != NO_UPSCALER:
        request = replace(request, upscale=_finishing_upscaler(request, entries, checkpoint))
    return replace(request, checkpoint=checkpoint.name, vae_name=vae_name, controls=tuple(controls))


def _finishing_upscaler(request: TextToImage, entries: Sequence[Entry], checkpoint: Entry) -> str:
    """The name of what enlarges the finished picture. Raises InvalidRequest for a name that none has, or that several
    have, and for an upscaler that cannot be used."""
    if request.upscale != AUTOMATIC_UPSCALER:
        upscaler = the_one(entries, "upscaler", request.upscale, field="upscale", what="upscaler")
        return _usable(upscaler, "upscale").name
    native = checkpoint.checkpoint
    pixels = (request.width or native.native_width) * (request.height or native.native_height)
    if request.has_second_pass or pixels > MAX_AUTOMATIC_PIXELS:
        return NO_UPSCALER
    upscalers = (entry for entry in entries if entry.facts.kind == "upscaler" and entry.facts.usable)
    own = (entry.name for entry in upscalers if entry.file.owner == checkpoint.file.key)
    return next(own, NO_UPSCALER)


def _usable(upscaler: Entry, field: str = "upscaler_name") -> Entry:
    """Raises InvalidRequest, with the reason, for an upscaler that cannot be used."""
    if upscaler.facts.state != "usable":
        value = Message("{name} ({reason})", name=quoted_value(upscaler.name), reason=upscaler.facts.reason)
        raise InvalidRequest(Problem(field, value, Message("an upscaler that can be used")))
    return upscaler


def _check_begins_with_text(request: Request, checkpoint: Entry, field: str) -> None:
    """Raises InvalidRequest for a run that encodes a picture: its start, or the first pass's result enlarged."""
    if isinstance(request, ImageToImage):
        raise InvalidRequest(without_encoder(field, checkpoint.name))
    if request.has_second_pass and request.hires_upscaler != "latent":
        value = Message(
            "{upscaler} with {name}, whose VAE has no encoder,",
            upscaler=HIRES_UPSCALERS[request.hires_upscaler],
            name=quoted_value(checkpoint.name),
        )
        raise InvalidRequest(
            Problem(
                "hires_upscaler",
                value,
                Message("{label} ({name})", label=HIRES_UPSCALERS["latent"], name="latent"),
            )
        )


def the_vae(entries: Sequence[Entry], name: str, checkpoint: Entry) -> Entry:
    """The VAE that a name means, of those that fit a checkpoint. Raises InvalidRequest for "vae_name"."""
    vaes = [e for e in entries if e.facts.kind in VAE_KINDS]
    fitting = [e for e in vaes if e.fits_vae_of(checkpoint)]
    matches = matching(fitting, "vae", name) or matching(fitting, "preview_decoder", name)
    if len(matches) == 1:
        return matches[0]
    value: str = quoted_value(name)
    family = label_of(checkpoint.facts.family)
    if matches:
        value = Message("{name}, a name of {count} VAEs,", name=value, count=len(matches))
        raise InvalidRequest(Problem("vae_name", value, one_of(matches)))
    for other in (matching(vaes, "vae", name) or matching(vaes, "preview_decoder", name))[:1]:
        if other.facts.state != "usable":
            value = Message("{name} ({reason})", name=value, reason=other.facts.reason)
        elif checkpoint.built_in:
            value = Message("{name} with {checkpoint}", name=value, checkpoint=quoted_value(checkpoint.name))
        else:
            value = Message(
                "{name}, which is for {its_family}, while {checkpoint} is {family},",
                name=value,
                its_family=label_of(other.facts.family),
                checkpoint=checkpoint.name,
                family=family,
            )
    here = checkpoint.name if checkpoint.built_in else family
    expectation = one_of(fitting) if fitting else Message("nothing: there is no VAE here for {here}", here=here)
    raise InvalidRequest(Problem("vae_name", value, expectation))


def _check_encodes(request: Request, vae: Entry, checkpoint: Entry) -> None:
    """Raises InvalidRequest for a VAE that only decodes, where the run or its checkpoint has a picture to encode."""
    begins = isinstance(request, ImageToImage) or (request.has_second_pass and request.hires_upscaler != "latent")
    if not begins and not checkpoint.facts.inpainting:
        return
    encodes = vae.facts.vae_has_encoder if vae.facts.kind == "vae" else encoder_of(vae.path) is not None
    if not encodes:
        value = Message("{name}, a VAE without an encoder,", name=quoted_value(vae.name))
        raise InvalidRequest(Problem("vae_name", value, Message("a VAE that can encode the picture of this run")))


def _the_controlnet(entries: Sequence[Entry], name: str, number: int, checkpoint: Entry) -> Entry:
    nets = [e for e in entries if e.facts.kind == "controlnet"]
    fitting = [e for e in nets if e.controls(checkpoint)]
    matches = matching(fitting, "controlnet", name)
    if len(matches) == 1:
        return matches[0]
    value: str = Message("model {name} of control {number}", name=quoted_value(name), number=number)
    if matches:
        raise InvalidRequest(
            Problem(
                "controls",
                Message("{value}, a name of {count} files,", value=value, count=len(matches)),
                one_of(matches),
            )
        )
    family = label_of(checkpoint.facts.family)
    for net in matching(nets, "controlnet", name)[:1]:
        its_family = Path(net.file.owner).name or label_of(net.facts.family)
        if net.facts.state == "usable":
            value = Message(
                "{value}, which is for {its_family}, while {checkpoint} is {family},",
                value=value,
                its_family=its_family,
                checkpoint=checkpoint.name,
                family=family,
            )
        else:
            value = Message("{value} ({reason})", value=value, reason=net.facts.reason)
    here = checkpoint.name if checkpoint.built_in else family
    expectation = one_of(fitting) if fitting else Message("none: no ControlNet for {here} was found", here=here)
    raise InvalidRequest(Problem("controls", value, expectation))


def one_of(entries: Sequence[Entry]) -> str:
    """The names of these files, for a message."""
    names, more = listed(_printable(e.name) for e in entries[:MAX_NAMES]), len(entries) - MAX_NAMES
    if more > 0:
        return Message("one of {names} and {count} more", names=names, count=more)
    return Message("one of {names}", names=names)


def _printable(name: str) -> str:
    return "".join(c if c.isprintable() else "\N{REPLACEMENT CHARACTER}" for c in name)


def _ready(entry: Entry) -> bool:
    return entry.facts.state == "usable" and not entry.problem
