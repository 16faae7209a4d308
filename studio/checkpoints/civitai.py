"""What a link to Civitai means, and what Civitai says of a model: its file, what kind it is, its sha256.

The API is https://developer.civitai.com (REST, version 1). A key is needed for some files.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import SplitResult, parse_qs

from studio.answered.engine import Refused
from studio.asked.messages import Message
from studio.asked.orders import ModelKind

HOSTS = frozenset({"civitai.com", "www.civitai.com"})
KEY = "CIVITAI_API_KEY"  # the environment variable of the key
KINDS: Mapping[str, ModelKind] = {
    "checkpoint": "checkpoint",
    "lora": "lora",
    "locon": "lora",
    "dora": "lora",
    "textualinversion": "embedding",
    "controlnet": "controlnet",
    "vae": "vae",
    "upscaler": "upscaler",
}
_HASH = re.compile(r"[0-9a-f]{64}")
_MODEL = re.compile(r"/(?:[a-z]{2}/)?models/(\d{1,12})(?:/.*)?")
_VERSION = re.compile(r"/api/download/models/(\d{1,12})/?|/(?:api/v1/)?model-versions/(\d{1,12})/?")


@dataclass(frozen=True)
class CivitaiFile:
    """A safetensors file that Civitai offers. `version`: its description, as the API gives it."""

    address: str
    name: str
    sha256: str | None
    kind: ModelKind
    page: str
    version: Mapping[str, Any]


def question(link: SplitResult) -> str | None:
    """The path of the API that a link to Civitai asks for; None for one that names no model."""
    version = _VERSION.fullmatch(link.path)
    if version is not None:
        return f"/api/v1/model-versions/{version[1] or version[2]}"
    model = _MODEL.fullmatch(link.path)
    if model is None:
        return None
    [chosen] = parse_qs(link.query).get("modelVersionId", [""])[:1]
    return f"/api/v1/model-versions/{chosen}" if re.fullmatch(r"\d{1,12}", chosen) else f"/api/v1/models/{model[1]}"


def file_of(answer: Any, link: SplitResult) -> CivitaiFile:
    """The file of an answer of the API, the newest version's of a model's: the one that the link's own words choose
    (`size`, `fp`, `type`), else the primary one. Raises Refused."""
    try:
        version = answer["modelVersions"][0] if "modelVersions" in answer else answer
        model = answer if "modelVersions" in answer else version["model"]
        name, type_name = str(model["name"])[:120], str(model["type"])
        files = [one for one in version["files"] if _is_safetensors(one)]
        kind = KINDS.get(type_name.lower())
        if kind is None:
            raise Refused(
                Message(
                    "{name} is of the kind {kind} on Civitai, which the studio does not use.",
                    name=name,
                    kind=type_name[:40],
                )
            )
        if not files:
            raise Refused(
                Message(
                    "{name} has no safetensors file on Civitai; other forms could run code when they are read.",
                    name=name,
                )
            )
        words = {
            key: values[0].lower() for key, values in parse_qs(link.query).items() if key in ("size", "fp", "type")
        }
        fitting = [one for one in files if _fits(one, words)]
        best = next((one for one in fitting if one.get("primary")), (fitting or files)[0])
        sha256 = str((best.get("hashes") or {}).get("SHA256", "")).lower()
        return CivitaiFile(
            address=str(best["downloadUrl"]),
            name=str(best["name"]),
            sha256=sha256 if _HASH.fullmatch(sha256) else None,
            kind="vae" if str(best.get("type", "")).lower() == "vae" else kind,
            page=f"civitai.com/models/{int(version.get('modelId') or answer.get('id'))}",
            version=version,
        )
    except (KeyError, IndexError, TypeError, ValueError, AttributeError) as error:
        raise Refused(
            Message("{server} gave an answer that is no description of a model.", server="Civitai")
        ) from error


def _is_safetensors(file: Mapping[str, Any]) -> bool:
    form = str((file.get("metadata") or {}).get("format", "")).lower()
    name = str(file.get("name", "")).lower()
    return name.endswith((".safetensors", ".sft")) and form in ("safetensor", "safetensors", "", "other", "none")


def _fits(file: Mapping[str, Any], words: Mapping[str, str]) -> bool:
    values = {**(file.get("metadata") or {}), "type": file.get("type")}
    return all(str(values.get(key, "")).lower() == word for key, word in words.items())


def refusal(status: int, *, has_key: bool) -> str | None:
    """What a status of Civitai means where a key matters; None for every other."""
    if status not in (401, 403):
        return None
    if has_key:
        return Message(
            "Civitai does not give this file with the key in {variable}: it may be in early access, or need its terms "
            "accepted.",
            variable=KEY,
        )
    return Message(
        "Civitai wants a key for this file: make one in your account there, and start the studio with it in the "
        "environment variable {variable}.",
        variable=KEY,
    )
