"""Files by link: of public servers over https alone, looked at first, compared, and put where they belong.

The servers are on loopback: a transport stands for the internet, and names resolve to what a test says.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest

from studio.answered.engine import Refused
from studio.answered.models import Download
from studio.asked.problems import InvalidRequest
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.download_place import DownloadPlace
from studio.checkpoints.download_queue import DownloadQueue
from studio.checkpoints.links import Links
from studio.checkpoints.public_addresses import PublicOnly, is_public
from tests.checkpoints.hub_server import HubServer

PUBLIC = "93.184.216.34"


def lora(size: int = 2_400_000, start: int = 0) -> bytes:
    """A LoRA's file whose weights have so many bytes."""
    rank = size // 4 // 2
    names = ("lora_unet_down_blocks_0_attentions_0_proj_in.lora_down.weight",
             "lora_unet_down_blocks_0_attentions_0_proj_in.lora_up.weight")  # fmt: skip
    entries, position = {}, 0
    for name, shape in zip(names, ((rank, 1), (1, rank))):
        entries[name] = {"dtype": "F32", "shape": list(shape), "data_offsets": [position, position + 4 * rank]}
        position += 4 * rank
    text = json.dumps(entries).encode()
    return (
        len(text).to_bytes(8, "little")
        + text
        + (bytes((k + start) % 251 for k in range(251)) * (position // 251 + 1))[:position]
    )


LORA = lora()
SHA256 = hashlib.sha256(LORA).hexdigest()


class Internet(httpx.BaseTransport):
    """Leads every address to the server on loopback, and remembers what was asked of whom with which key."""

    def __init__(self, server: HubServer) -> None:
        self.server = server
        self.asked: list[tuple[str, str, str | None]] = []  # name, path, key
        self.to: list[str] = []
        self.answers: dict[str, Callable[[httpx.Request], httpx.Response]] = {}  # by name and path
        self._http = httpx.HTTPTransport()

    def handle_request(self, request: httpx.Request) -> httpx.Response:
        name, path = request.headers["host"], request.url.path
        self.asked.append((name, path, request.headers.get("authorization")))
        self.to.append(request.url.host)
        assert request.extensions["sni_hostname"] == name
        if name + path in self.answers:
            return self.answers[name + path](request)
        port = int(self.server.url.rpartition(":")[2])
        url = httpx.URL(scheme="http", host="127.0.0.1", port=port, path="/owner/model/resolve/main" + path)
        return self._http.handle_request(
            httpx.Request(request.method, url, headers=request.headers, extensions={"timeout": {}})
        )


def redirect(to: str) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(302, headers={"location": to})


def answer(values: Any) -> Callable[[httpx.Request], httpx.Response]:
    return lambda request: httpx.Response(200, json=values)


class Place:
    """A models folder, and links into it."""

    def __init__(self, folder: Path, internet: Internet, names: dict[str, Sequence[str]], **environment: str) -> None:
        self.models = folder
        self.internet = internet
        self.queue = DownloadQueue()
        self.links = Links(
            DownloadPlace(folder),
            self.queue,
            transport=lambda: PublicOnly(internet, lambda host, port: names.get(host, [PUBLIC])),
            environment=environment,
            wait=lambda event, seconds: None,
        )

    def ended(self, link: str, **values: str) -> Download:
        job = self.queue.job(self.links.download(link, **values))
        assert job.end.wait(60)
        return job.download

    def files(self) -> list[str]:
        return sorted(
            p.relative_to(self.models).as_posix()
            for p in self.models.rglob("*")
            if p.is_file() and not p.relative_to(self.models).parts[0].startswith(".")
        )


@pytest.fixture
def server() -> Iterator[HubServer]:
    made = HubServer({"/ink.safetensors".lstrip("/"): LORA, "old.ckpt": b"\x80\x02" + bytes(500),
                      "page": b"<!DOCTYPE html><html>" + bytes(400), "odd.bin": b"\x07" * 500})  # fmt: skip
    yield made
    made.close()


@pytest.fixture
def internet(server: HubServer) -> Internet:
    return Internet(server)


@pytest.fixture
def place(tmp_path: Path, internet: Internet) -> Iterator[Place]:
    made = Place(tmp_path, internet, {"intranet.example": ["10.1.2.3"], "half.example": [PUBLIC, "127.0.0.1"]})
    yield made
    made.queue.close()


def test_a_file_of_an_address_lies_where_its_header_says(place: Place, internet: Internet) -> None:
    download = place.ended("https://files.example/ink.safetensors?download=true#top", sha256=f" {SHA256.upper()} ")
    assert (download.state, download.message) == ("done", "In the models folder.")
    assert (download.repository, download.files) == ("files.example/ink.safetensors", ("ink.safetensors",))
    assert place.files() == ["loras/ink.safetensors"]
    assert (place.models / "loras" / "ink.safetensors").read_bytes() == LORA
    assert set(internet.to) == {PUBLIC}, "the address that was judged"
    [entry] = Catalog([place.models]).entries()
    assert DownloadPlace(place.models).origin(entry.file.key, entry.file.size) == "files.example/ink.safetensors"
    with pytest.raises(Refused, match=r"ink\.safetensors lies in the models folder already"):
        place.links.download("https://files.example/ink.safetensors")


def test_without_a_sha256_the_file_says_its_own_and_another_is_thrown_away(place: Place) -> None:
    assert place.ended("https://files.example/ink.safetensors").message == (
        f"In the models folder. Nobody has said which sha256 it should have: it is {SHA256}."
    )
    (place.models / "loras" / "ink.safetensors").unlink()
    download = place.ended("https://files.example/ink.safetensors", sha256="0" * 64)
    assert download.state == "failed"
    assert "its sha256 is another" in download.message
    assert place.files() == []


def test_a_connection_that_breaks_is_taken_up(place: Place, server: HubServer) -> None:
    server.drop_after = [2**20]
    assert place.ended("https://files.example/ink.safetensors").state == "done"
    assert server.ranges == ["bytes=0-299", "", f"bytes={2**20}-"]
    assert (place.models / "loras" / "ink.safetensors").read_bytes() == LORA


def test_a_file_that_changes_between_two_connections_is_taken_anew(place: Place, internet: Internet) -> None:
    other, asked = lora(start=7), []

    class Breaking(httpx.SyncByteStream):
        def __iter__(self) -> Iterator[bytes]:
            yield LORA[: 2**20]
            raise httpx.ReadError("gone")

    def changing(request: httpx.Request) -> httpx.Response:
        asked.append((request.headers.get("range"), request.headers.get("if-range")))
        headers = {"content-length": str(len(LORA)), "etag": f'"{min(2, len(asked))}"'}
        return (
            httpx.Response(200, headers=headers, stream=Breaking())
            if len(asked) == 2
            else httpx.Response(200, headers=headers, content=LORA if len(asked) == 1 else other)
        )

    internet.answers["files.example/x"] = changing
    assert place.ended("https://files.example/x").state == "done"
    assert asked == [("bytes=0-299", None), (None, None), (f"bytes={2**20}-", '"2"')]
    assert (place.models / "loras" / "x.safetensors").read_bytes() == other


def test_redirects_lead_to_public_servers_over_https_alone(place: Place, internet: Internet) -> None:
    internet.answers = {
        "good.example/x": redirect("https://files.example/ink.safetensors"),
        "plain.example/x": redirect("http://files.example/ink.safetensors"),
        "inner.example/x": redirect("https://intranet.example/ink.safetensors"),
        "half.example/x": redirect("https://files.example/ink.safetensors"),
        "number.example/x": redirect("https://127.0.0.1/ink.safetensors"),
        "round.example/x": redirect("https://round.example/x"),
    }
    inner = Place(place.models, internet, {"127.0.0.1": ["127.0.0.1"], "intranet.example": ["10.1.2.3"],
                                           "half.example": [PUBLIC, "::1"]})  # fmt: skip
    for name, words in {
        "plain": "The address leads to one without https (files.example); nothing was fetched.",
        "inner": "The address leads to intranet.example, which is not on the public internet; nothing was fetched.",
        "half": "The address leads to half.example, which is not on the public internet; nothing was fetched.",
        "number": "The address leads to 127.0.0.1, which is not on the public internet; nothing was fetched.",
        "round": "round.example cannot be reached (Exceeded maximum allowed redirects.).",
    }.items():
        with pytest.raises(Refused) as error:
            inner.links.download(f"https://{name}.example/x")
        assert str(error.value) == words
    assert not any(name in ("intranet.example", "127.0.0.1") for name, _, _ in internet.asked)
    assert inner.ended("https://good.example/x").state == "done"
    assert inner.files() == ["loras/ink.safetensors"]
    inner.queue.close()


def test_what_is_no_safetensors_file_is_not_fetched(place: Place, server: HubServer, internet: Internet) -> None:
    for name, words in {
        "old.ckpt": r'^old\.ckpt is a pickle.*so it is not fetched.*"Convert safely" makes one\.$',
        "page": "^page is a web page, not a weights file",
        "odd.bin": r"^odd\.bin is not a safetensors file",
        "none": r"^There is nothing at this address on files\.example\.$",
    }.items():
        with pytest.raises(Refused, match=words):
            place.links.download(f"https://files.example/{name}")
    internet.answers["files.example/gated"] = lambda request: httpx.Response(403)
    internet.answers["files.example/endless"] = lambda request: httpx.Response(200, stream=Endless())
    with pytest.raises(Refused, match="wants a login for this file"):
        place.links.download("https://files.example/gated")
    with pytest.raises(Refused, match="does not say how large the file is"):
        place.links.download("https://files.example/endless")
    server.files["lies.safetensors"] = (2).to_bytes(8, "little") + b"{}" + bytes(300)
    assert "was thrown away" in place.ended("https://files.example/lies.safetensors").message
    assert place.files() == []


class Endless(httpx.SyncByteStream):
    def __iter__(self) -> Iterator[bytes]:
        while True:
            yield bytes(1000)


@pytest.mark.parametrize(
    ("header", "name"),
    [
        ('attachment; filename="../../evil.safetensors"', "_.._evil"),
        ("attachment; filename*=UTF-8''%E7%8B%90%2Fcon.safetensors", "狐_con"),
        ('attachment; filename="NUL.safetensors"', "_NUL"),
        ("attachment", "x"),
    ],
)
def test_a_name_leads_nowhere_else(place: Place, internet: Internet, header: str, name: str) -> None:
    internet.answers["files.example/x"] = lambda request: httpx.Response(
        200, headers={"content-disposition": header}, content=LORA
    )
    assert place.ended("https://files.example/x").files == (f"{name}.safetensors",)
    assert place.files() == [f"loras/{name}.safetensors"]


@pytest.mark.parametrize(
    "link",
    ["", "http://files.example/x", "file:///etc/passwd", "ftp://x.example/y", "https://", "https://a:b@x.example/y",
     "https://x.example/a b", "https://x.example:99999/y", "https://x.example/" + "y" * 2000, None, 7,
     "https://civitai.com/user/somebody"],
)  # fmt: skip
def test_a_link_that_is_none_is_refused_by_its_field(place: Place, link: Any) -> None:
    with pytest.raises(InvalidRequest, match=r"^link: .*Allowed: an address that begins with https://"):
        place.links.download(link)
    assert place.internet.asked == []


def test_a_sha256_that_is_none_is_refused(place: Place) -> None:
    with pytest.raises(InvalidRequest, match=r"^sha256: 'abc' is not allowed\. Allowed: 64 hexadecimal digits"):
        place.links.download("https://files.example/x", sha256="abc")


# -------------------------------------------------------------------------------------------------------------- Civitai


def version(**changes: Any) -> dict[str, Any]:
    """An answer of the API, as it has them."""
    good = {
        "id": 1, "name": "ink.safetensors", "type": "Model", "primary": False, "hashes": {"SHA256": SHA256.upper()},
        "metadata": {"format": "SafeTensor", "fp": "fp16", "size": "pruned"},
        "downloadUrl": "https://civitai.com/api/download/models/678",
    }  # fmt: skip
    pickle = good | {"name": "ink.ckpt", "primary": True, "metadata": {"format": "PickleTensor"},
                     "downloadUrl": "https://civitai.com/api/download/models/678?format=PickleTensor"}  # fmt: skip
    return {
        "id": 678, "modelId": 12, "name": "v2", "trainedWords": ["inked"], "files": [pickle, good],
        "model": {"name": "Ink", "type": "LORA"},
    } | changes  # fmt: skip


def civitai(tmp_path: Path, internet: Internet, **environment: str) -> Place:
    internet.answers["civitai.com/api/v1/model-versions/678"] = answer(version())
    internet.answers["civitai.com/api/v1/models/12"] = answer(
        {"id": 12, "name": "Ink", "type": "LORA", "modelVersions": [version(model=None), version(id=1)]}
    )
    internet.answers["civitai.com/api/download/models/678"] = redirect("https://store.example/ink.safetensors")
    return Place(tmp_path, internet, {}, **environment)


@pytest.mark.parametrize(
    "link",
    ["https://civitai.com/models/12/ink-lines?modelVersionId=678", "https://civitai.com/api/download/models/678",
     "https://civitai.com/models/12"],
)  # fmt: skip
def test_a_page_of_civitai_gives_its_safetensors_file_with_sha256_and_trigger_words(
    tmp_path: Path, internet: Internet, link: str
) -> None:
    place = civitai(tmp_path, internet, CIVITAI_API_KEY="key-7")
    download = place.ended(link)
    assert (download.state, download.message) == ("done", "In the models folder.")
    assert (download.repository, download.kind) == ("civitai.com/models/12", "lora")
    assert place.files() == ["loras/ink.civitai.info", "loras/ink.safetensors"]
    assert json.loads((tmp_path / "loras" / "ink.civitai.info").read_text())["trainedWords"] == ["inked"]
    keys = {(name, key) for name, _, key in internet.asked}
    assert keys == {("civitai.com", "Bearer key-7"), ("store.example", None)}, "the key stays with Civitai"
    assert "key-7" not in repr(place.queue._jobs) + str(download)
    place.queue.close()


def test_what_civitai_says_of_a_file_counts(tmp_path: Path, internet: Internet) -> None:
    place = civitai(tmp_path, internet)
    api = "civitai.com/api/v1/model-versions/678"
    for values, words in (
        (version(model={"name": "Moves", "type": "MotionModule"}), "Moves is of the kind MotionModule on Civitai"),
        (version(files=version()["files"][:1]), "Ink has no safetensors file on Civitai"),
        ({"error": "x"}, "Civitai gave an answer that is no description of a model"),
        ([1], "Civitai gave an answer that is no description of a model"),
    ):
        internet.answers[api] = answer(values)
        with pytest.raises(Refused, match=words):
            place.links.download("https://civitai.com/models/12?modelVersionId=678")
    wrong = version()
    wrong["files"][1]["hashes"]["SHA256"] = "1" * 64
    internet.answers[api] = answer(wrong)
    assert "its sha256 is another" in place.ended("https://civitai.com/models/12?modelVersionId=678").message
    wrong["files"][1]["downloadUrl"] = "http://civitai.com/api/download/models/678"
    with pytest.raises(InvalidRequest, match=r"^link: "):
        place.links.download("https://civitai.com/models/12?modelVersionId=678")
    place.queue.close()


def test_a_file_that_wants_a_key_says_where_to_put_it(tmp_path: Path, internet: Internet) -> None:
    place = civitai(tmp_path, internet)
    internet.answers["civitai.com/api/download/models/678"] = redirect("https://civitai.com/login?returnUrl=x")
    internet.answers["civitai.com/login"] = lambda request: httpx.Response(200, text="<html></html>")
    with pytest.raises(Refused, match=r"wants a key for this file.*environment variable CIVITAI_API_KEY\.$"):
        place.links.download("https://civitai.com/models/12")
    internet.answers["civitai.com/api/download/models/678"] = lambda request: httpx.Response(403)
    keyed = civitai(tmp_path, internet, CIVITAI_API_KEY="key")
    internet.answers["civitai.com/api/download/models/678"] = lambda request: httpx.Response(403)
    with pytest.raises(Refused, match="early access, or need its terms accepted"):
        keyed.links.download("https://civitai.com/models/12")


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1", "10.0.0.1", "192.168.1.1", "172.16.0.1", "169.254.169.254", "0.0.0.0", "100.64.0.1", "224.0.0.1",
     "::1", "fe80::1", "fe80::1%eth0", "fc00::1", "::ffff:127.0.0.1", "64:ff9b::a00:1", "2002:7f00:1::", "::", "x"],
)  # fmt: skip
def test_what_is_not_on_the_public_internet(address: str) -> None:
    assert not is_public(address)


def test_what_is() -> None:
    assert all(map(is_public, (PUBLIC, "1.1.1.1", "2606:4700::1111", "::ffff:1.1.1.1", "64:ff9b::101:101")))
