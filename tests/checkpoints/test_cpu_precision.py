"""bfloat16 on a CPU is taken where it is clearly faster and finite, remembered, and not given up for a small change."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from studio.checkpoints import cpu_precision
from studio.checkpoints.cpu_precision import CpuPrecisions, computed_in, dtypes_of, measurable_calls, suits_exact
from studio.checkpoints.memo import Memo
from studio.diffusion.vae import posterior
from studio.engine.device import Device
from tests.tiny import tiny_components


def call(ratio: float, finite: bool = True, calls: list[torch.dtype] | None = None) -> cpu_precision.Call:
    """A part that is `ratio` times as fast in bfloat16."""

    def timed(dtype: torch.dtype) -> tuple[float, bool]:
        if calls is not None:
            calls.append(dtype)
        return (1.0, True) if dtype == torch.float32 else (1 / ratio, finite)

    return timed


@pytest.mark.parametrize(("ratio", "finite", "taken"), [(1.31, True, 1.31), (1.29, True, None), (3.0, False, None)])
def test_what_is_clearly_faster_and_finite_is_taken(ratio: float, finite: bool, taken: float | None) -> None:
    assert CpuPrecisions(Memo(None)).choose("sd1", {"unet": call(ratio, finite)}) == {"unet": taken}


def test_the_parts_are_judged_apart() -> None:
    chosen = CpuPrecisions(Memo(None)).choose("sd1", {"unet": call(2.0), "vae": call(0.5), "text": call(1.5)})
    assert chosen == {"unet": 2.0, "vae": None, "text": 1.5}


def test_it_is_measured_once_for_a_family(tmp_path: Path) -> None:
    calls: list[torch.dtype] = []
    for _ in range(2):
        precisions = CpuPrecisions(Memo(tmp_path / "precision.json"))
        assert precisions.choose("sd1", {"unet": call(2.0, calls=calls)}) == {"unet": 2.0}
    assert len(calls) == 2
    precisions.choose("sdxl", {"unet": call(2.0, calls=calls)})
    assert len(calls) == 4


@pytest.mark.parametrize(
    ("first", "second", "taken"), [(1.4, 1.2, 1.2), (1.4, 1.05, None), (1.2, 1.25, None), (1.2, 1.4, 1.4)]
)
def test_another_pytorch_is_measured_anew_and_changes_only_what_is_clear(
    first: float, second: float, taken: float | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    precisions = CpuPrecisions(Memo(None))
    precisions.choose("sd1", {"unet": call(first)})
    monkeypatch.setattr(torch, "__version__", "99.0")
    assert precisions.choose("sd1", {"unet": call(second)}) == {"unet": taken}


@pytest.mark.parametrize(("ratio", "count"), [(0.5, 2), (1.2, 4), (1.5, 4), (2.0, 2)])
def test_what_one_call_leaves_open_is_measured_again(ratio: float, count: int) -> None:
    calls: list[torch.dtype] = []
    CpuPrecisions(Memo(None)).choose("sd1", {"unet": call(ratio, calls=calls)})
    assert len(calls) == count


def test_a_part_that_cannot_be_called_stays_in_float32() -> None:
    def fails(dtype: torch.dtype) -> tuple[float, bool]:
        raise RuntimeError("not implemented for 'BFloat16'")

    assert CpuPrecisions(Memo(None)).choose("sd1", {"unet": fails}) == {"unet": None}


def test_a_damaged_file_is_measured_anew() -> None:
    memo = Memo(None)
    memo.update({f"{cpu_precision.cpu_kind()} sd1": "fast"})
    assert CpuPrecisions(memo).choose("sd1", {"unet": call(2.0)}) == {"unet": 2.0}


def test_a_small_model_stays_in_float32_and_is_not_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_precision, "measurable_calls", lambda components: pytest.fail("measured"))
    components = tiny_components()
    CpuPrecisions(Memo(None)).apply(components, Device("cpu"))
    assert components.dtype == next(components.unet.parameters()).dtype == torch.float32


@pytest.fixture
def large(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Every model counts as large, and its parts are so many times as fast."""

    def measured(**ratios: float) -> None:
        monkeypatch.setattr(cpu_precision, "LEAST_PARAMETERS", 1)
        monkeypatch.setattr(
            cpu_precision, "measurable_calls", lambda _: {part: call(ratio) for part, ratio in ratios.items()}
        )

    return measured


def test_the_parts_get_the_precision_that_suits_them(large: Callable[..., None]) -> None:
    large(unet=2.0, vae=0.5, text=2.0)
    components = tiny_components()
    CpuPrecisions(Memo(None)).apply(components, Device("cpu"))
    assert components.dtype == next(components.unet.parameters()).dtype == torch.bfloat16
    assert components.vae_dtype == next(components.vae.parameters()).dtype == torch.float32
    assert next(components.text_encoders[0].module.parameters()).dtype == torch.bfloat16
    assert "2.0 times as fast" in components.notes[-1]


def test_for_an_exact_run_every_part_stays_and_it_is_said(large: Callable[..., None]) -> None:
    large(unet=2.0, vae=2.0, text=2.0)
    components = tiny_components()
    CpuPrecisions(Memo(None)).apply(components, Device("cpu"), exact=True)
    assert set(dtypes_of(components).values()) == {"float32"}
    assert "because the run is exact" in components.notes[-1]
    assert suits_exact(components, True)
    assert not suits_exact(components, False)


@pytest.mark.parametrize(
    ("gains", "words"),
    [
        ({"unet": 2.0, "vae": 2.0, "text": 2.0}, "bfloat16, 2.0 times as fast here as float32"),
        (
            {"unet": 2.0, "vae": 2.0, "text": 1.0},
            "bfloat16, 2.0 times as fast here as float32; the text encoders in float32",
        ),
        ({"unet": 1.0, "vae": 2.0, "text": 2.0}, "float32"),
    ],
)
def test_the_precision_is_told_in_words(large: Callable[..., None], gains: dict[str, float], words: str) -> None:
    large(**gains)
    components = tiny_components()
    CpuPrecisions(Memo(None)).apply(components, Device("cpu"))
    assert computed_in(components) == words
    assert suits_exact(components, False)


def test_without_a_faster_u_net_everything_stays(large: Callable[..., None]) -> None:
    large(unet=1.0, vae=2.0, text=2.0)
    components = tiny_components()
    CpuPrecisions(Memo(None)).apply(components, Device("cpu"))
    assert {components.dtype, next(components.vae.parameters()).dtype} == {torch.float32}
    assert components.notes == tiny_components().notes


def test_every_part_is_called_in_both_and_stays_as_it_was() -> None:
    components = tiny_components()
    before = {name: value.clone() for name, value in components.unet.state_dict().items()}
    for timed in measurable_calls(components).values():
        for dtype in (torch.float32, torch.bfloat16):
            seconds, finite = timed(dtype)
            assert seconds > 0
            assert finite
    assert all(torch.equal(value, before[name]) for name, value in components.unet.state_dict().items())


def test_a_picture_is_read_in_the_precision_of_the_vae() -> None:
    """A U-Net in half precision beside a VAE in float32: the picture given to the VAE is in the VAE's."""
    components = tiny_components()
    components.dtype, components.vae_dtype = torch.bfloat16, torch.float32
    mean, _ = posterior(components, torch.zeros(1, 3, 64, 64))
    assert mean.dtype == torch.float32


@pytest.mark.parametrize("dtype", ["fp32", "bf16"])
def test_a_precision_that_was_asked_for_stays(dtype: str, large: Callable[..., None]) -> None:
    large(unet=9.0, vae=9.0, text=9.0)
    components = tiny_components()
    CpuPrecisions(Memo(None)).apply(components, Device("cpu", dtype))
    assert components.dtype == torch.float32
    assert Device("cpu").measures_precision
