"""The tunnel, against stand-ins of Gradio's service and client: each way it can fail is one sentence, and an end."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from gradio import networking, tunneling

from studio.ui import tunnel
from studio.ui.text import say
from studio.ui.tunnel import Tunnel, TunnelFailed, open_tunnel
from tests.share_stand_ins import LINK, black_hole, client, right, service, wait_for

Opened = Callable[[str, str], Tunnel]


@pytest.fixture
def opened(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Opened:
    """Opens a tunnel by a client of this kind, with the service at this address."""

    def act(kind: str, address: str) -> Tunnel:
        stand_in = client(tmp_path, kind)
        monkeypatch.setattr(networking, "GRADIO_API_SERVER", address)
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(stand_in.path))
        monkeypatch.setattr(tunneling, "BINARY_URL", "http://127.0.0.1:9/frpc")
        monkeypatch.setitem(tunneling.CHECKSUMS, "http://127.0.0.1:9/frpc", stand_in.sha256)
        return open_tunnel("127.0.0.1", 7860, "token", tmp_path)

    return act


def running(up: Tunnel) -> bool:
    process = up._client.proc
    assert process is not None
    return process.poll() is None


def test_a_tunnel_has_a_link_and_ends_when_it_is_closed(opened: Opened, tmp_path: Path) -> None:
    with service(right) as address:
        up = opened("works", address)
    assert up.link == LINK
    assert running(up)
    assert (tmp_path / "share-certificate.pem").read_text().startswith("-----BEGIN")
    assert not (Path.cwd() / ".gradio" / "certificate.pem").exists()
    up.close()
    wait_for(lambda: not running(up))
    assert not tunneling.CURRENT_TUNNELS


def test_the_output_of_the_client_is_read_to_its_end(opened: Opened, tmp_path: Path) -> None:
    """A client whose output nobody reads stops after 64 KiB of it, and the tunnel with it."""
    with service(right) as address:
        up = opened("chatty", address)
    assert up.link == LINK
    wait_for(lambda: (tmp_path / "wrote-all").exists())
    up.close()


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("dies", say("share.failed.ended", code=3)),
        ("silent", say("share.failed.no_link", seconds=1)),
        ("refused", say("share.failed.refused")),
    ],
)
def test_a_client_without_a_link_is_one_sentence(
    opened: Opened, monkeypatch: pytest.MonkeyPatch, kind: str, sentence: str
) -> None:
    monkeypatch.setattr(tunnel, "CLIENT_SECONDS", 1.0 if kind == "silent" else 60.0)
    begun = time.process_time()
    with service(right) as address, pytest.raises(TunnelFailed) as failed:
        opened(kind, address)
    assert str(failed.value) == sentence
    assert time.process_time() - begun < 5, "it waited without spinning"
    assert not tunneling.CURRENT_TUNNELS


def test_a_service_that_accepts_and_never_answers_is_one_sentence(
    opened: Opened, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tunnel, "SERVICE_SECONDS", 1.0)
    with black_hole() as address, pytest.raises(TunnelFailed) as failed:
        opened("works", address)
    assert str(failed.value) == say("share.failed.silent", seconds=1)


def test_without_a_network_it_is_one_sentence(opened: Opened) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with pytest.raises(TunnelFailed) as failed:
        opened("works", f"http://127.0.0.1:{port}/")
    assert str(failed.value) == say("share.failed.offline")


@pytest.mark.parametrize(
    ("status", "body", "cause"),
    [(503, b"", "HTTP 503"), *((200, body, "its answer cannot be read") for body in (b"", b"[]", b"{}", b"[1]"))],
)
def test_another_answer_of_the_service_is_one_sentence(opened: Opened, status: int, body: bytes, cause: str) -> None:
    with service(lambda: (status, body)) as address, pytest.raises(TunnelFailed) as failed:
        opened("works", address)
    assert str(failed.value) == say("share.failed.service", cause=cause)


def test_a_client_with_another_checksum_is_neither_run_nor_left(
    opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Gradio leaves it in place and runs it at the next start."""
    target = tmp_path / "frpc"
    with service(lambda: (200, b"#!/bin/sh\ntouch ran\n")) as source, service(right) as address:
        monkeypatch.setattr(networking, "GRADIO_API_SERVER", address)
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(target))
        monkeypatch.setattr(tunneling, "BINARY_URL", source)
        monkeypatch.setitem(tunneling.CHECKSUMS, source, "0" * 64)
        for _ in range(2):
            with pytest.raises(TunnelFailed) as failed:
                open_tunnel("127.0.0.1", 7860, "token", tmp_path)
            assert str(failed.value) == say("share.failed.checksum")
    assert not target.exists()


def test_a_downloaded_client_is_used_again(opened: Opened, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stand_in = client(tmp_path, "works")
    content, asked = stand_in.path.read_bytes(), []

    def download() -> tuple[int, bytes]:
        asked.append(1)
        return 200, content

    with service(download) as source, service(right) as address:
        monkeypatch.setattr(networking, "GRADIO_API_SERVER", address)
        monkeypatch.setattr(tunneling, "BINARY_PATH", str(tmp_path / "cache" / "frpc"))
        monkeypatch.setattr(tunneling, "BINARY_URL", source)
        monkeypatch.setitem(tunneling.CHECKSUMS, source, stand_in.sha256)
        for _ in range(2):
            open_tunnel("127.0.0.1", 7860, "token", tmp_path).close()
    assert asked == [1]
