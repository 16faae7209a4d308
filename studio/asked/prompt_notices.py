"""What looks like an instruction in a prompt and is none here, as sentences: syntax of other programs, and brackets
that do not do what they seem to.

Each form is one row of a table. The words stay in the prompt as they are; what is left out is said by the parser.
"""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from studio.asked.emphasis import MAX_WEIGHT, EmphasisName, excerpt, read_weights
from studio.asked.messages import Message
from studio.asked.prompt_schedule import PromptSchedule

MAX_NOTICES = 12  # of one prompt; more help nobody


@dataclass(frozen=True)
class Form:
    """Syntax that is read as words. `sentence` follows what stands in the prompt."""

    pattern: re.Pattern[str]
    sentence: str


def _form(pattern: str, sentence: str, *, flags: int = 0) -> Form:
    return Form(re.compile(pattern, flags), sentence)


_NUMBER = r"[+-]?(?:\d+\.?\d*|\.\d+)"

FORMS: tuple[Form, ...] = (
    _form(
        r"<(?:lora|lyco|lycoris|hypernet):[^<>]*",
        Message('has no ">" at its end, so it is read as words.'),
        flags=re.IGNORECASE,
    ),
    _form(
        r"<[ \t]+(?:lora|lyco|lycoris|hypernet):[^<>]*>|<(?:lora|lyco)[ \t]+[^<>]*>|&lt;(?:lora|lyco):[^&]{1,200}&gt;",
        Message("is read as words: a LoRA is written <lora:name:1>."),
        flags=re.IGNORECASE,
    ),
    _form(
        r"（[^（）]*[:：]\s*[\d.]+\s*）|＜[^＜＞]*[:：][^＜＞]*＞|[\[(][^\[\]()]*：[^\[\]()]*[\])]|［[^［］]*[|:：][^［］]*］",
        Message(
            "is read as words: brackets and colons of a Chinese keyboard have no meaning here; write ( ) [ ] : < >."
        ),
    ),
    _form(
        r"(?<![\w(\[:.])[^\W\d_][\w -]{0,40}:[+-]?\d*\.\d+(?=[ \t]*(?:,|\n|$))",
        Message("is read as words: a weight stands in brackets, (words:1.3)."),
    ),
    _form(
        r"BREAK[a-z0-9]\w*|(?<=[a-z0-9])BREAK\w*", Message("is read as a word: BREAK stands between spaces or commas.")
    ),
    _form(
        r"(?<=[,\n])[ \t]*[Bb]reak[ \t]*(?=[,\n])",
        Message("is read as a word: only BREAK in capitals begins a new chunk."),
    ),
    _form(
        r"\b(?:COUPLE|MASK|AREA|REGION|FEATHER|IMASK|FILL)\([^()]*\)",
        Message("is read as words: regions of ComfyUI's prompt control are not known here."),
    ),
    _form(r"^[ \t]*/imagine\b(?:[ \t]+prompt:)?", Message("is read as words: there are no commands in prompts.")),
    _form(
        r"\bADD(?:BASE|COMM|COL|ROW)\b",
        Message("is read as a word: regions of the Regional Prompter are not known here."),
    ),
    _form(
        r"\[\[[^\[\]:|,]*,[^\[\]:|]*\]\]",
        Message("only lowers the weight twice: it is no list of variants, as in Fooocus."),
    ),
    _form(r"__[\w/-]*\*[\w/*-]*?__", Message("is read as words: a wildcard is the name of one file, without a star.")),
    _form(
        r"(?:\$|\bwildcard:)\{[^{}]*\}", Message("is read as words: variables of dynamic prompts are not known here.")
    ),
    _form(
        r"(?<!\$)\{[^{}|]+\}", Message("is read as words: curly brackets have no meaning here and change no weight.")
    ),
    _form(
        rf"(?<![\w.:]){_NUMBER}::[^:]+?::",
        Message("is read as words: weights of NovelAI are not known here, write (words:1.3)."),
    ),
    _form(
        rf"\w::{_NUMBER}(?![\d.]*\s*\])",
        Message("is read as words: weights of Midjourney are not known here, write (words:1.3)."),
    ),
    _form(
        r"(?<![\w-])--(?:ar|v|niji|no|stylize|s|chaos|c|q|quality|seed|style|iw|sref|cref|tile|raw|weird|w)\b[^,\n-]*",
        Message("is read as words: options of Midjourney have fields of their own here."),
    ),
    _form(
        rf"\)(?:{_NUMBER}|\++|--+)(?=[\s,.)]|$)",
        Message("is read as words: weights of InvokeAI are written (words:1.3) here."),
    ),
    _form(
        r"\b\w{2,}(?:\+\++|--+)(?=[\s,)]|$)",
        Message("is read as words: weights of InvokeAI are written (words:1.3) here."),
    ),
    _form(
        r"\.(?:blend|and|swap)\([^()]*\)", Message("is read as words: blends and swaps of InvokeAI are not known here.")
    ),
    _form(
        r"^[ \t]*(?:Negative prompt:|Steps: \d+, (?:Sampler|CFG scale|Size|Seed):?)[^\n]*",
        Message("is read as words: settings are taken from a picture or a link, not from the prompt."),
        flags=re.MULTILINE,
    ),
    _form(
        r"<\|(?:endoftext|startoftext)\|>",
        Message("is the text encoder's own mark of where a text ends or begins, and is read as that, not as words."),
    ),
    _form(r"\[(?:SEP|SKIP|PROMPT)\]", Message("is read as a word: it is a mark of ADetailer.")),
)

# Characters that show nothing. The joiners of emoji and of Persian or Indian scripts, and the marks of writing
# direction in Hebrew and Arabic (U+200E, U+200F) belong to words; so do the letters of a flag, behind U+1F3F4.
_INVISIBLE = re.compile(
    "[\u00ad\u034f\u115f\u1160\u180e\u200b\u202a-\u202e\u2060-\u206f\u3164\ufeff\uffa0\ufff9-\ufffb]"
    "|(?<![\U0001f3f4\U000e0020-\U000e007f])[\U000e0000-\U000e007f]"
)
_CONTROL = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x9f]")  # studio.asked.problems.clean_text takes them out


def notices_of(
    words: str, schedule: PromptSchedule, *, negative: bool = False, emphasis: EmphasisName = "original"
) -> list[str]:
    """The sentences about a prompt's words, tags left out; at most MAX_NOTICES and a count of the others."""
    notices = []
    for form in FORMS:
        places = [match for match in form.pattern.finditer(words) if not _is_escaped(words, match.start())]
        if places:
            notices.append(_sentence([match.group().strip() for match in places], form.sentence))
    if negative and re.search(r"\bAND\b", words):
        notices.append(Message('"AND" is read as the word here: only the prompt is composed of texts.'))
    invisible = _INVISIBLE.findall(words)
    if invisible:
        notices.append(
            Message(
                "{code_points} cannot be seen, and goes to the text encoder with the words.",
                code_points=_code_points(invisible),
            )
        )
    notices += _control_characters(words)
    if emphasis == "comfyui" and "[" in re.sub(r"\\.", "", "".join(i for i in schedule.items if isinstance(i, str))):
        notices.append(Message("[ and ] are words with ComfyUI's emphasis and change no weight."))
    elif schedule.unread:
        notices.append(
            _sentence(
                schedule.unread,
                Message(
                    "is no prompt scheduling, which is [before:after:when] or [a|b]; the brackets only "
                    "lower the weight."
                ),
            )
        )
    weights = read_weights(words, emphasis)
    if weights.bad_weights:
        notices.append(
            _sentence(weights.bad_weights, Message("has no weight of its own: a weight is a number such as 1.3."))
        )
    if weights.unclosed_brackets:
        sentence = (
            Message("has no closing bracket and is read as words, as in ComfyUI.")
            if emphasis == "comfyui"
            else Message("has no closing bracket, so its weight holds to the end.")
        )
        notices.append(_sentence(weights.unclosed_brackets, sentence))
    if weights.stray_brackets:
        notices.append(_sentence(weights.stray_brackets, Message("closes no bracket and is read as text.")))
    if weights.limited_weights:
        notices.append(Message("A weight is beyond {most} and is taken as {most}.", most=f"{MAX_WEIGHT:g}"))
    more = len(notices) - MAX_NOTICES
    return (
        notices if more <= 0 else [*notices[:MAX_NOTICES], Message("And {more} more remarks of this kind.", more=more)]
    )


def control_characters(prompt: object, negative_prompt: object) -> list[str]:
    """The sentences about control characters in prompts as they came; a request does not have them any more."""
    negative = [
        Message("In the negative prompt, {notice}", notice=notice) for notice in _control_characters(negative_prompt)
    ]
    return [*_control_characters(prompt), *negative]


def _control_characters(text: object) -> list[str]:
    characters = _CONTROL.findall(text) if isinstance(text, str) else []
    return (
        [Message("{code_points} is a control character and is left out.", code_points=_code_points(characters))]
        if characters
        else []
    )


def _is_escaped(text: str, place: int) -> bool:
    """Whether a backslash takes the meaning from what stands here."""
    before = place
    while before > 0 and text[before - 1] == "\\":
        before -= 1
    return (place - before) % 2 == 1


def _code_points(characters: list[str]) -> str:
    """The first of them as its number and name, and how many others there are."""
    kinds = list(dict.fromkeys(characters))
    name = unicodedata.name(kinds[0], "").lower()
    more = Message(" (and {count} more)", count=len(kinds) - 1) if len(kinds) > 1 else ""
    return Message(
        "U+{number}{name}{more}", number=f"{ord(kinds[0]):04X}", name=f", {name}," if name else "", more=more
    )


def _sentence(texts: list[str] | tuple[str, ...], sentence: str) -> str:
    first = excerpt(texts[0], 0)
    more = len(set(texts)) - 1
    return (
        Message('"{first}" {sentence}', first=first, sentence=sentence)
        if not more
        else Message('"{first}" (and {more} more) {sentence}', first=first, more=more, sentence=sentence)
    )
