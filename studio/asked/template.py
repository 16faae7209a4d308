"""Templates: a prompt in which something is chosen anew for each picture, by the picture's seed.

{a|b}, {2$$a|b|c}, {1-2$$ and $$a|b|c}, {3::a|b} and __name__, which is a line of a wildcard file, in the syntax of the
extension Dynamic Prompts. A brace without "|" or "$$" stays as it is, and so do A1111's [a|b] and all behind a
backslash. Plain data: the lines come from whoever has the files.
"""

from __future__ import annotations

import dataclasses
import functools
import hashlib
import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn, Protocol

from studio.asked.emphasis import excerpt
from studio.asked.messages import Message
from studio.asked.problems import InvalidRequest, Problem, quoted_value
from studio.asked.rows import MAX_PROMPT_CHARACTERS

MAX_DEPTH = 10  # wildcards within the lines of wildcards, and braces within braces of one text
MAX_CHOICES = 5000  # of one prompt


class NoSuchLines(Exception):
    """A wildcard has no lines here; the message says why, behind its name."""


class Wildcards(Protocol):
    """Whoever has wildcard files."""

    def lines(self, name: str) -> Sequence[str]:
        """The lines of a wildcard, at least one. Raises NoSuchLines."""


@dataclass(frozen=True)
class NoWildcards:
    """None are to be had, for this reason."""

    reason: str = Message("is read as words: no wildcard file has this name.")

    def lines(self, name: str) -> Sequence[str]:
        raise NoSuchLines(self.reason)


NO_WILDCARDS = NoWildcards()


@dataclass(frozen=True)
class ResolvedText:
    """A template with everything chosen. As a template it would resolve to itself: what is no choice any more but looks
    like one has a backslash. `notices`: sentences about what was not chosen."""

    text: str
    notices: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Wildcard:
    name: str
    text: str
    begin: int


@dataclass(frozen=True)
class _Choice:
    """`low` to `high` of the options, which are (weight, nodes); more than there are count as all. Without options it
    stands too deep within others. `begin`: where its brace stands. `order`: "@" or "!" where each is asked for in turn.
    """

    options: tuple[tuple[float, tuple[_Node, ...]], ...]
    low: int
    high: int
    separator: str
    begin: int
    order: str = ""


_Node = str | _Wildcard | _Choice

_TOKEN = re.compile(r"\\.|#[^\n]*|[$%]?\{|[}|\[\]]|__[~@!]?(?!_)[\w/-]+?__|[^\\#$%{}|\[\]_]+|.", re.DOTALL)
_SAMPLER = re.compile(r"\s*([~@!])")
_HEADER = re.compile(r"\s*(\d{1,4}-\d{1,4}|-\d{1,4}|\d{1,4}-?)\$\$(?:([^${}]*)\$\$)?")
_WEIGHT = re.compile(r"\s*(\d{1,9}(?:\.\d{0,9})?|\.\d{1,9})::")
_TAG = re.compile(r"<\w+:[^<>]*>")
_SEPARATOR = ","
PARSED_TEXTS = 512  # kept parsed


def is_template(text: str) -> bool:
    """Whether something is chosen in it."""
    return ("{" in text or "__" in text) and any(not isinstance(node, str) for node in _nodes_of(text))


def template_notices(text: str) -> tuple[str, ...]:
    """What to say of a template while it is typed."""
    if not is_template(text):
        return ()
    return (Message("What is in { | } and __ __ is chosen anew for each picture, by its seed; counted is one choice."),)


def resolve_template(text: str, seed: int, wildcards: Wildcards, *, field: str = "prompt") -> ResolvedText:
    """The text of the picture that has this seed: the same for the same seed, text and lines. Raises InvalidRequest for
    a template that goes too deep or becomes too long."""
    if not is_template(text):
        return ResolvedText(text)
    run = _Run(wildcards, field, seed)
    words = as_words(run.text_of(_nodes_of(text), 0))
    if len(words) > MAX_PROMPT_CHARACTERS:
        run.refuse_length()
    return ResolvedText(words, tuple(dict.fromkeys(run.notices)))


def as_words(text: str) -> str:
    """The text with a backslash before each choice that is left in it: wildcards that have no lines, and what the
    chosen words have made with those around them. In a tag, whose name a backslash would change, nothing is written."""
    while True:
        tags = [match.span() for match in _TAG.finditer(text)]
        choices = [node.begin for node in _nodes_of(text) if not isinstance(node, str)]
        choices = [place for place in choices if not any(begin < place < end for begin, end in tags)]
        if not choices:
            return text
        for place in reversed(choices):
            text = f"{text[:place]}\\{text[place:]}"


@dataclass
class _Run:
    """One resolution: the numbers that choose, and how much has been chosen."""

    wildcards: Wildcards
    field: str
    seed: int
    notices: list[str] = dataclasses.field(default_factory=list)
    length: int = 0
    choices: int = 0

    def text_of(self, nodes: Sequence[_Node], depth: int) -> str:
        """The nodes with everything chosen; `depth`: within the lines of so many wildcards."""
        pieces = []
        for node in nodes:
            if isinstance(node, _Wildcard):
                pieces.append(self._line(node, depth))
            elif isinstance(node, _Choice):
                pieces.append(self._choose(node, depth))
            else:
                pieces.append(self._count(node))
        return "".join(pieces)

    def _choose(self, choice: _Choice, depth: int) -> str:
        options = list(choice.options)
        if not options:
            value = Message("braces within {depth} others", depth=MAX_DEPTH)
            self._refuse(value, Message("at most {most} braces within each other", most=MAX_DEPTH))
        if choice.order:
            self.notices.append(
                Message(
                    '"{order}" asks for each in turn: here chance decides, by the picture\'s seed.',
                    order=f"{{{choice.order}",
                )
            )
        only = options[0][1]
        if len(options) == 1 and len(only) == 1 and isinstance(only[0], _Wildcard):  # {2$$__colour__}: of its lines
            options = self._lines(only[0], depth)
            depth += 1
        low, high = min(choice.low, len(options)), min(choice.high, len(options))
        count = low + int(self._number() * (high - low + 1)) if high > low else low
        picked = []
        for _ in range(count):
            index = self._index([weight for weight, _ in options])
            picked.append(options.pop(index)[1])
        self._count(choice.separator * max(0, count - 1))
        return choice.separator.join(self.text_of(one, depth) for one in picked)

    def _line(self, wildcard: _Wildcard, depth: int) -> str:
        lines = self._lines(wildcard, depth)
        return self.text_of(lines[self._index([weight for weight, _ in lines])][1], depth + 1)

    def _lines(self, wildcard: _Wildcard, depth: int) -> list[tuple[float, tuple[_Node, ...]]]:
        try:
            lines = self.wildcards.lines(wildcard.name)
        except NoSuchLines as error:
            self.notices.append(Message('"{first}" {sentence}', first=excerpt(wildcard.text, 0), sentence=str(error)))
            return [(1.0, (wildcard.text,))]
        if depth >= MAX_DEPTH:
            value = Message("the wildcard {name} within {depth} others", name=quoted_value(wildcard.text), depth=depth)
            self._refuse(value, Message("at most {most} wildcards within each other", most=MAX_DEPTH))
        return [_option(line) for line in lines]

    def _index(self, weights: Sequence[float]) -> int:
        """One of the weights by chance; all alike where none is above 0."""
        if not sum(weights) > 0:
            weights = [1.0] * len(weights)
        rest = self._number() * sum(weights)
        for index, weight in enumerate(weights):
            rest -= weight
            if rest < 0:
                return index
        return max(index for index, weight in enumerate(weights) if weight > 0)

    def _number(self) -> float:
        """The next number in [0, 1), by SHA-256, which is the same everywhere and in every version."""
        self.choices += 1
        if self.choices > MAX_CHOICES:
            expectation = Message("at most {most} choices in one prompt", most=f"{MAX_CHOICES:,}")
            self._refuse(Message("a template that goes on and on"), expectation)
        digest = hashlib.sha256(f"{self.field} {self.seed} {self.choices}".encode()).digest()
        return int.from_bytes(digest[:6], "big") / 2**48

    def _count(self, text: str) -> str:
        self.length += len(text)
        if self.length > MAX_PROMPT_CHARACTERS:
            self.refuse_length()
        return text

    def refuse_length(self) -> NoReturn:
        """Raises InvalidRequest: the words are too many."""
        expectation = Message("at most {most} characters once everything is chosen", most=f"{MAX_PROMPT_CHARACTERS:,}")
        self._refuse(Message("a template that becomes longer"), expectation)

    def _refuse(self, value: str, expectation: str) -> NoReturn:
        raise InvalidRequest(Problem(self.field, value, expectation))


# -------------------------------------------------------------------------------------------------------- reading


@functools.lru_cache(maxsize=PARSED_TEXTS)
def _nodes_of(text: str, depth: int = MAX_DEPTH) -> tuple[_Node, ...]:
    """A text as words, wildcards and choices. Never fails: what is no choice is words. `depth`: how many braces may
    still be within each other."""
    tokens, pairs = _tokens_of(text)
    nodes: list[_Node] = []
    words: list[str] = []
    index = 0
    while index < len(tokens):
        token, begin = tokens[index]
        close = pairs.get(index)
        node: _Node | None = None
        if token.startswith("__") and len(token) > 4:
            node = _Wildcard(token[2:-2].lstrip("~@!"), token, begin)
        elif token == "{" and close is not None:
            node = _choice(text[begin + 1 : tokens[close][1]], begin, depth - 1)
        if node is not None:
            nodes += ["".join(words)] if words else []
            nodes.append(node)
            words = []
            index = index + 1 if close is None else close + 1
        elif token in ("${", "%{") and close is not None:  # variables and wraps, which are not known here
            words += [one for one, _ in tokens[index : close + 1]]
            index = close + 1
        else:
            words.append(token)
            index += 1
    return (*nodes, "".join(words)) if words else tuple(nodes)


def _tokens_of(text: str) -> tuple[list[tuple[str, int]], dict[int, int]]:
    """The tokens with their places, and the closing token of each opening one that has one. A square bracket does not
    reach out of its braces."""
    tokens = [(match.group(), match.start()) for match in _TOKEN.finditer(text)]
    pairs: dict[int, int] = {}
    stack: list[int] = []
    braces = 0
    for index, (token, _) in enumerate(tokens):
        if token in ("{", "${", "%{", "["):
            stack.append(index)
            braces += token != "["
        elif token == "]" and stack and tokens[stack[-1]][0] == "[":
            pairs[stack.pop()] = index
        elif token == "}" and braces:
            while tokens[stack[-1]][0] == "[":
                stack.pop()
            pairs[stack.pop()] = index
            braces -= 1
    return tokens, pairs


def _choice(content: str, begin: int, depth: int) -> _Choice | None:
    """What stands between two braces, as a choice; None where nothing is chosen: {words}."""
    sampler = _SAMPLER.match(content)
    order = sampler[1] if sampler is not None else ""
    content = content[sampler.end() :] if sampler is not None else content
    header = _HEADER.match(content)
    bounds, separator = (header[1], header[2]) if header is not None else (None, None)
    texts = _options(content[header.end() :] if header is not None else content)
    if len(texts) == 1 and bounds is None:
        return None
    low, high = _bounds(bounds, len(texts))
    options = tuple(_option(text, depth) for text in texts) if depth >= 0 else ()
    return _Choice(options, low, high, _SEPARATOR if separator is None else separator, begin, order.replace("~", ""))


def _bounds(text: str | None, options: int) -> tuple[int, int]:
    """How many options are chosen, at least and at most."""
    if text is None:
        return 1, 1
    low, dash, high = text.partition("-")
    if not dash:
        return int(low), int(low)
    numbers = int(low or 1), int(high or options)
    return min(numbers), max(numbers)


def _options(text: str) -> list[str]:
    """The parts between the "|" that stand in no brace and no square bracket."""
    tokens, pairs = _tokens_of(text)
    options, begin, index = [], 0, 0
    while index < len(tokens):
        if tokens[index][0] == "|":
            options.append(text[begin : tokens[index][1]])
            begin = tokens[index][1] + 1
        index = pairs.get(index, index) + 1
    return [*options, text[begin:]]


def _option(text: str, depth: int = MAX_DEPTH) -> tuple[float, tuple[_Node, ...]]:
    """The weight and the nodes of an option, or of a line of a wildcard file."""
    weight = _WEIGHT.match(text)
    words = text[weight.end() :] if weight is not None else text.lstrip()
    return (float(weight[1]) if weight is not None else 1.0), _nodes_of(words, depth)
