"""A guest makes pictures and sees the models; loading, downloading and changing them is the owner's alone."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from gradio_client import Client
from gradio_client.exceptions import AppError

from studio.asked.orders import Annotate
from studio.picture.gallery import Gallery
from studio.ui.models.tab import EVENTS
from studio.ui.text import say
from tests.ui.fake_app import launch
from tests.ui.fake_engine import FakeEngine
from tests.ui.fake_models import MODELS

OWNER, GUEST = ("ann", "a long password"), ("friends", "another password")
GIVEN: dict[str, dict[str, object]] = {  # what the page's script sends with each order
    "bring": {"id": MODELS[2].id},
    "release": {"id": MODELS[0].id},
    "note": {"id": MODELS[0].id, "note": "mine now"},
    "correct": {"id": MODELS[0].id, "prediction_type": "v_prediction"},
    "lend": {"id": MODELS[4].id, "vae": MODELS[6].id},
    "convert": {"id": MODELS[3].id},
    "look": {"repository": "owner/model"},
    "download": {"repository": "owner/model", "files": ["small.safetensors"], "kind": "checkpoint"},
    "cancel": {"id": "d1"},
    "add_link": {"link": "https://civitai.com/models/7", "sha256": ""},
    "merge": {"models": [MODELS[1].id, MODELS[4].id], "method": "weighted_sum", "weight": 0.5, "precision": "first"},
    "stop_merge": {"id": "m1"},
}


class Caller:
    """Somebody who has logged in and sends what a page would, and what no page would."""

    def __init__(self, url: str, login: tuple[str, str]) -> None:
        self.http = httpx.Client(base_url=url, timeout=60, headers={"origin": url.rstrip("/")})
        self.http.post("/login", data={"username": login[0], "password": login[1]}).raise_for_status()
        self.config = self.http.get("/config").json()
        [self.tab] = [c["id"] for c in self.config["components"] if c["props"].get("elem_id") == "models-list"]

    def order(self, event: str, **more: str) -> dict[str, Any]:
        """The tab's answer to an order."""
        target = [self.tab, event]
        [number] = [d["id"] for d in self.config["dependencies"] if target in map(list, d["targets"])]
        body = {"data": [], "fn_index": number, "event_data": GIVEN[event], "session_hash": "abc"}
        answer = self.http.post("/gradio_api/run/predict", json=body, headers=more)
        assert answer.status_code == 200, answer.text
        [told] = answer.json()["data"]
        assert isinstance(told, dict)
        return told

    def found(self) -> dict[str, Any]:
        return dict(self.http.get("/models-found").json())


@pytest.fixture(scope="module")
def engine(tmp_path_factory: pytest.TempPathFactory) -> Iterator[FakeEngine]:
    engine = FakeEngine(Gallery(tmp_path_factory.mktemp("outputs")))
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def url(engine: FakeEngine) -> Iterator[str]:
    demo, url = launch(engine, engine.gallery, auth=OWNER, guest=GUEST)
    yield url
    demo.close(verbose=False)


def test_every_order_is_known_here() -> None:
    assert set(GIVEN) == set(EVENTS)


@pytest.mark.parametrize("event", EVENTS)
def test_no_order_of_a_guest_is_carried_out(engine: FakeEngine, url: str, event: str) -> None:
    engine.models.reset()
    before = engine.models.now()
    guest = Caller(url, GUEST)
    for lie in ({}, {"x-studio-guest": ""}):
        assert guest.order(event, **lie)["problem"] == say("models.guest")
    assert engine.models.now() == before


def test_the_owners_orders_are_carried_out(engine: FakeEngine, url: str) -> None:
    engine.models.reset()
    owner = Caller(url, OWNER)
    for event in ("bring", "note", "correct", "lend", "convert", "download"):
        assert owner.order(event)["problem"] == "", event
    models = engine.models.all
    assert models[MODELS[2].id].place == "device"
    assert models[MODELS[0].id].note == "mine now"
    assert models[MODELS[4].id].vae == MODELS[6].id
    assert len(engine.models.now().downloads) == len(engine.models.now().conversions) == 1
    assert owner.order("look")["repository"]["files"]
    for event in ("add_link", "merge", "stop_merge"):
        assert owner.order(event)["problem"] == "", event
    assert engine.models.now().downloads[0].files == ("dream.safetensors",)
    assert [merge.state for merge in engine.models.now().merges] == ["cancelled"]


def test_a_guest_sees_the_models_and_not_what_is_fetched(engine: FakeEngine, url: str) -> None:
    engine.models.reset()
    owner, guest = Caller(url, OWNER), Caller(url, GUEST)
    owner.order("download")
    assert (owner.found()["manages"], len(owner.found()["downloads"])) == (True, 1)
    seen = guest.found()
    assert (seen["manages"], seen["downloads"], seen["conversions"]) == (False, [], [])
    assert [one["id"] for one in seen["models"]] == [one.id for one in MODELS if one.state == "usable"]
    assert not {"where", "reason", "note", "origin"} & {key for one in seen["models"] for key in one}
    assert not any(seen["memory"].values())
    guest.http.get("/models-found?refresh=1")
    assert engine.models.refreshed == 0, "looking through the folders anew is the owner's, too"
    owner.http.get("/models-found?refresh=1")
    assert engine.models.refreshed == 1


def test_the_same_list_again_is_one_short_line(engine: FakeEngine, url: str) -> None:
    owner = Caller(url, OWNER)
    first = owner.http.get("/models-found")
    again = owner.http.get("/models-found", headers={"if-none-match": first.headers["etag"]})
    assert (again.status_code, again.content) == (304, b"")
    engine.models.order(Annotate(model_id=MODELS[0].id, note="changed"))
    assert owner.http.get("/models-found", headers={"if-none-match": first.headers["etag"]}).status_code == 200


def test_a_gated_repository_wants_a_token_on_the_page_too(engine: FakeEngine, url: str) -> None:
    owner = Caller(url, OWNER)
    try:
        GIVEN["look"] = {"repository": "gated/one"}
        assert owner.order("look")["problem"] == "gated/one is gated. Give a token."
        GIVEN["look"] = {"repository": "gated/one", "token": "secret"}
        assert len(owner.order("look")["repository"]["files"]) == 2
    finally:
        GIVEN["look"] = {"repository": "owner/model"}


def test_the_api_lets_the_owner_choose_a_vae_and_nobody_else(engine: FakeEngine, url: str) -> None:
    engine.models.reset()
    owner, guest = (Client(url, auth=login, verbose=False) for login in (OWNER, GUEST))
    lines = {line["name"]: line for line in owner.predict(api_name="/models")}
    assert lines["bare"]["state"] == "incomplete"
    assert lines["soft-vae"]["lends_vae_to"] == ["SD 1", "SD 2"]
    with pytest.raises(AppError, match="Only the owner"):
        guest.predict("bare", "soft-vae", api_name="/choose_vae")
    with pytest.raises(AppError, match=r"vae: 'nothing' is not allowed\. Allowed: one of soft-vae"):
        owner.predict("bare", "nothing", api_name="/choose_vae")
    with pytest.raises(AppError, match="checkpoint: 'soft-vae' is not allowed"):
        owner.predict("soft-vae", "soft-vae", api_name="/choose_vae")
    assert engine.models.now().models == MODELS
    chosen = owner.predict("bare", "soft-vae", api_name="/choose_vae")
    assert chosen == {"checkpoint": "bare", "vae": "soft-vae"}
    assert "bare" in {line["name"] for line in guest.predict(api_name="/models")}
    owner.predict("bare", api_name="/choose_vae")
    assert engine.models.all[MODELS[4].id].state == "incomplete"


def test_the_api_lets_the_owner_merge_and_add_by_link_and_nobody_else(engine: FakeEngine, url: str) -> None:
    engine.models.reset()
    owner, guest = (Client(url, auth=login, verbose=False) for login in (OWNER, GUEST))
    for arguments, name in ((("tiny-test", "bare"), "/merge"), (("https://civitai.com/models/7",), "/add_by_link")):
        with pytest.raises(AppError, match="Only the owner"):
            guest.predict(*arguments, api_name=name)
    assert (engine.models.merges, engine.models.fetched) == ([], [])
    with pytest.raises(AppError, match="b: 'nothing' is not allowed"):
        owner.predict("tiny-test", "nothing", api_name="/merge")
    with pytest.raises(AppError, match=r"weight: 3\.?0? is not allowed"):
        owner.predict("tiny-test", "bare", weight=3, api_name="/merge")
    merge = owner.predict("tiny-test", "bare", weight=0.25, name="both", api_name="/merge")
    assert merge == {"name": "both", "recipe": "0.75(tiny-test) + 0.25(bare)", "state": "running"}
    with pytest.raises(AppError, match="link: 'x' is not allowed"):
        owner.predict("x", api_name="/add_by_link")
    added = owner.predict("https://civitai.com/models/7", api_name="/add_by_link")
    assert added == {"from": "civitai.com/models/7", "file": "dream.safetensors", "state": "running"}


def test_without_a_login_nobody_is_in(url: str) -> None:
    stranger = httpx.Client(base_url=url, timeout=60)
    assert stranger.get("/models-found").status_code == 401
    wrong = stranger.post("/login", data={"username": GUEST[0], "password": OWNER[1]})
    assert wrong.status_code == 401


def test_no_answer_to_a_guest_names_a_model_that_they_may_not_use(engine: FakeEngine, url: str) -> None:
    engine.models.reset()
    owner, guest = Caller(url, OWNER), Caller(url, GUEST)
    open_one, *hidden = MODELS
    decision = {"models": [open_one.id]}
    assert owner.http.post("/share/board", json=decision).status_code == 200
    try:
        program = Client(url, auth=GUEST, verbose=False)
        answers = {
            "the page": guest.http.get("/").text,
            "its layout": guest.http.get("/config").text,
            "the tab Models": guest.http.get("/models-found").text,
            "/api/v1/models": guest.http.get("/api/v1/models").text,
            "/models": str(program.predict(api_name="/models")),
            "a wrong name": guest.http.post(
                "/api/v1/jobs", json={"kind": "text_to_image", "request": {"prompt": "x", "checkpoint": "nothing"}}
            ).text,
        }
        for where, text in answers.items():
            told = [model.name for model in hidden if model.kind == "checkpoint" and model.name in text]
            assert told == [], where
        assert open_one.name in answers["the tab Models"]
        assert guest.http.get(f"/model-picture/{hidden[0].id}").status_code == 404
        assert hidden[0].name in owner.http.get("/models-found").text
    finally:
        owner.http.post("/share/board", json={"models": None})
