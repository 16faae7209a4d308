"""What a picture says of how it was made, in the page's words: its settings, what is missing here, what is left out and
why.

Plain values from the texts of a file, or from a text that a person has pasted.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from studio.answered.models import Model
from studio.asked.fields import TextToImage
from studio.asked.problems import quoted_value
from studio.asked.requests import ROWS
from studio.picture.file_formats import A1111_CHUNK, OWN_CHUNK
from studio.picture.file_settings import Remark
from studio.picture.library.reading import facts_of_texts
from studio.picture.metadata import hashes_of_texts, info_of_texts, templates_of_texts
from studio.picture.named_files import FileRemark, compare_files
from studio.picture.taken_over import LeftOut, take_over_texts
from studio.ui.language import current
from studio.ui.library.settings import settings_of
from studio.ui.text import DEFAULT_LANGUAGE, say, say_of_picture
from studio.ui.visible import visible

EVERYTHING_OPEN: Mapping[str, object] = {}
_ABSENT = ("absent", "absent_hash")  # why a checkpoint is left out that is not here


def note_of_file(remark: FileRemark, language: str = DEFAULT_LANGUAGE) -> str:
    """A sentence about a LoRA or an embedding of a picture."""
    finding = f"{remark.finding}_hash" if remark.finding == "absent" and remark.hash else remark.finding
    return say_of_picture(
        f"file.{finding}",
        language,
        kind=say_of_picture(f"kind.{remark.kind}", language),
        name=remark.name,
        here=remark.here,
        hash=remark.hash,
        hash_here=remark.hash_here,
    )


def why(left_out: LeftOut, language: str = DEFAULT_LANGUAGE) -> str:
    """Why a setting is left out; it stands behind a colon."""
    return say_of_picture(f"why.{left_out.why.key}", language, **left_out.why.values)


def note_of(remark: Remark, language: str = DEFAULT_LANGUAGE) -> str:
    """A sentence about what is taken otherwise."""
    return say_of_picture(f"note.{remark.key}", language, **remark.values)


def left_out_sentence(one: LeftOut, language: str = DEFAULT_LANGUAGE) -> str:
    """A sentence about a setting that is left out."""
    return say_of_picture("left", language, key=one.key, value=one.value, why=why(one, language))


def texts_of_paste(text: str) -> dict[str, str]:
    """A text that a person has pasted, by the keywords under which a file may have it: an infotext, the graph that
    ComfyUI has run, or the JSON of this studio."""
    texts = {A1111_CHUNK: text}
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return texts
    if isinstance(value, dict):
        texts["prompt"] = text
        if "schema" in value and "kind" in value:
            texts[OWN_CHUNK] = text
    return texts


def sheet_of(
    texts: Mapping[str, str], models: Sequence[Model], locked: Mapping[str, object] = EVERYTHING_OPEN
) -> dict[str, Any] | None:
    """What the sheet shows of the texts of a file, in the language of this request; None where they tell nothing.

    `settings`: the fields that can be taken, with the names that files have here; seeds are texts. `stated`: label and
    value of all that the file states. `template`: the templates that the prompts were chosen from, by field. `missing`:
    models that are not here. `left_out`, `notes`: sentences. `from_picture`: whether the run began from another
    picture, which no file holds. `locked`: the fields that the owner has fixed for this visitor, and their values.
    """
    taken_over = take_over_texts(texts, models)
    if taken_over is None:
        return None
    language = current()
    facts = facts_of_texts(0, 0, texts)
    settings = dict(taken_over.settings)
    prompts = {name: str(settings.get(name) or "") for name in ("prompt", "negative_prompt")}
    files = compare_files(hashes_of_texts(texts), prompts["prompt"], prompts["negative_prompt"], models)
    if settings:
        settings |= {"prompt": files.prompt, "negative_prompt": files.negative_prompt}
    fixed = [
        LeftOut(say(ROWS[name].label), quoted_value(settings.pop(name)), Remark("locked", {"value": str(value)}))
        for name, value in locked.items()
        if name in settings and settings[name] != value
    ]
    # The page's numbers are exact up to 2 ** 53 alone.
    settings |= {n: str(settings[n]) for n in ("seed", "variation_seed") if settings.get(n) is not None}
    templates = _templates(texts, models, taken_over.settings)
    absent = [one for one in taken_over.left_out if one.why.key in _ABSENT]
    absent_files = [one for one in files.remarks if one.finding == "absent"]
    kind = (info_of_texts(texts) or {}).get("kind", TextToImage.kind)
    sides = [facts.settings.get(name, "") for name in ("width", "height")] if facts.info is not None else []
    return {
        "program": visible(facts.program or taken_over.program),
        "prompt": visible(facts.prompt, "\n"),
        "negative_prompt": visible(facts.negative_prompt, "\n"),
        "size": visible(" × ".join(side for side in sides if side)),
        "stated": [
            *((say(f"picture_sheet.template.{name}"), visible(text, "\n")) for name, text in templates.items()),
            *((label, value) for label, value in settings_of(facts) if value),
        ],
        "template": {name: text for name, text in templates.items() if name not in locked},
        "settings": settings,
        "missing": [
            *(left_out_sentence(one, language) for one in absent),
            *(note_of_file(one, language) for one in absent_files),
        ],
        "left_out": [left_out_sentence(one, language) for one in (*taken_over.left_out, *fixed) if one not in absent],
        "notes": [
            *(note_of(one, language) for one in taken_over.remarks),
            *(note_of_file(one, language) for one in files.remarks if one not in absent_files),
        ],
        "from_picture": kind != TextToImage.kind or "strength" in settings,
    }


def _templates(texts: Mapping[str, str], models: Sequence[Model], settings: Mapping[str, object]) -> dict[str, str]:
    """The templates of a file that can be used, with the names that LoRAs and embeddings have here."""
    if not settings:
        return {}
    templates = {
        name: str(ROWS[name].read(text, []))
        for name, text in templates_of_texts(texts).items()
        if not ROWS[name].problems(ROWS[name].read(text, []))
    }
    prompts = (templates.get("prompt", ""), templates.get("negative_prompt", ""))
    files = compare_files(hashes_of_texts(texts), *prompts, models)
    named_here = {"prompt": files.prompt, "negative_prompt": files.negative_prompt}
    return {name: named_here[name] for name in templates}
