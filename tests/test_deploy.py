"""The container and the Space have the right form, and app.py runs in a bare environment with the Space's variables."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from ipaddress import ip_address, ip_network
from pathlib import Path

import httpx
import pytest
from gradio_client import Client
from huggingface_hub import RepoCard

import app
from deploy.make_space import make_space
from tests.test_app_flags import free_port

ROOT = Path(__file__).resolve().parent.parent
DOCKERFILE = (ROOT / "deploy" / "Dockerfile").read_text(encoding="utf-8")
INSTRUCTIONS = {"FROM", "ARG", "RUN", "WORKDIR", "COPY", "USER", "ENV", "EXPOSE", "VOLUME", "ENTRYPOINT", "CMD"}
COLOURS = {"red", "yellow", "green", "blue", "indigo", "purple", "pink", "gray"}  # all that a Space's card may have
NAME = "ann-latent-studio.hf.space"
FRAMED = {"sec-fetch-site": "cross-site", "sec-fetch-mode": "navigate", "sec-fetch-dest": "iframe"}


def instructions() -> list[tuple[str, str]]:
    lines = [line for line in DOCKERFILE.splitlines() if line and not line.startswith("#")]
    return [(word, rest) for word, _, rest in (line.partition(" ") for line in lines)]


def test_the_dockerfile_has_the_right_form() -> None:
    found = instructions()
    assert {word for word, _ in found} <= INSTRUCTIONS
    assert found[0][0] == "FROM"
    for word, rest in found:
        if word == "COPY":
            sources = [part for part in rest.split()[:-1] if not part.startswith("--")]
            assert all((ROOT / source).exists() for source in sources), rest
    last = dict(found)
    assert last["USER"] == "studio"
    assert f"uid 1000 {last['USER']}" in DOCKERFILE
    words = [word for word, _ in found]
    assert words.index("USER") > words.index("RUN")
    command = [*json.loads(last["ENTRYPOINT"]), *json.loads(last["CMD"])]
    assert command[:2] == ["python", "app.py"]
    flags = app.parser().parse_args(command[2:])
    assert flags.host == "0.0.0.0"
    assert int(last["EXPOSE"]) == flags.port
    assert json.loads(last["VOLUME"]) == [f"{last['WORKDIR']}/outputs"]


def test_the_card_of_the_space_has_the_right_form() -> None:
    card = RepoCard.load(ROOT / "deploy" / "space" / "README.md").data.to_dict()
    assert card["sdk"] == "docker"
    assert card["app_port"] == app.parser().parse_args([]).port
    assert {card["colorFrom"], card["colorTo"]} <= COLOURS
    assert card["title"]
    assert len(card["emoji"]) == 1
    assert len(card["short_description"]) <= 60
    assert card["license"] == "apache-2.0"


def test_only_a_space_is_taken_for_one() -> None:
    flags = app.parser().parse_args([])
    app.take_space(flags, {"SPACE_ID": "ann/latent-studio"})
    assert (flags.host, flags.public, flags.name) == ("127.0.0.1", False, None)
    app.take_space(flags, {"SPACE_ID": "ann/latent-studio", "SPACE_HOST": NAME})
    assert (flags.host, flags.public, flags.name) == ("0.0.0.0", True, [NAME])
    assert any(ip_address("10.20.1.2") in ip_network(proxy) for proxy in flags.proxy), "its proxy has a private address"


@pytest.fixture(scope="module")
def space(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The address of a Space that runs from the folder made for it, in an environment with nothing else."""
    folder = tmp_path_factory.mktemp("space") / "app"
    paths = make_space(folder)
    assert {"Dockerfile", "README.md", "app.py", "models/small-world-128/unet/config.json"} <= set(paths)
    assert not [path for path in paths if path.startswith(("tests/", "training/"))]
    with pytest.raises(FileExistsError):
        make_space(folder)
    port = free_port()
    environment = {
        "PATH": os.environ["PATH"], "HOME": str(folder), "TMPDIR": str(folder.parent), "SYSTEM": "spaces",
        "SPACE_ID": "ann/latent-studio", "SPACE_HOST": NAME, "STUDIO_AUTH": "ann:the owner's password",
    }  # fmt: skip
    process = subprocess.Popen(
        [sys.executable, "app.py", "--port", str(port)], cwd=folder, env=environment, stdout=subprocess.PIPE, text=True
    )
    assert process.stdout is not None
    lines = iter(process.stdout.readline, "")
    said = next(line for line in lines if "is a guest" in line or not line)
    assert said.startswith("Everybody who reaches it is a guest")
    yield f"http://127.0.0.1:{port}"
    process.terminate()
    process.wait(30)


def test_a_space_shows_the_page_in_the_hubs_frame(space: str) -> None:
    answer = httpx.get(f"{space}/", headers={"host": NAME, "accept": "text/html", **FRAMED})
    assert answer.status_code == 200
    assert "gradio" in answer.text
    assert "frame-ancestors 'self' https://huggingface.co" in answer.headers["content-security-policy"]
    assert "x-frame-options" not in answer.headers
    cookies = answer.headers.get_list("set-cookie")
    assert any("studio_owner=" in one and "SameSite=None; Secure; Partitioned" in one for one in cookies)
    assert httpx.get(f"{space}/", headers={"host": "evil.example"}).status_code == 421
    foreign = {"host": NAME, "origin": "https://huggingface.co"}
    assert httpx.post(f"{space}/login", headers=foreign, data={"username": "a", "password": "b"}).status_code == 403


def test_everybody_is_a_guest_of_a_space_and_makes_pictures(space: str) -> None:
    client = Client(space, verbose=False)
    began = time.monotonic()
    pictures, info = client.predict(prompt="a star", num_inference_steps=2, api_name="/text_to_image")
    assert len(pictures) == 1, info
    assert time.monotonic() - began < 120
    assert httpx.get(f"{space}/share", headers={"host": NAME}).status_code == 403


def test_the_owner_of_a_space_enters_with_their_password(space: str) -> None:
    with httpx.Client(headers={"host": NAME}) as client:
        form = {"username": "ann", "password": "the owner's password"}
        entered = client.post(f"{space}/login", data=form)
        assert entered.status_code == 200
        session = next(c for c in entered.headers.get_list("set-cookie") if c.startswith("studio_login="))
        assert "SameSite=None; Secure; Partitioned" in session
        cookie = session.partition(";")[0]
        assert client.get(f"{space}/share", headers={"cookie": cookie}).status_code == 200
