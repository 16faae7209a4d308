"""Pickles in a queue: one at a time, told how far they are, listed when they have become safetensors."""

from __future__ import annotations

import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from studio.answered.engine import Refused
from studio.answered.models import Conversion
from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.conversions import Conversions, target_of
from studio.checkpoints.inspect import BadCheckpoint
from studio.engine.models import ModelService


def entries(folder: Path, *names: str) -> list[Entry]:
    (folder / "checkpoints").mkdir()
    for name in names:
        (folder / "checkpoints" / name).write_bytes(b"\x80\x02" + bytes(500))
    return list(Catalog([folder]).entries())


class Converting:
    """Stands for `convert`: waits at `gate`, then writes the file, or fails as it was told."""

    def __init__(self) -> None:
        self.gate, self.entered = threading.Event(), threading.Event()
        self.fails: dict[str, Exception] = {}
        self.stopped: list[str] = []

    def __call__(
        self, source: Path, target: Path, *, progress: Callable[[float | None], None], stop: threading.Event
    ) -> Path:
        progress(0.25)
        self.entered.set()
        while not self.gate.wait(0.01):
            if stop.is_set():
                self.stopped.append(source.name)
                raise BadCheckpoint("stopped")
        if source.name in self.fails:
            raise self.fails[source.name]
        target.write_bytes(b"new")
        return target


def ended(conversions: Conversions) -> dict[str, Conversion]:
    tick = threading.Event()
    for _ in range(3000):
        found = {c.name: c for c in conversions.newest_first()}
        if all(c.state in ("done", "failed") for c in found.values()):
            return found
        tick.wait(0.01)
    raise AssertionError("it did not end")


def test_one_at_a_time_with_its_progress(tmp_path: Path) -> None:
    one, two = entries(tmp_path, "one.ckpt", "two.ckpt")
    work, arrived = Converting(), []
    conversions = Conversions(on_arrival=lambda: arrived.append(True), convert=work)
    conversions.add(one)
    conversions.add(two)
    assert work.entered.wait(60)
    assert [(c.name, c.state, c.fraction) for c in conversions.newest_first()] == [
        ("two.ckpt", "waiting", None),
        ("one.ckpt", "running", 0.25),
    ]
    with pytest.raises(Refused, match=r"one\.ckpt is being converted already"):
        conversions.add(one)
    work.gate.set()
    found = ended(conversions)
    assert (found["one.ckpt"].state, found["one.ckpt"].message) == ("done", "one.safetensors lies beside it.")
    assert found["two.ckpt"].state == "done"
    assert arrived == [True, True]
    conversions.close()


@pytest.mark.parametrize(
    ("error", "said"),
    [(BadCheckpoint("it asks for os.system"), "it asks for os.system"), (OSError("inside"), "its log has the details")],
)
def test_why_one_was_refused_is_told_and_the_next_goes_on(tmp_path: Path, error: Exception, said: str) -> None:
    evil, good = entries(tmp_path, "evil.ckpt", "good.ckpt")
    work = Converting()
    work.gate.set()
    work.fails = {"evil.ckpt": error}
    conversions = Conversions(convert=work)
    conversions.add(evil)
    conversions.add(good)
    found = ended(conversions)
    assert (found["evil.ckpt"].state, found["good.ckpt"].state) == ("failed", "done")
    assert said in found["evil.ckpt"].message
    assert "inside the studio" in found["evil.ckpt"].message or isinstance(error, BadCheckpoint)
    work.fails.clear()
    conversions.add(evil)  # once more, after it was put right
    assert ended(conversions)["evil.ckpt"].state == "done"
    conversions.close()


def test_closing_ends_the_one_that_runs(tmp_path: Path) -> None:
    [one] = entries(tmp_path, "one.ckpt")
    work = Converting()
    conversions = Conversions(convert=work)
    conversions.add(one)
    assert work.entered.wait(60)
    conversions.close()
    assert ended(conversions)["one.ckpt"].state == "failed"
    assert work.stopped == ["one.ckpt"]


@pytest.mark.parametrize(
    ("name", "target"),
    [
        ("a.ckpt", "a.safetensors"),
        ("a.b.pt", "a.b.safetensors"),
        ("a.safetensors", "a-converted.safetensors"),
        ("a.SafeTensors", "a-converted.safetensors"),
    ],
)
def test_the_new_file_lies_beside_the_old_one_and_replaces_nothing(name: str, target: str) -> None:
    assert target_of(Path("models") / name) == Path("models") / target


def test_the_list_offers_it_for_pickles_that_have_not_been_converted(tmp_path: Path) -> None:
    entries(tmp_path, "old.ckpt", "done.ckpt")
    (tmp_path / "checkpoints" / "done.safetensors").write_bytes(b"not empty")
    service = ModelService([tmp_path])
    found: dict[Any, bool] = {(m.name, m.facts.form): m.convertible for m in service.listing()}
    assert found == {
        ("old", "pickle"): True,
        ("done.ckpt", "pickle"): False,
        ("done.safetensors", "single_file"): False,
    }
    other = next(m for m in service.listing() if m.facts.form == "single_file")
    with pytest.raises(Refused, match="Only a pickle"):
        service.convert(other.id)
    service.close()
