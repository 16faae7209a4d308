"""Names of saved pictures by a pattern of AUTOMATIC1111's words in square brackets, such as `[date]/[number]-[seed]`.

A name is safe on every system: no path out, no character that Windows forbids, none of its reserved names, no part that
is hidden, and short. What a word says of a picture is shortened before what the pattern itself says.
"""

from __future__ import annotations

import hashlib
import re
import string
import unicodedata
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.picture.infotext import A1111_SAMPLERS, A1111_SCHEDULES

DEFAULT_PATTERN = "[date]/[number]-[seed]"
NUMBER = "number"  # counts the pictures of a folder
COMPARISONS = "compare"  # the folder of comparisons' cells, which no pattern may use

MAX_PATTERN = 200  # characters
MAX_FOLDERS = 4
# Of UTF-8. A path on Windows has 260 characters, those of the outputs folder among them.
FOLDER_BYTES, NAME_BYTES, SHORTEST_NAME_BYTES, PATH_BYTES = 40, 120, 60, 180
PROMPT_WORDS = 8  # as AUTOMATIC1111's directories_max_prompt_words

Info = Mapping[str, object]  # as in studio.picture.metadata

_WORD = re.compile(r"\[([^\[\]<>]*)(?:<([^<>]*)>)?\]")
_FORBIDDEN = re.compile(r'[<>:"/\\|?*#\[\]]')
_RESERVED = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|com[0-9¹²³]|lpt[0-9¹²³])(?:\.|$)", re.IGNORECASE)
_DIRECTIVES = "YymdHMSjBbAaIpfUWV"
_BETWEEN_WORDS = re.compile(rf"[\s{re.escape(string.punctuation)}]+")


def _text(info: Info, name: str) -> str:
    value = info.get(name)
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    return "" if value is None else str(value)


def _bare(name: str) -> str:
    last = name.replace("\\", "/").rpartition("/")[2]
    return last.removesuffix(".safetensors").removesuffix(".ckpt")


def _digest(*texts: str) -> str:
    return hashlib.sha256("".join(texts).encode("utf-8", "surrogatepass")).hexdigest()[:8]


def _sampler(info: Info) -> str:
    return A1111_SAMPLERS.get(_text(info, "scheduler"), _text(info, "scheduler"))


def _schedule(info: Info) -> str:
    return A1111_SCHEDULES.get(_text(info, "noise_schedule"), "Automatic")


def _sampler_and_schedule(info: Info) -> str:
    schedule = _schedule(info)
    return _sampler(info) if schedule == "Automatic" else f"{_sampler(info)} {schedule}"


def _prompt_words(info: Info) -> str:
    return " ".join([word for word in _BETWEEN_WORDS.split(_text(info, "prompt")) if word][:PROMPT_WORDS])


def _strength(info: Info) -> str:
    return _text(info, "strength") or _text(info, "hires_strength")


# By AUTOMATIC1111's names; `number`, `date` and `datetime` are of the saving itself.
_OF_INFO: Mapping[str, Callable[[Info], str]] = {
    "seed": lambda info: _text(info, "seed"),
    "steps": lambda info: _text(info, "num_inference_steps"),
    "cfg": lambda info: _text(info, "guidance_scale"),
    "width": lambda info: _text(info, "width"),
    "height": lambda info: _text(info, "height"),
    "sampler": _sampler,
    "scheduler": _schedule,
    "sampler_scheduler": _sampler_and_schedule,
    "model_name": lambda info: _bare(_text(info, "checkpoint")),
    "model_hash": lambda info: _text(info, "model_hash")[:10],
    "vae_filename": lambda info: _bare(_text(info, "vae")) or "Automatic",
    "prompt": lambda info: _text(info, "prompt").replace(" ", "_"),
    "prompt_spaces": lambda info: _text(info, "prompt"),
    "prompt_words": _prompt_words,
    "prompt_hash": lambda info: _digest(_text(info, "prompt")),
    "negative_prompt_hash": lambda info: _digest(_text(info, "negative_prompt")),
    "full_prompt_hash": lambda info: _digest(_text(info, "prompt"), " ", _text(info, "negative_prompt")),
    "clip_skip": lambda info: _text(info, "clip_skip") or "1",
    "denoising": _strength,
    "batch_number": lambda info: str(int(_text(info, "image") or 0) + 1),
}
WORDS = (NUMBER, "date", "datetime", *_OF_INFO)


@dataclass(frozen=True)
class Piece:
    """A text of the pattern itself, or a word of it with what stands between its angle brackets."""

    text: str
    is_word: bool = False
    argument: str = ""


Part = tuple[Piece, ...]  # between two slashes


@dataclass(frozen=True)
class Name:
    """Where a picture goes: its folder below the outputs folder, and its name without ending, in which `before` and
    `after` stand around the number; None for a pattern without one."""

    folder: str
    before: str
    after: str | None

    def stem(self, number: int) -> str:
        """The name with a number. Without a place for one, the first has none and others end in theirs."""
        if self.after is None:
            return self.before if number < 2 else f"{self.before}-{number}"
        return f"{self.before}{number:05d}{self.after}"


def parse_pattern(pattern: object) -> tuple[Part, ...]:
    """The parts of a pattern; the last one is the file's name. Raises InvalidRequest, unknown words named."""
    allowed = _problem(pattern)
    if allowed:
        raise InvalidRequest(Problem("pattern", quoted_value(pattern), allowed))
    return tuple(_pieces(part) for part in str(pattern).split("/"))


def _problem(pattern: object) -> str:
    """What a pattern would have to be; empty for a good one."""
    if not isinstance(pattern, str) or not 1 <= len(pattern) <= MAX_PATTERN:
        return Message("1 to {most} characters", most=MAX_PATTERN)
    words = [(match[1], match[2]) for match in _WORD.finditer(pattern)]
    unknown = [f"[{word}]" for word, _ in words if word not in WORDS]
    if unknown:
        known = " ".join(f"[{word}]" for word in WORDS)
        return Message("a pattern without {unknown}: the words are {known}", unknown=", ".join(unknown), known=known)
    formats = [(word, argument) for word, argument in words if argument is not None]
    for word, argument in formats:
        if word != "datetime" or not _is_time_format(argument):
            directives = " ".join(f"%{letter}" for letter in _DIRECTIVES)
            return Message("[datetime<...>] with {directives}, and no other word with <...>", directives=directives)
    literal = _WORD.sub("", pattern)
    bad = sorted({sign for sign in literal.replace("/", "") if _FORBIDDEN.match(sign) or _is_hidden(sign)})
    if bad:
        return Message("a pattern without {signs} outside its words", signs=" ".join(map(repr, bad)))
    *folders, name = pattern.split("/")
    if len(folders) > MAX_FOLDERS or not all(part.strip(" .") for part in (*folders, name)):
        return Message("at most {most} folders, with a name each, and a file's name behind them", most=MAX_FOLDERS)
    for part, most in (*((folder, FOLDER_BYTES) for folder in folders), (name, SHORTEST_NAME_BYTES)):
        if len(_WORD.sub("", part).encode("utf-8", "replace")) > most - 8:
            return Message("at most {most} bytes of text of its own in each part", most=most - 8)
    if pattern.count(f"[{NUMBER}]") > 1 or any(f"[{NUMBER}]" in folder for folder in folders):
        return Message("[number] once, and in the file's name")
    return ""


def _is_time_format(text: str) -> bool:
    return bool(re.fullmatch(rf"(?:%[{_DIRECTIVES}]|[\w .,'+=~()-])+", text))


def _is_hidden(sign: str) -> bool:
    return unicodedata.category(sign).startswith(("C", "Zl", "Zp"))


def _pieces(part: str) -> Part:
    pieces, position = [], 0
    for match in _WORD.finditer(part):
        if match.start() > position:
            pieces.append(Piece(part[position : match.start()]))
        pieces.append(Piece(match[1], True, match[2] or ""))
        position = match.end()
    return tuple(pieces + ([Piece(part[position:])] if position < len(part) else []))


def name_of(pattern: str, info: Info, when: datetime) -> Name:
    """Where the picture of this info goes. Raises InvalidRequest as `parse_pattern`."""
    *folders, last = parse_pattern(pattern)
    names = [_safe(_shortened(part, info, when, FOLDER_BYTES)) for part in folders]
    if names and names[0].casefold() == COMPARISONS:
        names[0] = f"_{names[0]}"
    room = min(NAME_BYTES, PATH_BYTES - len("/".join(names).encode()))
    texts = _shortened(last, info, when, max(room, SHORTEST_NAME_BYTES))
    places = [place for place, piece in enumerate(last) if piece.is_word and piece.text == NUMBER]
    if not places:
        return Name("/".join(names), _safe(texts), None)
    place = places[0]
    before, after = "".join(texts[:place]), "".join(texts[place + 1 :])
    if not place:
        return Name("/".join(names), "", after.rstrip(" ."))
    return Name("/".join(names), _safe([before], is_end=False), after.rstrip(" ."))


def _shortened(part: Part, info: Info, when: datetime, most: int) -> list[str]:
    """The text of each piece, what words say shortened so that all together are at most so many bytes."""
    texts = [_clean(_said(piece, info, when)) if piece.is_word else piece.text for piece in part]
    room = most - sum(len(text.encode()) for text, piece in zip(texts, part) if not piece.is_word)
    while (surplus := sum(len(t.encode()) for t, piece in zip(texts, part) if piece.is_word) - max(room, 8)) > 0:
        places = [place for place, piece in enumerate(part) if piece.is_word]
        longest = max(places, key=lambda place: len(texts[place].encode()))
        data = texts[longest].encode()
        texts[longest] = data[: max(len(data) - surplus, len(data) // 2)].decode("utf-8", "ignore").rstrip()
    return texts


def _said(piece: Piece, info: Info, when: datetime) -> str:
    if piece.text == NUMBER:
        return ""
    if piece.text == "date":
        return when.date().isoformat()
    if piece.text == "datetime":
        return when.strftime(piece.argument or "%Y%m%d%H%M%S")
    return _OF_INFO[piece.text](info)


def _clean(text: str) -> str:
    """What a word says, without signs that a file's name cannot have."""
    text = unicodedata.normalize("NFC", text.encode("utf-8", "replace").decode())
    return "".join("_" if _FORBIDDEN.match(sign) or _is_hidden(sign) else sign for sign in text)


def _safe(texts: list[str], *, is_end: bool = True) -> str:
    """One part of a path: not hidden, not reserved, not empty, and without blanks and dots at its ends."""
    text = "".join(texts).lstrip(" .")
    text = text.rstrip(" .") if is_end else text
    text = text or "_"
    return f"_{text}" if _RESERVED.match(text.replace(" ", "")) else text


EXAMPLE: Info = {
    "seed": 814512,
    "num_inference_steps": 25,
    "guidance_scale": 7.5,
    "width": 512,
    "height": 768,
    "scheduler": "dpmpp_2m",
    "noise_schedule": "karras",
    "checkpoint": "small-world-128",
    "model_hash": "5c1ab9d0e2",
    "prompt": "a red fox in the snow, golden hour",
    "negative_prompt": "",
    "image": 0,
}


def example_of(pattern: str, when: datetime) -> str:
    """The name that a picture like EXAMPLE would get as the first of its folder, without its ending. Raises
    InvalidRequest."""
    name = name_of(pattern, EXAMPLE, when)
    return f"{name.folder}/{name.stem(1)}" if name.folder else name.stem(1)
