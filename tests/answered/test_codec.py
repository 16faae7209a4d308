"""Everything that crosses to an engine goes to bytes and back, equal and of the same types."""

from __future__ import annotations

import dataclasses
import types
import typing
from collections.abc import Mapping
from typing import Any, Literal, get_args, get_origin, get_type_hints

import pytest

from studio.answered import codec, engine, events, model_facts, models
from studio.answered.codec import BadMessage, decode, encode, known_types
from studio.answered.engine import Refused, UnknownJob
from studio.answered.models import NoSuchModel
from studio.asked import (
    axes,
    branch,
    compare,
    control,
    fields,
    guest_rules,
    orders,
    problems,
    questions,
    resolved,
    upscale,
)
from studio.asked.compare import Comparison
from studio.asked.fields import ImageToImage, TextToImage
from studio.asked.problems import InvalidRequest, Problem

TEXT = "Straße, 海, \U0001f98a, \x00"
SAMPLES: dict[type, Any] = {
    str: TEXT,
    bytes: bytes(range(256)),
    int: 2**63 - 1,
    float: 0.1,
    bool: True,
    type(None): None,
    object: [1, {"a": 2.5}],
}


def sample(hint: Any) -> Any:
    """A value of this type, with something in every field."""
    origin, given = get_origin(hint), get_args(hint)
    if hint in SAMPLES:
        return SAMPLES[hint]
    if origin is Literal:
        return given[-1]
    if origin in (types.UnionType, typing.Union):
        return sample(next(one for one in given if one is not type(None)))
    if origin is tuple:
        return (sample(given[0]),) * 2 if given[-1] is Ellipsis else tuple(sample(one) for one in given)
    if origin in (dict, Mapping):
        return {sample(given[0]): sample(given[1])}
    if dataclasses.is_dataclass(hint):
        made: Any = object.__new__(hint)  # type: ignore[call-overload]
        hints = get_type_hints(hint, vars(typing) | vars(__import__(hint.__module__, fromlist=["_"])))
        for field in dataclasses.fields(hint):
            object.__setattr__(made, field.name, sample(hints[field.name]))
        return made
    raise AssertionError(f"no sample of {hint}")


def same(one: Any, other: Any) -> bool:
    """Equal, and of the same types all the way down."""
    if type(one) is not type(other):
        return False
    if dataclasses.is_dataclass(one):
        return all(same(getattr(one, f.name), getattr(other, f.name)) for f in dataclasses.fields(one))
    if isinstance(one, (tuple, list)):
        return len(one) == len(other) and all(map(same, one, other))
    if isinstance(one, dict):
        return same(list(one.items()), list(other.items()))
    return bool(one == other)


@pytest.mark.parametrize("name", known_types())
def test_every_type_that_is_asked_or_answered_comes_back_the_same(name: str) -> None:
    value = sample(known_types()[name])
    assert same(decode(encode(value)), value)


def test_all_that_the_protocol_names_is_known_and_no_two_have_one_name() -> None:
    rooms = (
        fields,
        control,
        problems,
        resolved,
        axes,
        compare,
        branch,
        questions,
        upscale,
        guest_rules,
        orders,
        events,
        model_facts,
        models,
        engine,
    )
    found: dict[str, set[type]] = {}
    for room in rooms:
        for name, kind in vars(room).items():
            if isinstance(kind, type) and dataclasses.is_dataclass(kind) and kind.__module__ == room.__name__:
                found.setdefault(name, set()).add(kind)
    assert {name: kinds for name, kinds in found.items() if len(kinds) > 1} == {}
    assert set(found) == set(known_types())
    for union in (orders.Submission, orders.ModelOrder, events.AnyEvent):
        assert {kind.__name__ for kind in get_args(union)} <= set(known_types())


def test_an_old_record_that_has_forgotten_its_pictures_crosses_too() -> None:
    asked = ImageToImage(prompt="a fox", image=b"file").without_pictures()
    again = decode(encode(asked))
    assert again == asked
    assert again.problems() == []


def test_a_comparison_crosses_with_its_cells_also_when_it_is_over() -> None:
    given = {"prompt": "a fox", "image": b"file", "x": "strength", "x_values": "0.2, 0.4, 1"}
    for asked in (Comparison.parse(given), Comparison.parse(given).without_pictures()):
        again = decode(encode(asked))
        assert again == asked
        assert [again.request(k) for k in range(3)] == [asked.request(k) for k in range(3)]


@pytest.mark.parametrize("error", [UnknownJob("gone"), Refused("full"), NoSuchModel("gone")])
def test_what_is_raised_comes_back(error: Exception) -> None:
    again = decode(encode(error))
    assert (type(again), str(again)) == (type(error), str(error))


def test_a_refused_request_comes_back_with_its_problems() -> None:
    error = InvalidRequest(Problem("seed", "-2", "whole numbers"), Problem("width", "7", "more"))
    again = decode(encode(error))
    assert (str(again), again.problems) == (str(error), error.problems)


def test_names_of_files_that_are_no_utf8_cross() -> None:
    name = b"f\xffx".decode("utf-8", "surrogateescape")
    assert decode(encode({"name": name})) == {"name": name}


def test_special_numbers_cross() -> None:
    values = (float("inf"), -0.0, 2**64 - 1, -(2**63))
    assert decode(encode(values)) == values
    assert str(decode(encode(float("nan")))) == "nan"


@pytest.mark.parametrize("value", [object(), {1, 2}, 2**70, 1j, ValueError("x"), types.SimpleNamespace()])
def test_what_is_no_plain_data_is_not_sent(value: object) -> None:
    with pytest.raises(BadMessage):
        encode(value)


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\xc1",
        encode(TextToImage(prompt="x"))[:-3],
        codec.msgspec.msgpack.encode({codec.TYPE: "Popen", "args": "x"}),
        codec.msgspec.msgpack.encode({"no": "type"}),
        codec.msgspec.msgpack.encode({codec.TYPE: "Queued", "job_id": "x"}),
        codec.msgspec.msgpack.encode({codec.TYPE: "Queued", "job_id": "x", "ahead": 1, "more": 2}),
        codec.msgspec.msgpack.encode({codec.TYPE: "list"}),
    ],
)
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(BadMessage):
        decode(data)


def test_a_field_that_an_older_engine_does_not_know_has_its_default() -> None:
    data = codec.msgspec.msgpack.encode({codec.TYPE: "ModelList"})
    assert decode(data) == orders.ModelList(refresh=False)


def test_what_a_guest_may_use_crosses_with_their_job() -> None:
    rules = guest_rules.Rules(
        models=("here-a",), refused_words=("裸体",), locked=(("seed", 7), ("guidance_scale", 2.5))
    )
    job = orders.SubmitRun(request=TextToImage(prompt="x"), allowance=orders.Allowance(group="g", rules=rules))
    assert decode(encode(job)) == job
