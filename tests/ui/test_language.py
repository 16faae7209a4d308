"""The page speaks the language that its visitor asks for: which one, and that every sentence can be said in it."""

from __future__ import annotations

import ast
import copy
import pickle
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse
from starlette.routing import Route

import studio
from studio.answered.codec import decode, encode
from studio.answered.engine import Refused
from studio.asked.messages import Message, is_joined, listed, sentences
from studio.asked.problems import InvalidRequest, Problem, Range, one_of
from studio.checkpoints import other_models
from studio.families.registry import FAMILIES
from studio.ui import assets, language, text
from studio.ui.chinese_messages import CHINESE_MESSAGES, chinese_of
from studio.ui.text import say, spoken
from studio.ui.texts_of_page import name_texts
from studio.web.language import Language
from tests.web.asgi import call

ROOT = Path(studio.__file__).parent
FOR_PROGRAMS = ("web/api/", "web/a1111/", "web/mcp/", "web/base64_pictures.py")  # whose errors are in English
REFUSALS = {"Problem", "Refused", "BadCheckpoint", "MissingVae", "DoesNotFit", "SaveFailed"}
# Names that stand in a message as a value, as plain text.
NAMES = {what for what, _ in other_models._MODELS} | {other_models.RUNS}
NAMES |= {one.label for family in FAMILIES.values() for one in family.text_encoders}


@pytest.mark.parametrize(
    ("cookie", "header", "expected"),
    [
        ("", "", "en"),
        ("", "zh-CN,zh;q=0.9,en;q=0.8", "zh"),
        ("", "en;q=0.5, zh-Hans;q=0.7", "zh"),
        ("", "fr, en;q=0.5, zh;q=0.4", "en"),
        ("", "de-DE,fr;q=0.7", "en"),
        ("", "zh;q=0", "en"),
        ("", "zh;q=x, ;;;", "en"),
        ("en", "zh-CN", "en"),
        ("zh", "en-GB", "zh"),
        ("xx", "zh-CN", "zh"),
    ],
)
def test_the_switch_decides_and_then_the_browser(cookie: str, header: str, expected: str) -> None:
    assert language.asked_for({language.COOKIE: cookie}, header) == expected


def test_an_answer_speaks_the_language_of_its_request() -> None:
    app = Language(Starlette(routes=[Route("/", lambda request: PlainTextResponse(said(request)))]))

    def said(request: Request) -> str:
        return say("tab.compare")

    assert call(app, "/").body.decode() == "Compare"
    assert call(app, "/", headers=[("accept-language", "zh-CN")]).body.decode() == "对比"
    assert call(app, "/", headers=[("cookie", "studio_language=zh")]).body.decode() == "对比"
    assert say("tab.compare") == "Compare"


def test_a_message_is_its_english_sentence_and_keeps_its_key_and_values() -> None:
    message = Message(
        "The queue is full: {count} are before you. Try again in {wait}.", count=3, wait=Message("a minute")
    )
    assert message == "The queue is full: 3 are before you. Try again in a minute."
    kept = [str(message), str(Refused(message)), copy.deepcopy(message), pickle.loads(pickle.dumps(message))]
    for one in [*kept, decode(encode(message)), str(decode(encode(Refused(message))))]:
        assert one == message
        assert isinstance(one, Message)
        assert (one.key, one.values) == (message.key, message.values)
    with language.speaking("zh"):
        assert spoken({"a": [message, 1], "b": ("x", None)}) == {
            "a": ["队列已满：您前面有 3 个任务。请在一分钟后再试。", 1],
            "b": ("x", None),
        }
    assert spoken(message) is message


def test_problems_lists_and_sentences_are_said_whole() -> None:
    error = InvalidRequest(
        Problem("steps", "0", Range(low=1, high=150, whole=True).describe()),
        Problem("preview", "'x'", one_of({"fast": "Fast", "tiny": "Tiny"})),
    )
    english = (
        "steps: 0 is not allowed. Allowed: whole numbers from 1 to 150. "
        "preview: 'x' is not allowed. Allowed: one of Fast (fast), Tiny (tiny)."
    )
    assert str(error) == english
    with language.speaking("zh"):
        said = spoken(str(error))
    assert re.findall(r"[A-Za-z]{2,}", said) == ["steps", "preview", "fast", "tiny"]
    assert "1 到 150 的整数" in said
    assert sentences(["One.", "", "Two."]) == "One. Two."
    with language.speaking("zh"):
        assert spoken(listed(["a", "b"])) == "a、b"


def test_what_a_visitor_wrote_is_not_translated() -> None:
    message = Message("{name} is no LoRA.", name="{p0} {p1}")
    with language.speaking("zh"):
        assert spoken(message) == "{p0} {p1} 不是 LoRA。"


def messages_of(path: Path) -> Iterator[tuple[str, int]]:
    """The sentences of the messages in a module, and their lines."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and getattr(node.func, "id", getattr(node.func, "attr", "")) == "Message":
            first = node.args[0]
            for one in (first.body, first.orelse) if isinstance(first, ast.IfExp) else (first,):
                assert isinstance(one, ast.Constant), f"{path.name}:{node.lineno}: a message is one sentence"
                yield one.value, node.lineno


def test_every_message_has_its_chinese_and_every_chinese_sentence_a_message() -> None:
    english = {sentence for path in ROOT.rglob("*.py") for sentence, _ in messages_of(path)}
    missing = [one for one in english if not is_joined(one) and chinese_of(one) is None]
    assert not missing
    known = {re.sub(r"\{\w+\}", "{}", one) for one in english} | NAMES
    assert not set(CHINESE_MESSAGES) - known


def test_a_refusal_is_a_message() -> None:
    """A sentence that is only text can be said in English alone."""
    for path in ROOT.rglob("*.py"):
        if path.relative_to(ROOT).as_posix().startswith(FOR_PROGRAMS):
            continue
        for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") in REFUSALS:
                for one in node.args:
                    said = one.value if isinstance(one, ast.Constant) else ""
                    plain = isinstance(said, str) and " " in said
                    words = isinstance(one, ast.JoinedStr) and any(
                        isinstance(part, ast.Constant) and " " in str(part.value) for part in one.values
                    )
                    only_text = plain or words
                    assert not only_text, f"{path.relative_to(ROOT)}:{node.lineno}"


def test_the_layout_names_its_texts() -> None:
    words = {"label": say("prompt.label"), "choices": [(say("aspect.square"), "square")], "value": "mine"}
    component = {"props": words}
    name_texts([component])
    assert component["says"] == [[("label",), ["prompt.label"]], [("choices", 0, 0), ["aspect.square"]]]


@pytest.mark.parametrize("name", language.TAGS)
def test_the_page_loads_one_file_of_texts(name: str) -> None:
    asset = assets.texts(name)
    assert assets.by_name(asset.name) is asset
    assert f'"prompt.label": "{text.column(name)["prompt.label"]}"'.encode() in asset.content
    assert b"share.terminal" not in asset.content


def test_what_is_drawn_on_a_picture_is_in_english() -> None:
    with language.speaking("zh"):
        assert text.in_english("compare.axis.guidance_scale") == "Guidance"
        assert say("compare.axis.guidance_scale") != "Guidance"
