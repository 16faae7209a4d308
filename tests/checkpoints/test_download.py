"""From the hub to the models folder whole or not at all, whatever happens on the way."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from studio.answered.engine import Refused
from studio.answered.models import Download, HubFile, NoSuchModel
from studio.asked.problems import InvalidRequest
from studio.checkpoints.catalog import Catalog
from studio.checkpoints.download import Hub
from studio.checkpoints.repository import mark_suggestions
from tests.checkpoints.hub_server import HubServer

WEIGHTS = bytes(range(256)) * 12_000  # 3 MB: three blocks
FOLDER = {
    "model_index.json": b"{}",
    "unet/config.json": b"{}",
    "unet/diffusion_pytorch_model.safetensors": b"u" * 5000,
    "vae/config.json": b"{}",
    "vae/diffusion_pytorch_model.safetensors": b"v" * 3000,
}


@pytest.fixture
def server() -> Iterator[HubServer]:
    made = HubServer({"model.safetensors": WEIGHTS, "other.safetensors": b"x" * 100, "evil.py": b"1", "w.bin": b"2"})
    yield made
    made.close()


@pytest.fixture
def waits() -> list[float]:
    return []


@pytest.fixture
def hub(server: HubServer, tmp_path: Path, waits: list[float], monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    monkeypatch.delenv("HF_TOKEN", raising=False)
    (tmp_path / "models").mkdir()
    made = Hub(tmp_path / "models", endpoint=server.url, wait=lambda event, seconds: waits.append(seconds))
    yield made
    made.close()


def ended(hub: Hub, download_id: str) -> Download:
    assert hub.queue.job(download_id).end.wait(60)
    return next(d for d in hub.downloads() if d.id == download_id)


def listed(tmp_path: Path) -> list[str]:
    """Every file that a listing could find."""
    models = tmp_path / "models"
    return [e.name for e in Catalog([models]).entries()] + [
        f.name for f in models.rglob("*.part") if not f.relative_to(models).parts[0].startswith(".")
    ]


def test_a_repository_tells_what_may_be_fetched(hub: Hub) -> None:
    files = hub.repository("owner/model")
    assert [f.path for f in files] == ["model.safetensors", "other.safetensors"]
    assert files[0].size == len(WEIGHTS)
    assert hub.repository("https://huggingface.co/owner/model/tree/main") == files


def test_a_file_arrives_whole_and_under_its_name(hub: Hub, tmp_path: Path, server: HubServer) -> None:
    arrived = hub.fetch("owner/model", ("model.safetensors",), kind="lora")
    assert arrived == tmp_path / "models" / "loras" / "model.safetensors"
    assert arrived.read_bytes() == WEIGHTS
    [download] = hub.downloads()
    assert (download.state, download.done_bytes, download.total_bytes) == ("done", len(WEIGHTS), len(WEIGHTS))
    assert server.ranges == [""]
    [entry] = Catalog([tmp_path / "models"]).entries()
    assert hub.place.origin(entry.file.key, entry.file.size) == "owner/model"
    assert hub.place.origin(entry.file.key, entry.file.size + 1) == "", "another file under its name"
    again = Hub(tmp_path / "models", endpoint=server.url)
    assert again.place.origin(entry.file.key, entry.file.size) == "owner/model", "remembered"
    with pytest.raises(Refused, match="lies in the models folder already"):
        hub.download("owner/model", ("model.safetensors",), kind="lora")


def test_a_diffusers_folder_arrives_at_once(tmp_path: Path, waits: list[float]) -> None:
    server = HubServer(FOLDER)
    hub = Hub(tmp_path, endpoint=server.url)
    try:
        arrived = hub.fetch("owner/model", tuple(FOLDER))
    finally:
        server.close()
        hub.close()
    assert arrived == tmp_path / "checkpoints" / "model"
    [entry] = [e for e in Catalog([tmp_path]).entries() if e.file.is_folder]
    assert hub.place.origin(entry.file.key, entry.file.size) == "owner/model"
    assert {f.relative_to(arrived).as_posix(): f.read_bytes() for f in arrived.rglob("*") if f.is_file()} == FOLDER


def test_a_dropped_connection_is_resumed_where_it_broke(hub: Hub, server: HubServer, waits: list[float]) -> None:
    server.drop_after = [2**20, 2**20]
    arrived = hub.fetch("owner/model", ("model.safetensors",))
    assert arrived.read_bytes() == WEIGHTS
    assert server.ranges == ["", f"bytes={2**20}-", f"bytes={2**21}-"]
    assert len(waits) == 2


def test_a_hub_that_knows_no_ranges_sends_it_all_again(hub: Hub, server: HubServer) -> None:
    server.drop_after, server.ignores_ranges = [2**20], True
    assert hub.fetch("owner/model", ("model.safetensors",)).read_bytes() == WEIGHTS
    assert hub.downloads()[0].done_bytes == len(WEIGHTS)


def test_a_hub_that_sends_nothing_is_given_up_and_what_came_is_kept(
    hub: Hub, server: HubServer, tmp_path: Path
) -> None:
    server.drop_after = [2**20] + [0] * 6
    with pytest.raises(Refused, match=r"does not answer any more\. What has come is kept"):
        hub.fetch("owner/model", ("model.safetensors",))
    assert listed(tmp_path) == []
    server.drop_after = []
    assert hub.fetch("owner/model", ("model.safetensors",)).read_bytes() == WEIGHTS
    assert server.ranges[-1] == f"bytes={2**20}-"


def test_a_hub_that_falls_silent_is_left_and_asked_again(server: HubServer, tmp_path: Path) -> None:
    server.hold.clear()
    server.hold_at = 2**21
    said: list[str] = []

    def woken(stop: threading.Event, seconds: float) -> None:
        said.append(hub.downloads()[0].message)
        server.hold.set()  # the next connection is a good one

    hub = Hub(tmp_path, endpoint=server.url, wait=woken, stall_seconds=0.5)
    try:
        assert hub.fetch("owner/model", ("model.safetensors",)).read_bytes() == WEIGHTS
    finally:
        hub.close()
    assert server.ranges[:2] == ["", f"bytes={2**21}-"]
    assert said[0].startswith("The connection broke; going on in")


def test_a_busy_hub_is_asked_again_when_it_says(hub: Hub, server: HubServer, waits: list[float]) -> None:
    server.statuses = [429, 503]
    assert hub.fetch("owner/model", ("model.safetensors",)).read_bytes() == WEIGHTS
    assert waits == [7.0, 2.0]


def test_what_is_not_what_the_hub_said_is_thrown_away(hub: Hub, server: HubServer, tmp_path: Path) -> None:
    server.hashes["model.safetensors"] = "0" * 64
    with pytest.raises(Refused, match="is not what was announced"):
        hub.fetch("owner/model", ("model.safetensors",))
    assert listed(tmp_path) == []
    assert not list((tmp_path / "models").rglob("*.part"))
    server.hashes["model.safetensors"] = HubServer({"a": WEIGHTS}).hashes["a"]
    assert hub.fetch("owner/model", ("model.safetensors",)).read_bytes() == WEIGHTS


def test_a_gated_repository_wants_a_token(hub: Hub, server: HubServer, caplog: pytest.LogCaptureFixture) -> None:
    server.token = "hf_secret"
    with pytest.raises(Refused, match=r"gated, private or not there\. Accept its terms on the hub and give a token"):
        hub.repository("owner/model")
    assert hub.fetch("owner/model", ("model.safetensors",), token="hf_secret").read_bytes() == WEIGHTS
    assert "hf_secret" not in caplog.text + repr(hub.queue._jobs)


def test_access_that_ends_on_the_way_is_told(hub: Hub, server: HubServer) -> None:
    server.statuses = [403]
    with pytest.raises(Refused, match=r"model.safetensors of owner/model is gated"):
        hub.fetch("owner/model", ("model.safetensors",))


def test_what_is_not_there_is_told(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(Refused, match="owner/nothing is not on the hub"):
        hub.repository("owner/nothing")
    with pytest.raises(InvalidRequest, match=r"files: .absent\.safetensors. is not allowed"):
        hub.download("owner/model", ("absent.safetensors",))
    with pytest.raises(Refused, match="cannot be reached"):
        Hub(tmp_path, endpoint="http://127.0.0.1:9").repository("owner/model")


@pytest.mark.parametrize("name", ["", "../x", "owner/../x", "a/b/c/d", "owner/mo del", "owner\\model", "/etc", None, 5])
def test_a_name_that_is_none_is_refused(hub: Hub, name: object) -> None:
    with pytest.raises(InvalidRequest, match=r"^repository: "):
        hub.repository(name)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    "path", ["../evil.safetensors", "/evil.safetensors", "a\\b.safetensors", "..", ".x.safetensors"]
)
def test_a_file_that_leads_elsewhere_is_not_offered(tmp_path: Path, path: str) -> None:
    server = HubServer({path: b"x", "good.safetensors": b"y"})
    try:
        assert [f.path for f in Hub(tmp_path, endpoint=server.url).repository("owner/model")] == ["good.safetensors"]
    finally:
        server.close()


def test_a_disk_that_is_too_small_is_told_before_the_first_byte(server: HubServer, tmp_path: Path) -> None:
    hub = Hub(tmp_path, endpoint=server.url, free_bytes=lambda folder: 2**20)
    with pytest.raises(Refused, match=r"The disk is too small: 0\.0 GB are still to come"):
        hub.fetch("owner/model", ("model.safetensors",))
    hub.close()
    assert server.ranges == []


def test_a_cancelled_download_is_kept_for_later_and_never_listed(hub: Hub, server: HubServer, tmp_path: Path) -> None:
    server.hold.clear()
    server.hold_at = 2**21
    download = hub.download("owner/model", ("model.safetensors",))
    with pytest.raises(Refused, match="on their way already"):
        hub.download("owner/model", ("model.safetensors",))
    waiting = hub.download("owner/model", ("other.safetensors",))
    assert server.held.wait(60)
    hub.cancel(waiting)
    assert ended(hub, waiting).state == "cancelled"
    assert listed(tmp_path) == []
    hub.cancel(download)
    server.hold.set()
    assert ended(hub, download).state == "cancelled"
    assert listed(tmp_path) == []
    assert not (tmp_path / "models" / "checkpoints").exists()
    assert hub.fetch("owner/model", ("model.safetensors",)).read_bytes() == WEIGHTS
    with pytest.raises(NoSuchModel):
        hub.cancel("nothing")


def test_progress_rises_to_the_end(hub: Hub, server: HubServer) -> None:
    server.hold.clear()
    server.hold_at = 2**20 + 5
    download = hub.download("owner/model", ("model.safetensors",))
    assert server.held.wait(60)
    tick = threading.Event()
    while hub.downloads()[0].done_bytes < 2**20:
        tick.wait(0.01)
    assert hub.downloads()[0].state == "running"
    server.hold.set()
    assert ended(hub, download).done_bytes == len(WEIGHTS)


def test_one_variant_of_a_folder_is_suggested() -> None:
    names = [
        "model_index.json", "README.txt", "unet/config.json", "unet/diffusion_pytorch_model.safetensors",
        "unet/diffusion_pytorch_model.fp16.safetensors", "unet/diffusion_pytorch_model.non_ema.safetensors",
        "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "safety_checker/model.safetensors",
        "safety_checker/config.json", "tokenizer/merges.txt", "v1-5-pruned.safetensors",
    ]  # fmt: skip
    chosen = {f.path for f in mark_suggestions([HubFile(path=name, size=1) for name in names]) if f.suggested}
    assert chosen == {
        "model_index.json", "README.txt", "unet/config.json", "unet/diffusion_pytorch_model.fp16.safetensors",
        "vae/config.json", "vae/diffusion_pytorch_model.safetensors", "tokenizer/merges.txt",
    }  # fmt: skip
    assert [f.suggested for f in mark_suggestions([HubFile(path="only.safetensors", size=1)])] == [True]
