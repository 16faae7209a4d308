"""The line under the prompts: how many tokens they have, and remarks on text that is read otherwise than it may be
meant."""

from __future__ import annotations

from studio.answered.engine import Engine, Refused, TokensAnswer
from studio.asked.emphasis import EmphasisName
from studio.asked.orders import Tokens
from studio.asked.problems import InvalidRequest, clean_text
from studio.asked.prompt import parse_prompt
from studio.asked.template import template_notices
from studio.ui.text import say, spoken


async def token_line(
    engine: Engine, checkpoint: str, prompt: str, negative_prompt: str = "", emphasis: EmphasisName = "original"
) -> str:
    """The count of each prompt that has words, then a line for each remark. Only the remarks while the model is being
    loaded, since nothing can count then."""
    counts, remarks = [], []
    for text, negative in ((prompt, False), (negative_prompt, True)):
        if not isinstance(text, str) or not text.strip():
            continue
        parsed = parse_prompt(text, negative=negative, emphasis=emphasis)
        try:
            question = Tokens(checkpoint=checkpoint, text=clean_text(text), negative=negative, emphasis=emphasis)
            answer = await engine.ask(question)
        except (InvalidRequest, Refused):
            notices = parsed.notices
        else:
            count = _count(answer)
            counts.append(say("prompts.negative", words=count) if negative else count)
            # Of a template the remarks are those of the text that was chosen: they would stand twice, in other words.
            own = () if template_notices(text) else parsed.notices
            notices = tuple(dict.fromkeys((*answer.notices, *own)))
        notices = tuple(dict.fromkeys((*template_notices(text), *notices)))
        problems = [str(problem) for problem in parsed.problems]
        remarks += [say("prompts.negative", words=words) if negative else words for words in (*notices, *problems)]
    return "\n".join([" · ".join(counts), *(spoken(remark) for remark in remarks)]).strip()


def _count(answer: TokensAnswer) -> str:
    if answer.count == 1:
        return say("prompts.tokens.one", count=answer.count, chunks=answer.chunks)
    if answer.chunks == 1:
        return say("prompts.tokens", count=answer.count, chunks=answer.chunks)
    return say("prompts.chunks", count=answer.count, chunks=answer.chunks)
