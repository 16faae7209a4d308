"""A checkpoint in bfloat16 on this CPU: what exact runs, branches, pictures and the list of models make of it."""

from __future__ import annotations

import pytest
import torch

from studio.checkpoints import cpu_precision
from studio.engine.engine import DiffusionEngine
from tests.engine.conftest import EngineFactory, OneThread, ask, finish, outcome, pixels
from tests.engine.test_branching import OWNER, branched, made


class FloatThirtyTwo(OneThread):
    """The same CPU, told to compute in float32."""

    def __init__(self, *_: str) -> None:
        super().__init__("cpu", "fp32")


@pytest.fixture
def engine(make_engine: EngineFactory, monkeypatch: pytest.MonkeyPatch) -> DiffusionEngine:
    """Every model counts as large; its U-Net and its text encoder are twice as fast in bfloat16, its VAE is not."""

    def timed(ratio: float) -> cpu_precision.Call:
        return lambda dtype: (1.0 if dtype == torch.float32 else 1 / ratio, True)

    monkeypatch.setattr(cpu_precision, "LEAST_PARAMETERS", 1)
    monkeypatch.setattr(
        cpu_precision, "measurable_calls", lambda _: {"unet": timed(2.0), "vae": timed(1.0), "text": timed(2.0)}
    )
    return make_engine(make_device=OneThread)


def computed_in(engine: DiffusionEngine) -> tuple[str, str]:
    model = next(one for one in engine.models.listing() if one.name == "tiny")
    return model.dtype, str(model.computed_in)


def test_an_exact_run_is_in_float32_and_the_next_in_bfloat16_again(
    engine: DiffusionEngine, make_engine: EngineFactory
) -> None:
    assert computed_in(engine) == ("", "")
    for exact, dtypes, words in (
        (False, ("bfloat16", "float32"), "bfloat16, 2.0 times as fast here as float32; the VAE in float32"),
        (True, ("float32", None), "float32, for a run that is exact"),
        (False, ("bfloat16", "float32"), "bfloat16, 2.0 times as fast here as float32; the VAE in float32"),
    ):
        finished = finish(engine, ask(exact=exact))
        info = finished.pictures[0].info
        assert (info["dtype"], info.get("vae_dtype")) == dtypes
        assert "text_dtype" not in info
        assert computed_in(engine) == (dtypes[0], words)
        if exact:
            picture = pixels(engine, finished)
    whole = make_engine(make_device=FloatThirtyTwo)
    assert (pixels(whole, finish(whole, ask(exact=True))) == picture).all()


def test_a_branch_has_the_precision_of_its_run(engine: DiffusionEngine) -> None:
    """A branch has calls of its own, as an exact run, but it goes on from what its run has computed."""
    for exact, dtype in ((False, "bfloat16"), (True, "float32")):
        finished = outcome(engine, branched(engine, made(engine, ask(exact=exact)), 2), OWNER)
        assert finished.pictures[0].info["dtype"] == dtype  # type: ignore[union-attr]
