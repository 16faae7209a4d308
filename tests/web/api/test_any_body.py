"""Whatever a program sends, it gets an answer in the form, and never a fault of the studio."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from studio.answered.engine import Refused
from studio.asked.compare import FORM_ROWS
from studio.asked.questions import QUESTION_KINDS
from studio.asked.requests import ROWS
from tests.web.api.studio import Program, Studio

FIELDS = sorted({*ROWS, *FORM_ROWS, "attention", "x", "x_values", "y", "y_values", "nothing"})
KEYS = st.sampled_from(["model", "image", "upload", "x"])
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**65), 2**65)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=20)
    | st.sampled_from(["small-world-128", "ddim", "seed", "1, 2", "1-9 [3]"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=3),
    max_leaves=6,
)
GOOD: dict[str, object] = {"prompt": "x", "checkpoint": "small-world-128"}
AXES: dict[str, object] = {"x": "seed", "x_values": "1, 2"}
PATHS = ["text_to_image", "image_to_image", "inpaint", "compare", *(f"questions/{name}" for name in QUESTION_KINDS)]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Program]:
    folder: Path = tmp_path_factory.mktemp("studio")
    here = Studio(folder)
    here.engine.refusal = Refused("nothing is made here", kind="full", retry_after=1)
    yield here.program()
    here.engine.close()


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow], database=None)
@given(
    path=st.sampled_from(PATHS),
    body=st.dictionaries(st.sampled_from(FIELDS), ANYTHING, max_size=5),
    complete=st.booleans(),
)
def test_any_object(program: Program, path: str, body: dict[str, object], complete: bool) -> None:
    if complete:
        body = GOOD | (AXES if path == "compare" else {}) | body
    answer = program("POST", f"/{path}", body)
    assert answer.status in (400, 422, 503), (path, body, answer.body)
    error = answer.json()["error"]
    assert error["message"]
    assert (answer.status == 422) == bool(error.get("problems")), (path, body, error)
    for problem in error.get("problems", ()):
        assert problem["field"]
        assert problem["value"]
        assert problem["allowed"]
    assert len(answer.body) < 20_000


@settings(max_examples=100, deadline=None, database=None)
@given(body=st.binary(max_size=60) | st.text(max_size=60).map(lambda text: json.dumps(text).encode()))
def test_any_bytes(program: Program, body: bytes) -> None:
    answer = program("POST", "/text_to_image", body=body)
    assert answer.status in (400, 415, 422), answer.body
    assert answer.json()["error"]["type"] in ("bad_request", "media_type", "invalid")
