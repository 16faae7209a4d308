"""A VAE's fast preview: fitted between jobs, found again by its hash, better with what was decoded."""

from __future__ import annotations

import copy
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from studio.checkpoints.catalog import Catalog, Entry
from studio.checkpoints.preview_fits import FOLDER, PreviewFits, hashing
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.preview import FastFit, decode_fast
from studio.engine import preview_fitter
from studio.engine.device import Device
from studio.engine.preview_fitter import PreviewFitter
from tests.engine.conftest import EngineFactory, OneThread, ask, finish
from tests.fake_device import FakeDevice
from tests.tiny import save_tiny_checkpoint, tiny_components, tiny_vae


@pytest.fixture(scope="module")
def entries(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Entry]:
    folder = tmp_path_factory.mktemp("models")
    for name in ("one", "two"):
        save_tiny_checkpoint(folder / "checkpoints" / name)
    return dict(Catalog([folder]).checkpoints())


@pytest.fixture
def components() -> Components:
    return tiny_components()


class Decodings:
    """Counts what the VAE decodes."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.count = 0
        real = vae.decode

        def counting(*given: Any) -> torch.Tensor:
            self.count += 1
            return real(*given)

        monkeypatch.setattr(vae, "decode", counting)


@pytest.fixture
def decodings(monkeypatch: pytest.MonkeyPatch) -> Decodings:
    monkeypatch.setattr(preview_fitter, "SIDE", 64)
    return Decodings(monkeypatch)


def to_the_end(fitter: PreviewFitter) -> int:
    slices = 0
    while fitter.idle():
        slices += 1
    return slices


def pictures(components: Components, seed: int, count: int = 3) -> tuple[torch.Tensor, torch.Tensor]:
    latents = torch.randn(count, 4, 8, 8, generator=torch.Generator().manual_seed(seed))
    return latents, vae.decode(components, latents)


def test_on_a_cpu_it_is_fitted_in_idle_time_a_decoding_at_a_time(
    components: Components, entries: dict[str, Entry], tmp_path: Path, decodings: Decodings
) -> None:
    fitter = PreviewFitter(PreviewFits(tmp_path), OneThread())
    fitter.begin(components, entries["one"])
    assert (components.fast_preview, decodings.count) == (None, 0)
    most = 0
    while components.fast_preview is None:
        before = decodings.count
        assert fitter.idle()
        most = max(most, decodings.count - before)
    assert (decodings.count, most) == (preview_fitter.PICTURES_ON_CPU, 1)
    assert components.fast_preview[0].shape == (192, 4, 3, 3)
    to_the_end(fitter)
    assert not fitter.idle()
    drawn = vae.synthetic_pictures(2, 64)
    encoded = vae.encode(components, drawn)
    wanted = vae.decode(components, encoded).clamp(-1, 1)
    error = (decode_fast(encoded, *components.fast_preview) - wanted).square().mean()
    assert float(error) < float((wanted.mean(dim=(0, 2, 3), keepdim=True) - wanted).square().mean())


def test_on_a_gpu_it_is_there_at_once(
    components: Components, entries: dict[str, Entry], tmp_path: Path, decodings: Decodings
) -> None:
    PreviewFitter(PreviewFits(tmp_path), FakeDevice()).begin(components, entries["one"])
    assert decodings.count == preview_fitter.PICTURES
    assert components.fast_preview is not None


def test_the_same_vae_in_another_file_or_after_a_restart_is_not_fitted_again(
    components: Components, entries: dict[str, Entry], tmp_path: Path, decodings: Decodings
) -> None:
    fitter = PreviewFitter(PreviewFits(tmp_path), OneThread())
    fitter.begin(components, entries["one"])
    to_the_end(fitter)
    known = components.fast_preview
    assert known is not None
    decodings.count = 0
    again = tiny_components()
    restarted = PreviewFitter(PreviewFits(tmp_path), OneThread())
    restarted.begin(again, entries["one"])
    assert again.fast_preview is not None, "this very file was hashed before, so nothing is to be waited for"
    assert torch.equal(again.fast_preview[0], known[0])
    other = tiny_components()
    restarted.begin(other, entries["two"])
    assert other.fast_preview is None, "another file, so its VAE is hashed first"
    to_the_end(restarted)
    assert other.fast_preview is not None
    assert torch.equal(other.fast_preview[0], known[0])
    assert decodings.count == 0
    assert len(list((tmp_path / FOLDER).iterdir())) == 1


def test_another_vae_in_the_same_place_is_another(
    components: Components, entries: dict[str, Entry], tmp_path: Path
) -> None:
    last = [list(hashing(v))[-1] for v in (components.vae, tiny_vae(), tiny_vae(seed=9))]
    assert last[0] == last[1] != last[2]
    halved = list(hashing(copy.deepcopy(components.vae).half()))[-1]
    assert halved != last[0]


@pytest.mark.parametrize("content", [b"", b"junk", None])
def test_a_damaged_cache_is_fitted_anew(
    components: Components, entries: dict[str, Entry], tmp_path: Path, decodings: Decodings, content: bytes | None
) -> None:
    fitter = PreviewFitter(PreviewFits(tmp_path), OneThread())
    fitter.begin(components, entries["one"])
    to_the_end(fitter)
    [file] = (tmp_path / FOLDER).iterdir()
    if content is None:  # of another shape: another program's, or a VAE of other widths
        PreviewFits(tmp_path).put(file.stem, FastFit.empty(4, 4))
    else:
        file.write_bytes(content)
    decodings.count = 0
    again = tiny_components()
    fitter = PreviewFitter(PreviewFits(tmp_path), OneThread())
    fitter.begin(again, entries["one"])
    to_the_end(fitter)
    assert again.fast_preview is not None
    assert decodings.count == preview_fitter.PICTURES_ON_CPU
    assert PreviewFits(tmp_path).get(file.stem, like=FastFit.empty(4, 8)) is not None


def test_a_folder_that_nobody_may_write_to_costs_only_the_memory(
    components: Components, entries: dict[str, Entry], tmp_path: Path, decodings: Decodings
) -> None:
    (tmp_path / FOLDER).write_text("a file where the folder should be")
    fits = PreviewFits(tmp_path)
    fitter = PreviewFitter(fits, OneThread())
    fitter.begin(components, entries["one"])
    to_the_end(fitter)
    again = tiny_components()
    fitter.begin(again, entries["one"])
    assert again.fast_preview is not None
    assert decodings.count == preview_fitter.PICTURES_ON_CPU


def test_what_is_decoded_later_makes_it_better_and_is_kept(
    components: Components, entries: dict[str, Entry], tmp_path: Path, decodings: Decodings
) -> None:
    fitter = PreviewFitter(PreviewFits(tmp_path), OneThread())
    fitter.begin(components, entries["one"])
    to_the_end(fitter)
    unseen, wanted = pictures(components, seed=1)

    def error() -> float:
        assert components.fast_preview is not None
        return float((decode_fast(unseen, *components.fast_preview) - wanted.clamp(-1, 1)).square().mean())

    before = error()
    for seed in range(2, 12):
        fitter.learn(components, *pictures(components, seed))
    after = error()
    assert after < 0.9 * before
    assert fitter.idle(), "what was learned is kept"
    assert not fitter.idle()
    again = tiny_components()
    PreviewFitter(PreviewFits(tmp_path), OneThread()).begin(again, entries["one"])
    components.fast_preview = again.fast_preview
    assert error() == pytest.approx(after)


def test_a_run_that_comes_before_idle_time_is_learned_from_too(
    components: Components, entries: dict[str, Entry], tmp_path: Path, decodings: Decodings
) -> None:
    fitter = PreviewFitter(PreviewFits(tmp_path), OneThread())
    fitter.begin(components, entries["one"])
    fitter.learn(components, *pictures(components, seed=1, count=1))
    assert components.fast_preview is None, "one picture says too little"
    fitter.learn(components, *pictures(components, seed=2, count=3))
    assert components.fast_preview is not None
    to_the_end(fitter)
    assert fitter._fit is not None
    assert fitter._fit.rows == 4 * 64 + preview_fitter.PICTURES_ON_CPU * 64
    stranger = tiny_components()
    fitter.learn(stranger, *pictures(stranger, seed=3))
    assert stranger.fast_preview is None


def test_one_that_came_with_the_checkpoint_is_left_as_it_is(
    components: Components, entries: dict[str, Entry], tmp_path: Path, decodings: Decodings
) -> None:
    shipped = components.fast_preview = torch.zeros(192, 4, 3, 3), torch.zeros(192)
    fitter = PreviewFitter(PreviewFits(tmp_path), OneThread())
    fitter.begin(components, entries["one"])
    fitter.learn(components, *pictures(components, seed=1))
    assert to_the_end(fitter) == 0
    assert components.fast_preview is shipped


def fails(error: Exception) -> Callable[..., Any]:
    def failing(*_: Any) -> Any:
        raise error

    return failing


@pytest.mark.parametrize("error", [RuntimeError("cudnn"), vae.NotFinite("nan", "vae"), torch.OutOfMemoryError("CUDA")])
def test_a_vae_that_cannot_be_fitted_costs_only_the_preview(
    components: Components, entries: dict[str, Entry], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    monkeypatch.setattr(vae, "decode", fails(error))
    devices: list[Device] = [OneThread(), FakeDevice()]
    for device in devices:
        fitter = PreviewFitter(PreviewFits(tmp_path), device)
        fitter.begin(components, entries["one"])
        to_the_end(fitter)
        assert components.fast_preview is None


def test_an_engine_without_jobs_fits_and_then_shows_fast_previews(
    make_engine: EngineFactory, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from studio.answered.events import Step
    from tests.engine.conftest import run
    from tests.engine.test_models import wait_for

    monkeypatch.setattr(preview_fitter, "SIDE", 64)
    models = tmp_path / "own"
    save_tiny_checkpoint(models / "checkpoints" / "tiny")
    engine = make_engine(models_dirs=[models], preload="tiny")
    kept = models / ".latent-studio" / FOLDER
    wait_for(lambda: kept.is_dir() and any(f.suffix == ".safetensors" for f in kept.iterdir()))
    shown = [e.preview.decoder for e in run(engine, ask()) if isinstance(e, Step) and e.preview is not None]
    assert set(shown) == {"fast"}
    finish(engine, ask(preview="full"))
