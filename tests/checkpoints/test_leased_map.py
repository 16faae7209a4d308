"""A model file stays where it is while it is used: nobody can pull it away, and where that cannot be had it is read."""

from __future__ import annotations

import gc
import json
import mmap
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import save_file

from studio.checkpoints import leased_map
from studio.checkpoints.inspect import BadCheckpoint, read_header
from studio.checkpoints.leased_map import LeasedMap, map_under_lease
from studio.checkpoints.reader import WeightsFile

ROOT = Path(__file__).parents[2]
CPU = torch.device("cpu")
SECONDS = 20.0  # a writer waits a tenth of a second, and then for the copy; the kernel would let it wait 45


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(leased_map, "MIN_BYTES", 0)
    path = tmp_path / "model.safetensors"
    generator = torch.Generator().manual_seed(0)
    tensors = {"a": torch.randn(300, 70, generator=generator), "b": torch.randn(5, 3, generator=generator).half()}
    save_file(tensors, path)
    return path


@pytest.fixture
def mapped(file: Path) -> LeasedMap:
    found = map_under_lease(file)
    if found is None:
        pytest.skip("no leases on this system or file system")
    return found


def read(path: Path, name: str, held: LeasedMap | None, dtype: torch.dtype | None = None) -> torch.Tensor:
    with WeightsFile(path, held) as weights:
        return weights.read(read_header(path)[name], device=CPU, dtype=dtype)


def is_open(file: Path) -> bool:
    """Whether this process has it open; each mapping has two descriptors."""
    return str(file) in [os.readlink(one) for one in Path("/proc/self/fd").glob("*") if one.is_symlink()]


def wait_for(done: Callable[[], bool]) -> None:
    tick = threading.Event()
    for _ in range(1000):
        if done():
            return
        tick.wait(0.02)
    raise AssertionError("it did not come to be")


# --------------------------------------------------------------------------------- what other programs do to the file


@pytest.fixture(scope="module")
def deeds(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """What tests.checkpoints.pulled_away saw, in a process that a broken promise would end with SIGBUS."""
    if sys.platform != "linux":
        pytest.skip("leases are Linux's")
    child = subprocess.run(
        [sys.executable, "-m", "tests.checkpoints.pulled_away", str(tmp_path_factory.mktemp("pulled"))],
        cwd=ROOT, capture_output=True, text=True, timeout=600,
    )  # fmt: skip
    assert child.returncode == 0, f"ended by {child.returncode}: {child.stderr[-2000:]}"
    told: dict[str, Any] = json.loads(child.stdout.splitlines()[-1])
    if told.get("refused"):
        pytest.skip("no leases on this file system")
    return told


@pytest.mark.parametrize("deed", ["truncated", "opened anew", "overwritten", "replaced", "two of one file"])
def test_a_file_that_is_changed_in_use_changes_nothing(deeds: dict[str, Any], deed: str) -> None:
    seen = deeds[deed]
    assert seen["held"] == (6 if deed == "two of one file" else 3), "U-Net, VAE and text encoder lie in the file"
    assert seen["equal"], "every weight as it was, also those that had been written to"
    assert seen["same_place"]
    assert seen["wrong_answers"] == 0, "U-Net calls that ran meanwhile answer bit for bit as before"
    assert seen["seconds"] < SECONDS, "the writer is not kept waiting"
    assert seen["after"] == (3 if deed == "replaced" else 0), "a renamed file needs no copy: the old one lives on"
    assert seen["at_the_end"] == 0


# ------------------------------------------------------------------------------------------------ in this process


def test_what_is_stored_as_wanted_stays_in_the_file(file: Path, mapped: LeasedMap) -> None:
    address, size = mapped._lease.address, file.stat().st_size
    for name in ("a", "b"):
        tensor = read(file, name, mapped)
        assert address <= tensor.data_ptr() < address + size
        assert torch.equal(tensor, read(file, name, None))
    converted = read(file, "b", mapped, torch.float32)
    assert not address <= converted.data_ptr() < address + size
    assert torch.equal(converted, read(file, "b", None, torch.float32))


def test_the_lease_goes_with_the_last_tensor(file: Path) -> None:
    mapped = map_under_lease(file)
    if mapped is None:
        pytest.skip("no leases on this system or file system")
    tensor: torch.Tensor | None = read(file, "a", mapped)
    view = tensor[3:5]  # type: ignore[index]
    del mapped, tensor
    gc.collect()
    tick = threading.Event()
    tick.wait(3 * leased_map.POLL_SECONDS)
    assert is_open(file), "a view is enough to keep it"
    assert bool(view.isfinite().all())
    del view
    wait_for(lambda: not is_open(file))
    file.write_bytes(b"x")  # nobody has to be asked
    assert file.read_bytes() == b"x"


def test_writes_to_the_weights_never_reach_the_file(file: Path, mapped: LeasedMap) -> None:
    before = file.read_bytes()
    tensor = read(file, "a", mapped)
    tensor.zero_()
    assert file.read_bytes() == before
    assert not torch.equal(tensor, read(file, "a", None))


def test_after_somebody_wrote_the_rest_is_read_and_found_short(file: Path, mapped: LeasedMap) -> None:
    entries = read_header(file)
    first = read(file, "a", mapped)
    expected = first.clone()
    os.truncate(file, 100)
    assert torch.equal(first, expected)
    assert mapped.tensor(entries["b"].offset, entries["b"].shape, torch.float16) is None
    with WeightsFile(file, mapped) as weights, pytest.raises(BadCheckpoint, match="became shorter while it was read"):
        weights.read(entries["b"], device=CPU)


@pytest.mark.parametrize("why", ["refused", "being written", "small", "no time", "another file system", "not Linux"])
def test_where_there_is_no_lease_the_file_is_read(file: Path, why: str, monkeypatch: pytest.MonkeyPatch) -> None:
    writer = None
    if why == "refused":

        def refuse(fd: int, command: int, argument: int = 0) -> int:
            raise OSError(11, "Resource temporarily unavailable")

        monkeypatch.setattr(leased_map, "fcntl", type("fcntl", (), {"fcntl": refuse, "F_SETSIG": 10, "F_SETLEASE": 1024,
                                                                     "F_RDLCK": 0}), raising=False)  # fmt: skip
    elif why == "being written":
        writer = file.open("r+b")
    elif why == "small":
        monkeypatch.setattr(leased_map, "MIN_BYTES", file.stat().st_size + 1)
    elif why == "no time":
        monkeypatch.setattr(leased_map, "MIN_BREAK_SECONDS", 10**6)
    elif why == "another file system":
        monkeypatch.setattr(leased_map, "FILE_SYSTEMS", frozenset({0x6969}))  # NFS
    else:
        monkeypatch.setattr(sys, "platform", "darwin")
    assert map_under_lease(file) is None
    assert read(file, "a", None).shape == (300, 70)
    if writer is not None:
        writer.close()
    assert not is_open(file)


def test_what_is_not_aligned_or_past_the_end_is_not_mapped(file: Path, mapped: LeasedMap) -> None:
    size = file.stat().st_size
    assert mapped.tensor(size - 64, (16,), torch.float32) is None or (size - 64) % 4 == 0
    assert mapped.tensor(1001, (4,), torch.float32) is None
    assert mapped.tensor(size - size % 4, (4,), torch.float32) is None
    assert mapped.tensor(0, (0, 3), torch.float32) is None


def test_weights_at_odd_places_are_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The format does not promise alignment: a header of any length is allowed."""
    monkeypatch.setattr(leased_map, "MIN_BYTES", 0)
    values = torch.arange(12, dtype=torch.float32)
    header = json.dumps({"a": {"dtype": "F32", "shape": [12], "data_offsets": [0, 48]}}).encode()
    header += b" " * ((1 - len(header)) % 4)  # so that the weights begin at an odd place
    path = tmp_path / "odd.safetensors"
    path.write_bytes(len(header).to_bytes(8, "little") + header + values.numpy().tobytes())
    assert read_header(path)["a"].offset % 4 == 1
    assert torch.equal(read(path, "a", map_under_lease(path)), values)


def test_a_disk_that_cannot_be_read_is_an_error_and_not_the_end(
    file: Path, mapped: LeasedMap, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Failing:
        def madvise(self, address: int, size: int, advice: int) -> int:
            leased_map.ctypes.set_errno(14)
            return -1

    monkeypatch.setattr(leased_map, "_libc", Failing)
    with pytest.raises(BadCheckpoint, match=r"model\.safetensors cannot be read: Input/output error"):
        read(file, "a", mapped)


def test_spans_become_whole_pages_once() -> None:
    page = mmap.PAGESIZE
    spans = [(10, 20), (page - 5, page + 5), (5 * page, 6 * page), (6 * page, 6 * page + 1), (30, 40)]
    assert leased_map._pages(spans) == [(0, 2 * page), (5 * page, 7 * page)]
