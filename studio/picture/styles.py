"""Styles: words that are put around a prompt or behind it, by name, in AUTOMATIC1111's `styles.csv`.

The owner's lie in the outputs folder, so that a file from there can be copied in and out; each guest's and program's
own beside them. What a file has in further columns stays when it is written.
"""

from __future__ import annotations

import csv
import hashlib
import io
import secrets
import threading
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, clean_text, quoted_value
from studio.asked.rows import MAX_PROMPT_CHARACTERS

NAME = "styles.csv"
FOLDER = ".styles"  # of everybody but the owner
COLUMNS = ("name", "prompt", "negative_prompt")
PLACE = "{prompt}"  # where a style has the prompt within its words
MAX_STYLES = 1000
MAX_NAME = 100
MAX_BYTES = 2**22
MAX_FILES = 2000  # of guests and programs together


@dataclass(frozen=True, kw_only=True)
class Style:
    """`more`: what stands in further columns of its row, by their names."""

    name: str
    prompt: str = ""
    negative_prompt: str = ""
    more: Mapping[str, str] = field(default_factory=dict)


def with_style(text: str, words: str) -> str:
    """A prompt with the words of a style: in the place of {prompt}, else behind a comma, as AUTOMATIC1111 has it."""
    if PLACE in words:
        return words.replace(PLACE, text)
    return ", ".join(part for part in (text.strip(), words.strip()) if part)


def with_styles(prompt: str, negative_prompt: str, styles: Iterable[Style]) -> tuple[str, str]:
    """Both prompts with these styles, one after the other."""
    for style in styles:
        prompt = with_style(prompt, style.prompt)
        negative_prompt = with_style(negative_prompt, style.negative_prompt)
    return prompt, negative_prompt


class Styles:
    """The files of everybody. Any thread; a file is read whenever it is asked for, since people edit it by hand."""

    def __init__(self, folder: Path) -> None:
        """`folder`: that of the outputs."""
        self._folder = folder
        self._lock = threading.Lock()

    def of(self, visitor: str | None) -> tuple[Style, ...]:
        """The styles of a visitor; None: the owner's. A file that cannot be read has none."""
        with self._lock:
            return tuple(self._read(visitor))

    def named(self, visitor: str | None, names: Sequence[str], field: str = "styles") -> list[Style]:
        """Those of these names, in their order. Raises InvalidRequest for a name that none has."""
        styles = {style.name: style for style in self.of(visitor)}
        unknown = [name for name in names if name not in styles]
        if unknown:
            known = ", ".join(list(styles)[:20])
            expectation = (
                Message("the styles {names}", names=known) if known else Message("no style: there are none yet")
            )
            raise InvalidRequest(Problem(field, quoted_value(unknown[0]), expectation))
        return [styles[name] for name in names]

    def save(self, visitor: str | None, name: object, prompt: object, negative_prompt: object) -> tuple[Style, ...]:
        """A new style, or one of this name anew; all of them afterwards. Raises InvalidRequest and OSError."""
        texts = {"name": name, "prompt": prompt, "negative_prompt": negative_prompt}
        problems = []
        for key, value in texts.items():
            most = MAX_NAME if key == "name" else MAX_PROMPT_CHARACTERS
            if not isinstance(value, str) or len(value) > most:
                allowed = Message("text of at most {most} characters", most=f"{most:,}")
                problems.append(Problem(key, quoted_value(value), allowed))
        cleaned = {key: clean_text(str(value)).strip() for key, value in texts.items()}
        if not problems and not " ".join(cleaned["name"].split()):
            problems.append(Problem("name", Message("nothing"), Message("a name")))
        if not problems and not cleaned["prompt"] and not cleaned["negative_prompt"]:
            problems.append(Problem("prompt", Message("nothing"), Message("words for a style, in one of the prompts")))
        if problems:
            raise InvalidRequest(*problems)
        style = Style(**{**cleaned, "name": " ".join(cleaned["name"].split())})  # type: ignore[arg-type]
        with self._lock:
            styles = self._read(visitor)
            places = [place for place, one in enumerate(styles) if one.name == style.name]
            if places:
                styles[places[0]] = Style(**{**vars(style), "more": styles[places[0]].more})
            else:
                styles.append(style)
            if len(styles) > MAX_STYLES:
                allowed = Message("at most {most} styles: delete one first", most=f"{MAX_STYLES:,}")
                raise InvalidRequest(Problem("name", Message("one style more"), allowed))
            self._write(visitor, styles)
            return tuple(styles)

    def delete(self, visitor: str | None, name: object) -> tuple[Style, ...]:
        """Those that are left without the one of this name. Raises OSError."""
        with self._lock:
            styles = [style for style in self._read(visitor) if style.name != name]
            self._write(visitor, styles)
            return tuple(styles)

    def forget(self, visitors: Iterable[str]) -> None:
        """Delete the files of visitors who never come back."""
        with self._lock:
            for visitor in visitors:
                with suppress(OSError):
                    self._path(visitor).unlink(missing_ok=True)

    def _path(self, visitor: str | None) -> Path:
        if visitor is None:
            return self._folder / NAME
        return self._folder / FOLDER / f"{hashlib.sha256(visitor.encode()).hexdigest()[:32]}.csv"

    def _read(self, visitor: str | None) -> list[Style]:
        try:
            with self._path(visitor).open("rb") as file:
                data = file.read(MAX_BYTES)
        except OSError:
            return []
        return styles_of(data.decode("utf-8-sig", "replace"))[:MAX_STYLES]

    def _write(self, visitor: str | None, styles: Sequence[Style]) -> None:
        path = self._path(visitor)
        path.parent.mkdir(parents=True, exist_ok=True)
        if visitor is not None and not path.exists() and sum(1 for _ in path.parent.iterdir()) >= MAX_FILES:
            allowed = Message("nothing more: this studio has styles of {most} guests", most=f"{MAX_FILES:,}")
            raise InvalidRequest(Problem("name", Message("a first style"), allowed))
        part = path.with_name(f".{secrets.token_hex(8)}.part")
        part.write_bytes(csv_of(styles).encode("utf-8-sig"))
        part.replace(path)


def styles_of(text: str) -> list[Style]:
    """The styles of a `styles.csv`; rows without a name, without words (AUTOMATIC1111's dividers) or of a name that was
    there before are passed over."""
    styles: dict[str, Style] = {}
    try:
        for row in csv.DictReader(io.StringIO(text, newline="")):
            values = {
                key: clean_text(value) for key, value in row.items() if isinstance(key, str) and isinstance(value, str)
            }
            name = values.get("name", "").strip()[:MAX_NAME]
            prompt = values.get("prompt", values.get("text", ""))[:MAX_PROMPT_CHARACTERS]
            negative = values.get("negative_prompt", "")[:MAX_PROMPT_CHARACTERS]
            if name and name not in styles and (prompt.strip() or negative.strip()):
                more = {key: value for key, value in values.items() if key not in (*COLUMNS, "text")}
                styles[name] = Style(name=name, prompt=prompt, negative_prompt=negative, more=more)
    except csv.Error:  # a field beyond the reader's limit; what came before it is there
        pass
    return list(styles.values())


def csv_of(styles: Sequence[Style]) -> str:
    """The text of a `styles.csv`."""
    more = dict.fromkeys(key for style in styles for key in style.more)
    file = io.StringIO(newline="")
    writer = csv.DictWriter(file, [*COLUMNS, *more], restval="")
    writer.writeheader()
    for style in styles:
        writer.writerow(
            {"name": style.name, "prompt": style.prompt, "negative_prompt": style.negative_prompt} | dict(style.more)
        )
    return file.getvalue()
