"""A prompt, parsed once: its words, its LoRA tags, its schedule, and what looks like an instruction and is none.

Plain data: knows no tokenizer, no file and no model. The grammar is A1111's, the one prompts are pasted in everywhere.
"""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field, replace

from studio.asked.emphasis import MAX_WEIGHT, EmphasisName
from studio.asked.messages import Message
from studio.asked.names import name_key
from studio.asked.problems import Problem, quoted_value
from studio.asked.prompt_notices import MAX_NOTICES, notices_of
from studio.asked.prompt_schedule import PromptSchedule, Switch, parse_schedule

MAX_LORA_WEIGHT = 100.0  # either way; far beyond any use, and far from an infinity
MAX_SUBPROMPTS = 16  # texts joined by AND: each is a row of every U-Net call
PARSED_PROMPTS = 256  # kept parsed


@dataclass(frozen=True)
class LoraTag:
    """<lora:name:text:unet> of a prompt: a LoRA and how much of it in the text encoders and in the U-Net."""

    name: str
    text_scale: float = 1.0
    unet_scale: float = 1.0


@dataclass(frozen=True)
class Subprompt:
    """One of the texts between the ANDs of a prompt: its words, and its weight in the guidance."""

    words: str
    weight: float
    schedule: PromptSchedule


@dataclass(frozen=True)
class Prompt:
    """A prompt, parsed. Two of the same text and emphasis are equal.

    `text` is what was typed, `words` what is left for the text encoder without comments and tags, `loras` the LoRA tags
    in order. `subprompts` are the texts between its ANDs, at least one, each of which is asked for in a row of its own.
    `notices` are sentences about what is left out, or read in another way than it may be meant. `problems` are what a
    run is refused for.
    """

    text: str
    words: str = field(compare=False)
    loras: tuple[LoraTag, ...] = field(compare=False)
    subprompts: tuple[Subprompt, ...] = field(compare=False, repr=False)
    notices: tuple[str, ...] = field(compare=False, repr=False)
    problems: tuple[Problem, ...] = field(compare=False, repr=False)
    emphasis: EmphasisName = "original"

    @property
    def is_composed(self) -> bool:
        """Whether it is more than one text of weight 1."""
        return len(self.subprompts) > 1 or self.subprompts[0].weight != 1

    @property
    def is_plain(self) -> bool:
        """Whether its texts are the same at every step."""
        return all(one.schedule.is_plain for one in self.subprompts)

    @property
    def switches(self) -> list[Switch]:
        """The switches of all its texts."""
        return [switch for one in self.subprompts for switch in one.schedule.switches]

    def rows(self, branches: int) -> int:
        """Rows of each U-Net call; `branches`: those of a prompt that is not composed."""
        return 1 + len(self.subprompts) if self.is_composed else branches

    def texts(self, num_steps: int, steps_before: int | None = None) -> list[tuple[int, str]]:
        """The texts of a pass of `num_steps` steps, of one subprompt after the other: see `PromptSchedule.texts`."""
        return [text for one in self.subprompts for text in one.schedule.texts(num_steps, steps_before)]

    def as_one_text(self) -> Prompt:
        """The same words as one text, for what is asked of the model without guidance: AND is a word there."""
        return replace(self, subprompts=(Subprompt(self.words, 1.0, parse_schedule(self.words)),))


@functools.lru_cache(maxsize=PARSED_PROMPTS)
def parse_prompt(text: str, *, negative: bool = False, emphasis: EmphasisName = "original") -> Prompt:
    """Parse a prompt, or a negative prompt, in which A1111 reads neither LoRA tags nor AND. Nothing that is typed is an
    error here; see `Prompt.problems`. `emphasis`: how its weights are read and act."""
    loras: list[LoraTag] = []
    notices: list[str] = []
    problems: list[Problem] = []
    words: list[str] = []
    end = 0
    typed, text = text, without_comments(text)
    for tag in TAG.finditer(text):
        words.append(text[end : tag.start()])
        end = tag.end()
        kind, body = (tag["known"] or tag["other"]).lower(), tag["body"] or ""
        if kind not in _LORA_KINDS:
            notices.append(_left_out(tag.group(), kind))
        elif negative:
            notices.append(
                Message("{tag} does nothing in the negative prompt and is left out.", tag=_short(tag.group()))
            )
        else:
            _read_lora(tag.group(), body, loras, notices, problems)
    words.append(text[end:])
    words_text = "".join(words)
    subprompts = (Subprompt(words_text, 1.0, parse_schedule(words_text)),) if negative else _compose(words_text)
    notices += _comment_notices(typed) + _composition_notices(subprompts)
    for one in subprompts:
        notices += notices_of(one.words, one.schedule, negative=negative, emphasis=emphasis)
    if len(subprompts) > MAX_SUBPROMPTS:
        expectation = Message("at most {most} texts joined by AND", most=MAX_SUBPROMPTS)
        problems.append(Problem("prompt", str(len(subprompts)), expectation))
    notices = list(dict.fromkeys(notices))
    if len(notices) > 3 * MAX_NOTICES:
        more = len(notices) - 3 * MAX_NOTICES
        notices = [*notices[: 3 * MAX_NOTICES], Message("And {more} more remarks of this kind.", more=more)]
    return Prompt(typed, words_text, tuple(loras), subprompts, tuple(notices), tuple(problems), emphasis)


# ------------------------------------------------------------------------------------------------- comments and AND

# A1111's comments (modules/processing_scripts/comments.py, on by default): from any "#" to the end of the line.
COMMENT_LINE = re.compile(r"(^|\n)#[^\n]*(\n|$)")
COMMENT = re.compile(r"#[^\n]*(\n|$)")
AND = re.compile(r"\bAND\b")
_AND_WEIGHT = re.compile(r"\s*([-+]?(?:\d+\.?|\d*\.\d+))\s*", re.ASCII)


def without_comments(text: str) -> str:
    """The text without its comments."""
    return COMMENT.sub("\n", COMMENT_LINE.sub("\n", text)) if "#" in text else text


def _comment_notices(text: str) -> list[str]:
    """A comment behind words may be none to whoever typed it ("#1", "C#"); a line of its own is one."""
    comments = [line[line.index("#") :] for line in text.split("\n") if "#" in line and not line.startswith("#")]
    if not comments:
        return []
    return [
        Message('"{comment}" is left out: a comment begins with # and ends with the line.', comment=_short(comments[0]))
    ]


def _compose(words: str) -> tuple[Subprompt, ...]:
    """The texts between the ANDs and their weights, before any bracket is looked at, as A1111's
    get_multicond_prompt_list has it: a lone text may end in a weight, too."""
    subprompts = []
    for part in AND.split(words):
        text, colon, end = part.rpartition(":")
        weight = _AND_WEIGHT.fullmatch(end) if colon else None
        number = float(weight[1]) if weight else 1.0
        text = text.rstrip() if weight else part
        subprompts.append(Subprompt(text, max(-MAX_WEIGHT, min(number, MAX_WEIGHT)), parse_schedule(text)))
    return tuple(subprompts)


def _composition_notices(subprompts: tuple[Subprompt, ...]) -> list[str]:
    notices: list[str] = []
    if len(subprompts) == 1 and subprompts[0].weight != 1:
        sentence = Message(
            'The number behind the last ":" multiplies the guidance by {weight} and is no word, as with AND.',
            weight=f"{subprompts[0].weight:g}",
        )
        notices.append(sentence)
    if any(abs(one.weight) == MAX_WEIGHT for one in subprompts):
        notices.append(Message("A weight is beyond {most} and is taken as {most}.", most=f"{MAX_WEIGHT:g}"))
    return notices


def with_lora_names(prompt: str, names: Mapping[str, str]) -> str:
    """The prompt with other names in its LoRA tags, by the `name_key` of those that stand there; all else stays."""

    def rename(tag: re.Match[str]) -> str:
        if (tag["known"] or "").lower() not in _LORA_KINDS:
            return tag.group()
        name, arguments = _parts(tag["body"])
        other = names.get(name_key(name))
        return tag.group() if other is None else f"<lora:{':'.join((other, *arguments))}>"

    return TAG.sub(rename, prompt)


def has_lora(prompt: str, name: str) -> bool:
    """Whether a tag of the prompt asks for the LoRA of this name."""
    return any(name_key(tag.name) == name_key(name) for tag in parse_prompt(prompt).loras)


def with_lora(prompt: str, name: str) -> str:
    """The prompt with one tag of this LoRA at its end, but in front of a comment of the last line: behind it the tag
    would be a part of the comment."""
    rest = without_lora(prompt, name).rstrip()
    comment = rest.find("#", rest.rfind("\n") + 1)
    words, comment_text = (rest, "") if comment < 0 else (rest[:comment].rstrip(" "), f" {rest[comment:]}")
    gap = " " if words and not words.endswith("\n") else ""
    return f"{words}{gap}<lora:{name}:1>{comment_text}"


def without_lora(prompt: str, name: str) -> str:
    """The prompt without the tags of this LoRA; all else stays, but for the blanks before them."""
    kept, end = "", 0
    for tag in TAG.finditer(prompt):
        if (tag["known"] or "").lower() in _LORA_KINDS and name_key(_parts(tag["body"])[0]) == name_key(name):
            kept += prompt[end : tag.start()].rstrip(" ")
            end = tag.end()
    return kept + prompt[end:]


def with_lora_weight(prompt: str, weight: float) -> str:
    """The prompt with its first LoRA tag at this weight, in the text encoders and in the U-Net."""
    for tag in TAG.finditer(prompt):
        loras: list[LoraTag] = []
        if (tag["known"] or "").lower() in _LORA_KINDS:
            _read_lora(tag.group(), tag["body"] or "", loras, [], [])
        if loras:
            return f"{prompt[: tag.start()]}<lora:{loras[0].name}:{weight:g}>{prompt[tag.end() :]}"
    return prompt


# ----------------------------------------------------------------------------------------------------------- tags

_LORA_KINDS = ("lora", "lyco", "lycoris")  # A1111 reads all of them as one
# <kind:...>. A tag whose kind is known may have "<" in its name, but no other tag.
TAG = re.compile(
    r"<(?:(?P<known>lora|lyco|lycoris|hypernet):(?P<body>(?:(?!<(?:lora|lyco|lycoris|hypernet):)[^>])*)"
    r"|(?P<other>\w+(?:\[[^\[\]<>]*\])?):[^<>]*)>",
    re.IGNORECASE,
)


def _short(text: str) -> str:
    return text if len(text) <= 60 else f"{text[:58]}…>"


def _left_out(tag: str, kind: str) -> str:
    what = (
        Message("hypernetworks are not run here")
        if kind == "hypernet"
        else Message('there is no tag "{kind}" here', kind=kind)
    )
    return Message("{tag} is left out: {what}.", tag=_short(tag), what=what)


def _read_lora(tag: str, body: str, loras: list[LoraTag], notices: list[str], problems: list[Problem]) -> None:
    """<lora:name>, <lora:name:0.8>, <lora:name:te:unet> or named, <lora:name:te=0.5:unet=1>, as A1111 reads it.

    The U-Net's weight is the text encoders' where it is not given. A name may hold ":"; what follows its last part that
    is no argument are arguments.
    """
    name, arguments = _parts(body)
    if not name:
        notices.append(Message("{tag} names no LoRA and is left out.", tag=_short(tag)))
        return
    weights: dict[str, float] = {}
    for position, argument in enumerate(arguments):
        key, argument_name, number = (part.strip() for part in argument.partition("="))
        if not argument_name:
            key, number = _POSITIONS[position] if position < len(_POSITIONS) else "", key
        if key not in ("te", "unet"):
            notices.append(
                Message(
                    '{tag}: "{word}" is not obeyed; the weights before it are.',
                    tag=_short(tag),
                    word=argument.strip(),
                )
            )
            continue
        value = float(number) if number and _is_number(number) else math.nan
        if not -MAX_LORA_WEIGHT <= value <= MAX_LORA_WEIGHT:
            weight_text = Message(
                "the weight {name} of the LoRA {quoted_value_2}",
                name=quoted_value(number),
                quoted_value_2=quoted_value(name),
            )
            problems.append(
                Problem(
                    "prompt",
                    weight_text,
                    Message("a number from -{most} to {most}", most=f"{MAX_LORA_WEIGHT:g}"),
                )
            )
            return
        weights[key] = value
    text_scale = weights.get("te", 1.0)
    loras.append(LoraTag(name, text_scale, weights.get("unet", text_scale)))


_POSITIONS = ("te", "unet", "dyn")
_ATTRIBUTE = re.compile(r"\s*\w+\s*=")


def _parts(body: str) -> tuple[str, list[str]]:
    """The name of a LoRA tag, and its arguments."""
    parts = body.split(":")
    arguments: list[str] = []
    while len(parts) > 1 and (_ATTRIBUTE.match(parts[-1]) or _is_number(parts[-1])):
        arguments.insert(0, parts.pop())
    return ":".join(parts).strip(), arguments


def _is_number(text: str) -> bool:
    """Whether it is one as Python reads it, infinities included, or nothing, which is a number that is missing."""
    try:
        float(text)
    except ValueError:
        return not text.strip()
    return True
