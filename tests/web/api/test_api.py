"""The studio for programs: what each address answers, to whom, and with which status."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from openapi_spec_validator import validate
from PIL import Image

from studio.answered.engine import Refused
from studio.answered.errors import STATUSES
from studio.asked.questions import QUESTION_KINDS
from studio.asked.requests import REQUEST_KINDS
from studio.ui.text import column, say
from studio.web.api.errors import ROOT
from studio.web.api.openapi import document
from studio.web.api.operations import OPERATIONS
from studio.web.api.streams import STREAMS_OF_ONE
from studio.web.guard import MAX_PICTURES_BYTES, MAX_UPLOAD_BYTES
from tests.web.api.studio import V1, Program, Studio, base64_of, png
from tests.web.asgi import Answer, Visitor, call


@pytest.fixture
def studio(tmp_path: Path) -> Iterator[Studio]:
    here = Studio(tmp_path)
    yield here
    here.engine.close()


@pytest.fixture
def program(studio: Studio) -> Program:
    return studio.program()


def error(answer: Answer) -> dict[str, Any]:
    assert answer.header("content-type") == "application/json", answer.body
    assert answer.header("cache-control") == "no-store"
    assert answer.header("x-content-type-options") == "nosniff"
    [(name, value)] = answer.json().items()
    assert name == "error"
    assert STATUSES[value["type"]] == answer.status
    return dict(value)


# ----------------------------------------------------------------------------------------------------- what it does


def test_a_picture_from_words_to_the_file(program: Program) -> None:
    answer = program("POST", "/text_to_image", {"prompt": "a \u0007disc", "num_inference_steps": 4, "seed": 7})
    assert answer.status == 202
    taken = answer.json()
    assert answer.header("location") == taken["url"] == f"{V1}/jobs/{taken['job']}"
    assert taken["notes"] == ["U+0007 is a control character and is left out."]
    events = program.events(taken["job"])
    names = [event["event"] for event in events]
    assert names[-1] == "finished"
    assert set(names) <= {"queued", "loading", "started", "step", "finished"}
    assert names.count("finished") == 1
    assert all(event["preview"] is None for event in events if event["event"] == "step")
    [picture] = events[-1]["pictures"]
    assert picture["seed"] == 7
    assert picture["info"]["prompt"] == "a disc"
    file = program("GET", picture["url"].removeprefix(V1))
    assert file.header("content-type") == "image/png"
    assert file.body.startswith(b"\x89PNG")
    job = program("GET", f"/jobs/{taken['job']}").json()
    assert (job["kind"], job["state"], job["seeds"]) == ("text_to_image", "finished", [7])
    assert job["pictures"] == [picture]
    assert job["request"]["num_inference_steps"] == 4
    [line] = program("GET", "/jobs").json()["jobs"]
    assert (line["job"], line["state"]) == (taken["job"], "finished")


def test_previews_come_where_they_are_asked_for(program: Program) -> None:
    events = program.events(program.submit(prompt="slow x", num_inference_steps=2), query="previews=1")
    [step, *_] = [event for event in events if event["event"] == "step" and event["preview"]]
    assert step["preview"]["jpeg"].startswith("/9j/"), "base64 of a JPEG"


@pytest.mark.parametrize("way", ["base64", "data", "upload", "picture"])
def test_a_picture_to_begin_with_in_every_way(studio: Studio, program: Program, way: str) -> None:
    file = png(96, 64)
    image: object = base64_of(file)
    if way == "data":
        image = f"data:image/png;base64,{image}"
    if way == "upload":
        answer = program("POST", "/uploads", body=file, content_type="image/png")
        assert answer.status == 201
        image = {"upload": answer.json()["id"]}
    if way == "picture":
        [picture] = program.finished(program.submit())["pictures"]
        image = {"picture": picture["id"]}
        file = program("GET", f"/pictures/{picture['id']}").body
    job = program.submit("image_to_image", image=image, strength=0.5)
    assert program.finished(job)["state"] == "finished"
    assert next(one.request for one in studio.engine.asked if one.job.id == job).image == file  # type: ignore[union-attr]


def test_a_picture_is_enlarged_and_its_settings_stay(program: Program) -> None:
    [picture] = program.finished(program.submit(width=128, height=64))["pictures"]
    body = {"image": {"picture": picture["id"]}, "upscaler": "small-world-4x", "factor": 4}
    answer = program("POST", "/upscale", body)
    assert (answer.status, answer.header("content-type")) == (200, "image/png")
    large = Image.open(io.BytesIO(answer.body))
    assert large.size == (512, 256)
    assert large.info["parameters"].startswith(picture["parameters"])  # type: ignore[attr-defined]
    for wrong, field in (
        ({"factor": 0.5}, "factor"), ({"upscaler": "absent"}, "upscaler"), ({"crop": 1}, "crop"),
        ({"width": 256}, "height"), ({"image": None}, "image"), ({"most_pixels": 9}, "most_pixels"),
        ({"save": 1}, "save"),
    ):  # fmt: skip
        said = error(program("POST", "/upscale", body | wrong))
        assert [one["field"] for one in said["problems"]] == [field]


def test_an_enlarged_picture_is_saved_where_it_is_asked_for(program: Program) -> None:
    [picture] = program.finished(program.submit(width=128, height=64))["pictures"]
    body = {"image": {"picture": picture["id"]}, "factor": 2}
    assert program("POST", "/upscale", body | {"save": False}).header("content-location") is None
    answer = program("POST", "/upscale", body | {"save": True})
    place = str(answer.header("content-location"))
    file = program("GET", place.removeprefix("/api/v1"))
    assert Image.open(io.BytesIO(file.body)).size == (256, 128)
    [newest, _] = program("GET", "/library").json()["pictures"]
    assert place.endswith(newest["id"])


def test_inpainting_and_a_control_with_their_pictures(studio: Studio, program: Program) -> None:
    image, mask = base64_of(png()), base64_of(png(colour="white"))
    control = {"model": "lines", "image": image, "scale": 0.5}
    job = program.submit("inpaint", image=image, mask=mask, controls=[control])
    assert program.finished(job)["state"] == "finished"
    request = studio.engine.asked[-1].request
    assert request.mask == png(colour="white")  # type: ignore[union-attr]
    assert request.controls[0].image == png()


def test_a_comparison_with_its_cells(program: Program) -> None:
    axes = {"x": "guidance_scale", "x_values": "2, 4", "y": "seed", "y_values": [1, 2]}
    answer = program("POST", "/compare", {"prompt": "x", "num_inference_steps": 2} | axes)
    assert answer.status == 202
    job = answer.json()["job"]
    events = program.events(job)
    assert [event["event"] for event in events if event["event"] in ("planned", "ended")] == ["planned", "ended"]
    assert (events[-1]["finished_cells"], events[-1]["state"]) == (4, "finished")
    assert {event["of"]["event"] for event in events if event["event"] == "cell"} <= {"started", "step", "finished"}
    view = program("GET", f"/jobs/{job}").json()
    assert view["kind"] == "comparison"
    assert [cell["values"] for cell in view["cells"]] == [
        {"guidance_scale": 2.0, "seed": 1},
        {"guidance_scale": 4.0, "seed": 1},
        {"guidance_scale": 2.0, "seed": 2},
        {"guidance_scale": 4.0, "seed": 2},
    ]
    assert [cell["state"] for cell in view["cells"]] == ["finished"] * 4
    [picture] = view["cells"][3]["pictures"]
    assert program("GET", picture["url"].removeprefix(V1)).status == 200


def test_cancel_record_questions_models(program: Program) -> None:
    slow = program.submit(prompt="slow x", num_inference_steps=150)
    assert program("POST", f"/jobs/{slow}/cancel").json() == {"job": slow, "stopped": True}
    assert program.events(slow)[-1]["event"] == "stopped"
    assert program("GET", f"/jobs/{slow}").json()["state"] == "stopped"
    assert program("POST", f"/jobs/{slow}/cancel").json() == {"job": slow, "stopped": False}
    job = program.submit()
    program.events(job)
    record = program("GET", f"/jobs/{job}/record", query="image=0&since=1&lean=1")
    assert record.header("content-type") == "application/octet-stream"
    assert b'"' in record.body[8:16]
    assert len(program("GET", f"/jobs/{job}/record", query="since=2").body) < len(record.body)
    answer = program("POST", "/questions/start", A_START | {"num_inference_steps": 8, "strength": 0.5, "width": None})
    assert answer.status == 200
    assert answer.header("content-type") != "application/json"
    models = program("GET", "/models").json()["models"]
    built_in = next(one for one in models if one["name"] == "small-world-128")
    assert built_in["suits"]["width"] == 128
    assert {one["name"]: one["vaes"] for one in models if one["vaes"]} == {"tiny-test": ["soft-vae"]}
    assert all("/" not in one["name"] or not one["name"].startswith("/") for one in models)


def test_a_job_that_fails_says_so_in_the_same_form(program: Program) -> None:
    job = program.submit(prompt="fail: oom")
    [*_, last] = program.events(job)
    said = last["error"]
    assert (said["type"], said["kind"]) == ("job_failed", "out_of_memory")
    assert said["message"].startswith("The device ran out of memory.")
    assert said["error_id"]
    assert program("GET", f"/jobs/{job}").json()["error"] == said


def test_a_stream_begins_with_what_is_so_far_and_a_browser_stops_asking_at_the_end(program: Program) -> None:
    job = program.submit()
    once = program.events(job)
    again = program.events(job, headers={"last-event-id": "3"})
    assert again[-1] == once[-1]
    assert once[-1]["id"] == "end"
    assert "started" in [event["event"] for event in again]
    answer = program("GET", f"/jobs/{job}/events", headers={"last-event-id": "end"})
    assert (answer.status, answer.body) == (204, b"")


def test_what_is_sent_again_under_one_key_is_done_once(studio: Studio, program: Program) -> None:
    body = {"prompt": "x", "num_inference_steps": 1}
    key = {"idempotency-key": "a-1"}
    first = program("POST", "/text_to_image", body, headers=key)
    again = program("POST", "/text_to_image", body, headers=key)
    assert first.json() == again.json()
    assert len(studio.engine.asked) == 1
    other = program("POST", "/text_to_image", body | {"prompt": "y"}, headers=key)
    assert error(other)["problems"][0]["field"] == "Idempotency-Key"
    neighbour = studio.program("b")("POST", "/text_to_image", body, headers=key)
    assert neighbour.json()["job"] != first.json()["job"], "a key is its visitor's own"
    assert program("POST", "/text_to_image", body, headers={"idempotency-key": "x" * 201}).status == 422
    studio.engine.refusal = Refused("later", kind="full", retry_after=2)
    assert program("POST", "/text_to_image", body, headers={"idempotency-key": "b"}).status == 503
    studio.engine.refusal = None
    assert program("POST", "/text_to_image", body, headers={"idempotency-key": "b"}).status == 202


def test_sentences_are_in_the_language_of_the_request(studio: Studio, program: Program) -> None:
    chinese = {"accept-language": "zh-CN"}
    answer = program("POST", "/text_to_image", {"prompt": "x", "width": 65}, headers=chinese)
    [problem] = error(answer)["problems"]
    assert (problem["field"], problem["value"]) == ("width", "65")
    assert "64" in problem["allowed"]
    studio.engine.refusal = Refused(say("share.frozen"), kind="unavailable")
    answer = program("POST", "/text_to_image", {"prompt": "x"}, headers=chinese)
    assert error(answer)["message"] == column("zh")["share.frozen"]
    before = program("GET", "/openapi.json", headers=chinese).body
    assert before == program("GET", "/openapi.json").body, "the description is in English"


# ------------------------------------------------------------------------------------------------- whom it answers


def test_another_visitors_things_are_answered_as_none(studio: Studio, program: Program) -> None:
    job = program.submit()
    [picture] = program.finished(job)["pictures"]
    upload = program("POST", "/uploads", body=png(), content_type="image/png").json()["id"]
    other = studio.program("b")
    for method, path in (
        ("GET", "/jobs/{}"), ("GET", "/jobs/{}/events"), ("POST", "/jobs/{}/cancel"), ("GET", "/jobs/{}/record"),
    ):  # fmt: skip
        theirs, none = other(method, path.format(job)), other(method, path.format("fake-" + "0" * 32))
        assert (theirs.status, none.status) == (404, 404)
        assert theirs.body == none.body
        assert theirs.headers == none.headers
    assert other("GET", f"/pictures/{picture['id']}").body == other("GET", f"/pictures/{'0' * 32}").body
    assert other("GET", "/jobs").json() == {"jobs": []}
    for image in ({"upload": upload}, {"picture": picture["id"]}):
        assert error(other("POST", "/image_to_image", {"prompt": "x", "image": image}))["type"] == "invalid"


def test_a_client_without_token_and_cookie_is_told_why_it_finds_nothing(studio: Studio) -> None:
    answer = call(studio.app, f"{V1}/jobs/fake-1")
    assert "without the cookie" in error(answer)["message"]
    browser = Visitor(studio.app)
    json_type = [("content-type", "application/json")]
    browser(f"{V1}/models")
    taken = browser(f"{V1}/text_to_image", method="POST", headers=json_type, body=b'{"prompt": "x"}')
    assert browser(taken.json()["url"]).status == 200, "while the studio is open a cookie is enough"


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda one: one.name)
def test_every_address_wants_a_token_while_the_studio_is_shared(studio: Studio, operation: Any) -> None:
    studio.access.share()
    path = ROOT + operation.path.replace("{", "").replace("}", "")
    for headers in ([], [("authorization", "Bearer studio_wrong")], [("authorization", "Basic YTpi")]):
        answer = call(studio.app, path, method=operation.method, headers=headers)
        assert answer.status == 401
        assert answer.header("www-authenticate") == "Bearer"
        assert error(answer)["type"] == "unauthorized"


def test_a_guests_pace_and_limits_hold_for_tokens(studio: Studio) -> None:
    guest = studio.program("g", "guest")
    large = {"width": 2048, "height": 2048, "num_images_per_prompt": 16}
    too_much = guest("POST", "/text_to_image", {"prompt": "x"} | large)
    said = error(too_much)
    assert (said["type"], too_much.status) == ("forbidden", 403)
    assert "megapixels" in said["message"]
    jobs = [guest("POST", "/text_to_image", {"prompt": "slow x", "num_inference_steps": 150}) for _ in range(5)]
    assert [one.status for one in jobs] == [202] * 4 + [429]
    assert int(jobs[-1].header("retry-after") or 0) > 0
    assert error(jobs[-1])["retry_after"] > 0
    statuses = {guest("GET", "/jobs").status for _ in range(150)}
    assert statuses == {200, 429}


def test_the_owner_sees_what_a_program_takes_and_stops_it(studio: Studio) -> None:
    owner, guest = Visitor(studio.app), studio.program("busy", "guest")
    owner("/programs")
    job = guest.submit(prompt="slow x", num_inference_steps=150)
    [row] = owner("/programs").json()["programs"]
    assert (row["name"], row["jobs"]) == ("busy", 1)
    body = json.dumps({"action": "stop", "id": row["id"]}).encode()
    assert owner("/programs", method="POST", body=body).status == 200
    assert guest.events(job)[-1]["event"] == "stopped"
    assert owner("/programs").json()["programs"][0]["jobs"] == 0
    assert guest("GET", "/jobs").status == 200, "its token is as good as before"
    assert owner("/programs", method="POST", body=b'{"action": "stop", "id": "x"}').status == 200


# -------------------------------------------------------------------------------------------------- hostile bodies


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"{", 400),
        (b"[]", 400),
        (b'"x"', 400),
        (b"[" * 1_000_000, 400),
        (b'{"prompt": ' + b"[" * 100_000 + b"]" * 100_000 + b"}", 400),
        (b'{"prompt": "x", "guidance_scale": NaN}', 400),
        (b'{"prompt": "x", "guidance_scale": Infinity}', 400),
        (b'{"prompt": "x", "guidance_scale": 1e999}', 400),
        (b'{"prompt": "\xff"}', 400),
        (b'{"prompt": "x", "seed": ' + b"9" * 5000 + b"}", 400),
        (b'{"prompt": "x", "seed": ' + b"9" * 100 + b"}", 422),
        (b"", 415),
        (b"{}", 422),
        (b'{"prompt": "x", "prompt": 3}', 422),
        (b'{"prompt": "\\ud800"}', 400),
        (b'{"prompt": [' + b"[]," * 1_000_000 + b"[]]}", 413),
        (b'{"prompt": [' + b'"",' * 1_000_000 + b'""]}', 413),
        (b'{"prompt": "' + b'\\"' * 1_500_000, 413),
        (b'{"prompt": "' + b"x" * 3_000_000 + b'"}', 422),
        (b'{"prompt": "' + b"x" * 3_000_000, 400),
    ],
    ids=lambda value: ascii(value[:30]) if isinstance(value, bytes) else None,
)
def test_a_body_that_is_no_request_is_refused_and_nothing_runs(
    studio: Studio, program: Program, body: bytes, status: int
) -> None:
    answer = program("POST", "/text_to_image", body=body)
    assert answer.status == status, answer.body
    assert error(answer)["message"]
    assert studio.engine.asked == []


WRONG: dict[str, list[object]] = {
    "prompt": [None, 3, ["x"], {"a": 1}, "x" * 20_001],
    "width": ["128", 65, 0, -8, 4096, 1.5, True, [128]],
    "num_inference_steps": [0, 151, "20", 2.5, {}],
    "guidance_scale": [-0.5, 31, "5", True],
    "seed": [-2, 2**63, 1.5, True, "x"],
    "scheduler": ["nothing", 3, ["ddim"]],
    "checkpoint": ["nowhere", "../../etc/passwd", "", 3],
    "exact": [1, "true", None],
    "controls": [3, [3], [{}] * 9, [{"model": "lines"}]],
    "attention": [1, "yes", None],
    "nothing": [1],
}


@pytest.mark.parametrize(("field", "value"), [(f, v) for f, values in WRONG.items() for v in values])
def test_a_wrong_value_is_named_with_what_is_allowed(
    studio: Studio, program: Program, field: str, value: object
) -> None:
    answer = program("POST", "/text_to_image", {"prompt": "x"} | {field: value})
    assert answer.status == 422, answer.body
    said = error(answer)
    assert said["type"] == "invalid"
    assert field in [problem["field"] for problem in said["problems"]]
    assert all(problem["allowed"] and problem["value"] for problem in said["problems"])
    assert len(answer.body) < 4000
    assert studio.engine.asked == []


@pytest.mark.parametrize(
    "image",
    ["", "!", "data:text/html;base64,eA==", "http://127.0.0.1/x.png", "/etc/passwd", 3, [], {}, {"path": "/etc/passwd"},
     {"upload": "../../etc/passwd"}, {"upload": 3}, {"picture": ["x"]}, {"upload": "0" * 32, "picture": "0" * 32},
     base64_of(b"no picture"), None],
)  # fmt: skip
def test_what_is_no_picture_is_refused(studio: Studio, program: Program, image: object) -> None:
    answer = program("POST", "/image_to_image", {"prompt": "x", "image": image})
    said = error(answer)
    assert said["type"] == "invalid"
    assert [problem["field"] for problem in said["problems"]] == ["image"]
    assert studio.engine.asked == []


def test_an_error_of_the_studio_is_no_traceback(studio: Studio, program: Program) -> None:
    studio.engine.refusal = RuntimeError("secret /path")
    answer = program("POST", "/text_to_image", {"prompt": "x"})
    assert answer.status == 500
    said = error(answer)
    assert "error id" in said["message"]
    assert "secret" not in answer.body.decode()


def test_other_addresses_and_methods_are_answered_in_the_form(program: Program) -> None:
    for path in (
        "",
        "/",
        "/nothing",
        "/jobs/",
        "/jobs/a/b/c",
        "/text_to_image/x",
        "/../config",
        "/questions/nothing/x",
    ):
        assert error(program("GET", path))["type"] == "not_found", path
    for method, path in (("GET", "/text_to_image"), ("DELETE", "/jobs"), ("POST", "/models"), ("PUT", "/uploads")):
        answer = program(method, path)
        assert error(answer)["type"] == "method_not_allowed"
    assert error(call(program.app, f"{V1}/models", host="evil.example"))["type"] == "wrong_address"
    answer = program("GET", "/models", headers={"origin": "http://evil.example"})
    assert error(answer)["type"] == "forbidden"


# --------------------------------------------------------------------------- the description, and every status in it

Case = Callable[[Studio, Program], Answer]
A_PICTURE = base64_of(png())
A_START: dict[str, object] = {"checkpoint": "small-world-128", "image": A_PICTURE}
BODIES: dict[str, dict[str, object]] = {
    "text_to_image": {"prompt": "x", "num_inference_steps": 1},
    "image_to_image": {"prompt": "x", "num_inference_steps": 2, "image": A_PICTURE},
    "inpaint": {"prompt": "x", "num_inference_steps": 2, "image": A_PICTURE, "mask": A_PICTURE},
    "compare": {"prompt": "x", "num_inference_steps": 1, "x": "seed", "x_values": [1, 2]},
}


def refused(path: str, body: dict[str, object], refusal: Exception) -> Case:
    def case(studio: Studio, program: Program) -> Answer:
        studio.engine.refusal = refusal
        return program("POST", path, body)

    return case


def full_disk(path: str, body: dict[str, object]) -> Case:
    def case(studio: Studio, program: Program) -> Answer:
        small = Studio(studio.engine.gallery.outputs_dir / "small", visitor_bytes=10)
        try:
            return small.program()("POST", path, body)
        finally:
            small.engine.close()

    return case


def of_a_body(path: str, good: dict[str, object]) -> dict[int, Case]:
    return {
        400: lambda studio, program: program("POST", path, body=b"{"),
        413: lambda studio, program: program("POST", path, body=[b"[" + b" " * MAX_PICTURES_BYTES, b"]"]),
        415: lambda studio, program: program("POST", path, good, content_type="text/plain"),
        422: lambda studio, program: program("POST", path, good | {"nothing": 1}),
        507: full_disk(path, good),
    }


def submission(kind: str) -> dict[int, Case]:
    path, good = f"/{kind}", BODIES[kind]
    return {
        **of_a_body(path, good),
        202: lambda studio, program: program("POST", path, good),
        403: refused(path, good, Refused("no", kind="forbidden")),
        429: refused(path, good, Refused("later", kind="limit", retry_after=7)),
        503: refused(path, good, Refused("full", kind="full", retry_after=7)),
    }


def done(program: Program) -> str:
    job = program.submit()
    program.events(job)
    return job


def one_stream_too_many(studio: Studio, program: Program) -> Answer:
    job = program.submit(prompt="slow x", num_inference_steps=150)
    layer: Any = studio.app
    while type(layer).__name__ != "Api":
        layer = layer.app
    layer.streams._open[program.person] = STREAMS_OF_ONE
    return program("GET", f"/jobs/{job}/events")


def saved_picture(program: Program) -> str:
    picture = str(program.finished(done(program))["pictures"][0]["id"])
    assert program("GET", "/library").json()["total"] == 1
    return picture


def board(program: Program) -> str:
    assert program("POST", "/library/board", {"pictures": [saved_picture(program)], "board": "b"}).status == 200
    return "b"


def change_of_library(path: str, more: dict[str, object]) -> dict[int, Case]:
    def change(studio: Studio, program: Program) -> Answer:
        picture = saved_picture(program)
        if path.endswith("restore"):
            assert program("POST", "/library/delete", {"pictures": [picture]}).status == 200
        answer = program("POST", path, {"pictures": [picture, "x"]} | more)
        assert answer.json()["done"] == [picture]
        return answer

    return {200: change, 404: lambda studio, program: program("POST", path, {"pictures": ["x"]} | more)}


def broken_foreign_picture(studio: Studio) -> Answer:
    """Of the owner's folder: a PNG of which only the header is left."""
    (studio.engine.gallery.outputs_dir / "broken.png").write_bytes(png()[:60])
    [one] = call(studio.app, f"{V1}/library").json()["pictures"]
    return call(studio.app, f"{V1}/library/pictures/{one['id']}/file")


CASES: dict[str, dict[int, Case]] = {
    **{kind: submission(kind) for kind in BODIES},
    "upload": {
        201: lambda studio, program: program("POST", "/uploads", body=png(), content_type="image/png"),
        413: lambda studio, program: program(
            "POST", "/uploads", body=[b"x" * MAX_UPLOAD_BYTES, b"x"], content_type="image/png"
        ),
        415: lambda studio, program: program("POST", "/uploads", body=png(), content_type="text/plain"),
        422: lambda studio, program: program("POST", "/uploads", body=[b""], content_type="image/png"),
        507: lambda studio, program: full_upload(studio),
    },
    "jobs": {200: lambda studio, program: program("GET", "/jobs")},
    "job": {
        200: lambda studio, program: program("GET", f"/jobs/{done(program)}"),
        404: lambda studio, program: program("GET", "/jobs/x"),
    },
    "events": {
        200: lambda studio, program: program("GET", f"/jobs/{done(program)}/events"),
        204: lambda studio, program: program("GET", f"/jobs/{done(program)}/events", headers={"last-event-id": "end"}),
        404: lambda studio, program: program("GET", "/jobs/x/events"),
        422: lambda studio, program: program("GET", "/jobs/x/events", query="previews=yes"),
        429: one_stream_too_many,
    },
    "cancel": {
        200: lambda studio, program: program("POST", f"/jobs/{done(program)}/cancel"),
        404: lambda studio, program: program("POST", "/jobs/x/cancel"),
    },
    "again": {
        403: refused("/jobs/x/again", {}, Refused("no", kind="forbidden")),
        429: refused("/jobs/x/again", {}, Refused("later", kind="limit", retry_after=7)),
        503: refused("/jobs/x/again", {}, Refused("full", kind="full", retry_after=7)),
        202: lambda studio, program: program("POST", f"/jobs/{done(program)}/again"),
        404: lambda studio, program: program("POST", "/jobs/x/again"),
    },
    "record": {
        200: lambda studio, program: program("GET", f"/jobs/{done(program)}/record"),
        404: lambda studio, program: program("GET", "/jobs/x/record"),
        422: lambda studio, program: program("GET", "/jobs/x/record", query="image=-1"),
    },
    "picture": {
        200: lambda studio, program: program("GET", program.finished(done(program))["pictures"][0]["url"][len(V1) :]),
        404: lambda studio, program: program("GET", "/pictures/x"),
        422: lambda studio, program: program(
            "GET", program.finished(done(program))["pictures"][0]["url"][len(V1) :], query="format=gif"
        ),
    },
    "saving": {
        200: lambda studio, program: program("GET", "/saving"),
        403: lambda studio, program: studio.program("g", "guest")("GET", "/saving"),
    },
    "saving_change": {
        **of_a_body("/saving", {"format": "png"}),
        200: lambda studio, program: program("POST", "/saving", {"pattern": "[date]/[number]-[seed]"}),
        403: lambda studio, program: studio.program("g", "guest")("POST", "/saving", {"format": "webp"}),
    },
    "question": {
        **of_a_body("/questions/schedule", {"checkpoint": "small-world-128"}),
        200: lambda studio, program: program("POST", "/questions/start", A_START),
        404: lambda studio, program: program("POST", "/questions/nothing", {"checkpoint": "small-world-128"}),
        409: refused("/questions/schedule", {"checkpoint": "small-world-128"}, Refused("not loaded")),
    },
    "upscale": {
        **of_a_body("/upscale", {"image": A_PICTURE}),
        200: lambda studio, program: program("POST", "/upscale", {"image": A_PICTURE, "factor": 1.5}),
        409: refused("/upscale", {"image": A_PICTURE}, Refused("it does not fit")),
        429: refused("/upscale", {"image": A_PICTURE}, Refused("later", kind="limit", retry_after=1)),
        503: refused("/upscale", {"image": A_PICTURE}, Refused("full", kind="full", retry_after=1)),
    },
    "models": {200: lambda studio, program: program("GET", "/models")},
    "library": {
        200: lambda studio, program: program("GET", "/library"),
        422: lambda studio, program: program("GET", "/library", query="limit=0"),
    },
    "library_choices": {200: lambda studio, program: program("GET", "/library/choices")},
    "library_one": {
        200: lambda studio, program: program("GET", f"/library/pictures/{saved_picture(program)}"),
        404: lambda studio, program: program("GET", "/library/pictures/x"),
    },
    "library_file": {
        200: lambda studio, program: program("GET", f"/library/pictures/{saved_picture(program)}/file"),
        404: lambda studio, program: program("GET", "/library/pictures/x/file"),
        422: lambda studio, program: broken_foreign_picture(studio),
    },
    "library_thumbnail": {
        200: lambda studio, program: program("GET", f"/library/pictures/{saved_picture(program)}/thumbnail"),
        404: lambda studio, program: program("GET", "/library/pictures/x/thumbnail"),
    },
    **{
        name: of_a_body(path, {"pictures": ["x"]} | more) | change_of_library(path, more)
        for name, path, more in (
            ("library_rate", "/library/rate", {"rating": 3}),
            ("library_board", "/library/board", {"board": "b"}),
            ("library_delete", "/library/delete", {}),
            ("library_restore", "/library/restore", {}),
        )
    },
    "library_change_board": {
        **of_a_body("/library/board/change", {"board": "b"}),
        200: lambda studio, program: program("POST", "/library/board/change", {"board": board(program), "to": "c"}),
        404: lambda studio, program: program("POST", "/library/board/change", {"board": "b"}),
    },
    "openapi": {200: lambda studio, program: program("GET", "/openapi.json")},
}  # fmt: skip


def full_upload(studio: Studio) -> Answer:
    small = Studio(studio.engine.gallery.outputs_dir / "small", visitor_bytes=10)
    try:
        return small.program()("POST", "/uploads", body=png(), content_type="image/png")
    finally:
        small.engine.close()


@pytest.mark.parametrize(("name", "status"), [(name, status) for name, cases in CASES.items() for status in cases])
def test_every_status_of_the_description_is_answered(studio: Studio, program: Program, name: str, status: int) -> None:
    answer = CASES[name][status](studio, program)
    assert answer.status == status, answer.body
    if status >= 400:
        error(answer)
    if status in (429, 503):
        assert int(answer.header("retry-after") or 0) > 0


def test_the_description_is_valid_and_holds_no_other_address_and_status() -> None:
    described = json.loads(document())
    validate(described)
    there = {
        operation["operationId"]: {int(status) for status in operation["responses"] if status not in ("default", "401")}
        for path in described["paths"].values()
        for operation in path.values()
    }
    assert there == {name: set(cases) for name, cases in CASES.items()}
    assert {(one.method, ROOT + one.path) for one in OPERATIONS} == {
        (method.upper(), path) for path, operations in described["paths"].items() for method in operations
    }


def test_the_schemas_are_those_of_the_tables() -> None:
    schemas = json.loads(document())["components"]["schemas"]
    for kind, made in REQUEST_KINDS.items():
        properties = schemas[kind]["properties"]
        assert list(properties) == [*made.rows(), "attention"]
        for name, row in made.rows().items():
            if row.allowed is not None:
                limits = properties[name]["minimum"], properties[name]["maximum"]
                assert limits == (row.allowed.low, row.allowed.high)
            if row.choices:
                assert [one for one in properties[name]["enum"] if one] == list(row.choices)
    assert len(schemas["question"]["oneOf"]) == len(QUESTION_KINDS)


def test_what_the_schema_allows_at_its_borders_is_taken_and_what_is_past_them_is_not(program: Program) -> None:
    properties = json.loads(document())["components"]["schemas"]["text_to_image"]["properties"]
    for name, schema in properties.items():
        if "minimum" not in schema or name in ("hires_scale", "seed", "variation_seed"):
            continue
        for value, step in ((schema["minimum"], -1), (schema["maximum"], 1)):
            body = {"prompt": "x", "num_inference_steps": 1, name: value}
            answer = program("POST", "/text_to_image", body)
            assert answer.status in (202, 429), (name, value, answer.body)
            if answer.status == 202:
                program("POST", f"/jobs/{answer.json()['job']}/cancel")
            past = program("POST", "/text_to_image", body | {name: value + step * schema.get("multipleOf", 1)})
            assert past.status == 422, (name, value)
