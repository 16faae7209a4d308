"""A tiny autoencoder as the VAE of a run: a pair of files, a decoder alone, and the real TAESD where it is here."""

from __future__ import annotations

import io
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from diffusers import AutoencoderTiny
from PIL import Image
from safetensors.torch import save_file

from studio.asked.fields import ImageToImage
from studio.asked.problems import InvalidRequest
from studio.checkpoints.tiny_autoencoder import load_tiny_autoencoder
from studio.diffusion import vae
from studio.engine.engine import DiffusionEngine
from tests.checkpoints.test_tiny_vae import original
from tests.engine.conftest import EngineFactory, ask, finish, pixels
from tests.engine.test_models import model
from tests.engine.test_own_vae import png
from tests.tiny import save_tiny_checkpoint

REAL = Path("../shared/cases/real") if Path("../shared/cases/real").is_dir() else Path("/nonexistent")


@pytest.fixture(scope="module")
def pair() -> AutoencoderTiny:
    torch.manual_seed(3)
    return AutoencoderTiny().eval()


@pytest.fixture
def engine(tmp_path: Path, make_engine: EngineFactory, pair: AutoencoderTiny) -> DiffusionEngine:
    """`tiny`, a pair of TAESD's names, and a decoder without its encoder."""
    folder = tmp_path / "models"
    save_tiny_checkpoint(folder / "checkpoints" / "tiny", fast_preview=True)
    (folder / "vae_approx").mkdir()
    encoder = {k.removeprefix("layers."): v.contiguous() for k, v in pair.encoder.state_dict().items()}
    save_file(encoder, folder / "vae_approx" / "taesd_encoder.safetensors")
    for name in ("taesd_decoder", "alone"):
        save_file(original(pair), folder / "vae_approx" / f"{name}.safetensors")
    return make_engine(models_dirs=[folder])


def test_a_picture_goes_through_the_pair_and_back(engine: DiffusionEngine, pair: AutoencoderTiny) -> None:
    request = ImageToImage(
        prompt="a fox", checkpoint="tiny", image=png(), strength=0.0, vae_name="taesd_decoder", exact=True, seed=1
    )
    finished = finish(engine, request)
    with Image.open(io.BytesIO(png())) as picture, torch.inference_mode():
        taken = vae.from_picture(picture, 64, 64)
        [expected] = vae.to_uint8(pair.decode(pair.encode(taken).latents).sample)
    assert abs(pixels(engine, finished) - expected.astype(int)).max() <= 1
    info = finished.pictures[0].info
    assert (info["vae_name"], info["vae"]) == ("taesd_decoder", "taesd_decoder")


def test_it_may_decode_words_and_a_second_pass(engine: DiffusionEngine) -> None:
    plain = pixels(engine, finish(engine, ask()))
    assert (pixels(engine, finish(engine, ask(vae_name="taesd_decoder"))) != plain).any()
    assert (pixels(engine, finish(engine, ask())) == plain).all()
    assert pixels(engine, finish(engine, ask(vae_name="taesd_decoder", hires_scale=2.0))).shape == (128, 128, 3)


def test_a_decoder_alone_makes_pictures_of_words_and_takes_none(engine: DiffusionEngine) -> None:
    assert finish(engine, ask(vae_name="alone")).pictures
    with pytest.raises(InvalidRequest, match=r"^vae_name: .*without an encoder"):
        engine.submit(ImageToImage(prompt="a fox", checkpoint="tiny", image=png(), vae_name="alone"), owner="anna")


def test_it_is_offered_to_runs_and_never_as_a_checkpoints_own(engine: DiffusionEngine) -> None:
    [tiny] = [one for one in engine.catalog() if one.name == "tiny"]
    assert set(tiny.vaes) == {"taesd_decoder", "alone"}
    with pytest.raises(InvalidRequest, match=r"^vae: "):
        engine.models.choose_vae(model(engine, "tiny").id, model(engine, "taesd_decoder").id)


@pytest.mark.skipif(not (REAL / "taesd_decoder.safetensors").exists(), reason="the real weights are not here")
def test_the_real_pair_gives_a_picture_back() -> None:
    side = np.linspace(0, 255, 256)
    array: Any = np.stack(np.broadcast_arrays(side[None], side[:, None], 255 - side[None]), axis=-1).astype("uint8")
    array[64:160, 96:192] = (240, 60, 30)
    taesd = load_tiny_autoencoder(REAL / "taesd_decoder.safetensors", device=torch.device("cpu"), dtype=torch.float32)
    with torch.inference_mode():
        latents = taesd.encode(vae.from_picture(Image.fromarray(array), 256, 256)).latent_dist.mode()
        [back] = vae.to_uint8(taesd.decode(latents)[0])
    error = float(((back.astype(float) - array) ** 2).mean())
    assert 10 * np.log10(255**2 / error) > 20
