"""A word of a run's prompt that another one takes the place of, in the former one's layout. Plain data: no torch, no
page."""

from __future__ import annotations

import re
from dataclasses import dataclass

from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value

MOST_CHARACTERS = 100  # of a word, and of what takes its place
# What the grammar of prompts reads as more than words, in either half of a swap.
_GRAMMAR = re.compile(r"[()\[\]{}<>:|\\#,\n\t]|__|\b(?:AND|BREAK)\b")
_TAG = re.compile(r"(<[^<>]*>)")  # LoRAs and their kin, whose names are no words


@dataclass(frozen=True, kw_only=True)
class WordSwap:
    """`replacement` in place of `word` from evaluation `first` (0-based) on. Up to and not with evaluation `until` the
    prompt's row attends by the maps of the run with `word` (Prompt-to-Prompt, Hertz et al. 2022, section 3.2)."""

    word: str
    replacement: str
    first: int
    until: int

    def __str__(self) -> str:
        return f"{self.word}>{self.replacement}"

    @property
    def label(self) -> str:
        """The word as tokens spell it, in lower case."""
        return self.word.lower()

    def prompt(self, prompt: str) -> str:
        """A prompt with the replacement wherever the word stands, in any case; the names of LoRAs stay."""
        word = re.compile(rf"(?<!\w){re.escape(self.word)}(?!\w)", re.IGNORECASE)
        parts = _TAG.split(prompt)
        return "".join(part if k % 2 else word.sub(lambda _: self.replacement, part) for k, part in enumerate(parts))


def read_swap(text: str) -> tuple[str, str]:
    """The two halves of a swap as text, "fox>cat". Raises InvalidRequest for anything else."""
    word, _, replacement = (part.strip() for part in text.partition(">"))
    halves = word, replacement
    if not all(half and len(half) <= MOST_CHARACTERS and not _GRAMMAR.search(half) for half in halves):
        expectation = Message(
            "a word of the prompt, > and words in its place, such as fox>cat; at most {most} characters each, without "
            "brackets, commas, colons, AND and BREAK",
            most=MOST_CHARACTERS,
        )
        raise InvalidRequest(Problem("swap", quoted_value(text), expectation))
    return halves
