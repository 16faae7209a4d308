"""What the studio may fetch from a repository of the Hugging Face hub. This reads its name as typed and its files as
the hub lists them, and says which of them make one model and what a refusal of the hub means."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import replace
from typing import Any

from studio.answered.models import HubFile
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value

SUFFIXES = (".safetensors", ".json", ".txt")  # weights that are never run, and what describes them
INDEX = "model_index.json"
_PART = r"[A-Za-z0-9](?:[A-Za-z0-9._-]{0,94}[A-Za-z0-9_])?"
_REPOSITORY = re.compile(rf"(?:https?://[^/\s]+/)?({_PART}(?:/{_PART})?)(?:/(?:tree|blob|resolve)/.*)?/?")
_REVISION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,127}")
_HASH = re.compile(r"[0-9a-f]{64}")


def mark_suggestions(files: list[HubFile]) -> tuple[HubFile, ...]:
    """The same files, with `suggested` for those that make one model: the only weights file of the repository, or a
    diffusers folder's JSON and one variant of every part's weights, fp16 before the rest."""
    weights = [file.path for file in files if file.path.endswith(".safetensors")]
    if not any(file.path == INDEX for file in files):
        only = weights[:1] if len(weights) == 1 else []
        return tuple(replace(file, suggested=file.path in only) for file in files)
    by_part: dict[str, list[str]] = {}
    for path in weights:
        folder, _, name = path.rpartition("/")
        if folder and "/" not in folder and name.startswith(("model", "diffusion_pytorch_model")):
            by_part.setdefault(folder, []).append(path)
    suggestions = set()
    for paths in by_part.values():
        half = [path for path in paths if re.search(r"\.fp16[.-]", path)]
        plain = [path for path in paths if not re.search(r"\.(fp16|bf16|fp32|ema|non_ema)[.-]", path)]
        suggestions |= set(half or plain or paths)
    suggestions |= {f.path for f in files if not f.path.endswith(".safetensors") and f.path.count("/") <= 1}
    parts = {*by_part, "scheduler", "tokenizer", "tokenizer_2", "feature_extractor", ""} - {"safety_checker"}
    return tuple(replace(f, suggested=f.path in suggestions and f.path.rpartition("/")[0] in parts) for f in files)


def hub_file(entry: Mapping[str, Any]) -> HubFile | None:
    """A file that may be fetched; None for every other (code, pickles, pictures, names that lead elsewhere)."""
    path, size, lfs = str(entry["rfilename"]), entry.get("size"), entry.get("lfs") or {}
    parts = path.split("/")
    safe = all(re.fullmatch(r"[A-Za-z0-9_+()\[\] -][A-Za-z0-9._+()\[\] -]{0,150}", part) for part in parts)
    if not safe or len(parts) > 4 or not path.endswith(SUFFIXES):
        return None
    sha256 = str(lfs.get("sha256") or "")
    return HubFile(
        path=path,
        size=size if isinstance(size, int) and size >= 0 else None,
        sha256=sha256 if _HASH.fullmatch(sha256) else None,
    )


def parse_repository(repository: str, revision: str) -> tuple[str, str]:
    """The repository's name out of what was typed or pasted. Raises InvalidRequest."""
    match = _REPOSITORY.fullmatch(repository.strip()) if isinstance(repository, str) else None
    if match is None or ".." in match[1]:
        raise InvalidRequest(
            Problem("repository", quoted_value(repository), Message("a name such as owner/model, or its address"))
        )
    if not isinstance(revision, str) or not _REVISION.fullmatch(revision) or ".." in revision:
        raise InvalidRequest(
            Problem("revision", quoted_value(revision), Message("a branch, tag or commit, such as main"))
        )
    return match[1], revision


def refusal(status: int, repository: str, path: str = "") -> str:
    """What an HTTP status of the hub means for the person who asked, in one sentence."""
    what = Message("{path} of {repository}", path=path, repository=repository) if path else repository
    if status in (401, 403):
        return Message(
            "{what} is gated, private or not there. Accept its terms on the hub and give a token that may read it.",
            what=what,
        )
    if status == 404:
        return Message("{what} is not on the hub.", what=what)
    if status == 429:
        return Message("The hub is busy and asks to come back later.")
    return Message("The hub answered {what} with the status {status}.", what=what, status=status)


def is_folder(files: Iterable[HubFile]) -> bool:
    """Whether the files make a folder: a diffusers model, or more than one file."""
    return any(file.path == INDEX for file in files) or len(tuple(files)) > 1
