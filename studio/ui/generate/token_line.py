"""What is known of the prompts while they are typed: how many tokens they have, where each stands in the text, and
remarks on text that is read otherwise than it may be meant. Drawn by static/prompt_tokens.js, which asks after a pause.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import gradio as gr

from studio.answered.engine import Engine, Refused, TokensAnswer
from studio.asked.emphasis import EmphasisName
from studio.asked.orders import Tokens
from studio.asked.problems import InvalidRequest, clean_text
from studio.asked.prompt import parse_prompt
from studio.asked.template import template_notices
from studio.ui.blocks import QUIET, html_block
from studio.ui.text import say, spoken, words

FIELDS = ("prompt", "negative_prompt")
View = dict[str, Any]


def build(tab: str) -> gr.HTML:
    """Draw the line below the prompt of a tab; the counters and marks in both fields belong to it."""
    return html_block("tokens", events=("count",), tab=tab, words=words("tokens"), elem_id=f"{tab}-tokens")


def connect(engine: Engine, tab: str, line: gr.HTML, fields: Mapping[str, gr.components.Component]) -> None:
    """Let the line ask, and tell it of every change that what it shows depends on."""

    async def count(checkpoint: str, prompt: str, negative_prompt: str, emphasis: EmphasisName) -> View:
        return await token_view(engine, checkpoint, prompt, negative_prompt, emphasis)

    asked = [fields[name] for name in ("checkpoint", *FIELDS, "emphasis")]
    line.count(count, asked, [line], **QUIET)
    event = f"new CustomEvent('ls-prompt-changed', {{ detail: '{tab}' }})"
    tell = f"() => {{ window.dispatchEvent({event}); return [] }}"
    gr.on([field.change for field in asked], None, None, None, js=tell, **QUIET)


async def token_view(
    engine: Engine, checkpoint: str, prompt: str, negative_prompt: str = "", emphasis: EmphasisName = "original"
) -> View:
    """`counts`: the count of each prompt that has words, as one line; `remarks`: a list; for each of FIELDS that has
    words and could be counted: its `text`, `count`, `sizes`, `most` and `places` (`TokensAnswer`), the places in UTF-16
    units, one after the other. Only the remarks, and `waits`, while the model is being loaded, since nothing can count
    then."""
    counts, remarks = [], []
    view: View = {}
    for name, text in zip(FIELDS, (prompt, negative_prompt)):
        if not isinstance(text, str) or not text.strip():
            continue
        negative = name == "negative_prompt"
        parsed = parse_prompt(text, negative=negative, emphasis=emphasis)
        clean = clean_text(text)
        try:
            question = Tokens(checkpoint=checkpoint, text=clean, negative=negative, emphasis=emphasis)
            answer = await engine.ask(question)
        except (InvalidRequest, Refused) as error:
            notices = parsed.notices
            view["waits"] = isinstance(error, Refused)
        else:
            view |= {name: _field(clean, answer)} if answer.chunk_tokens else {}
            count = _count(answer)
            counts.append(say("prompts.negative", words=count) if negative else count)
            # Of a template the remarks are those of the text that was chosen: they would stand twice, in other words.
            own = () if template_notices(text) else parsed.notices
            notices = tuple(dict.fromkeys((*answer.notices, *own)))
        notices = tuple(dict.fromkeys((*template_notices(text), *notices)))
        problems = [str(problem) for problem in parsed.problems]
        remarks += [say("prompts.negative", words=words) if negative else words for words in (*notices, *problems)]
    view["counts"] = " · ".join(counts)
    view["remarks"] = [spoken(remark) for remark in remarks]
    return view


def _field(text: str, answer: TokensAnswer) -> View:
    places = _utf16(text, answer.places) if len(answer.places) == answer.count else []
    return {
        "text": text,
        "count": answer.count,
        "sizes": list(answer.sizes or (answer.count,)),
        "most": answer.chunk_tokens,
        "places": places,
    }


def _utf16(text: str, places: Sequence[tuple[int, int]]) -> list[int]:
    """Starts and ends as a browser counts them, which takes a character beyond U+FFFF for two."""
    before, units = [0], 0
    for character in text:
        units += 1 + (character > "\uffff")
        before.append(units)
    return [before[place] for pair in places for place in pair]


def _count(answer: TokensAnswer) -> str:
    if answer.count == 1:
        return say("prompts.tokens.one", count=answer.count, chunks=answer.chunks)
    if answer.chunks == 1:
        return say("prompts.tokens", count=answer.count, chunks=answer.chunks)
    return say("prompts.chunks", count=answer.count, chunks=answer.chunks)
