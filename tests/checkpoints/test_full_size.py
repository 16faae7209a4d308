"""Models of real size with random weights: loaded from one file of the original layout, run for two steps."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from studio.asked.fields import TextToImage
from studio.asked.resolved import resolve
from studio.checkpoints import loader
from studio.checkpoints.identify import identify
from studio.diffusion import vae
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import encode_prompts
from studio.engine.device import Device
from tests.checkpoints.original import full_family, save_large

PARAMETERS: dict[str, int] = {"sd1": 1_066_235_307, "sdxl": 3_468_840_046}  # with text encoders and VAE
NEEDED_GIB = {"sd1": 8, "sdxl": 17}


@pytest.mark.slow
@pytest.mark.timeout(2400)  # SDXL's took a quarter of an hour on two busy cores
@pytest.mark.parametrize("family", ["sd1", "sdxl"])
def test_a_file_of_real_size_is_loaded_and_run(family: str, tmp_path: Path) -> None:
    free = Device("cpu").free_bytes()
    if free is not None and free < NEEDED_GIB[family] * 2**30:
        pytest.skip(f"{NEEDED_GIB[family]} GiB of free memory are needed")
    modules: dict[str, Any] = full_family(family)
    path = save_large(tmp_path / "full.safetensors", family, modules)
    facts = identify(path)
    assert (facts.family, facts.precision, facts.prediction_type) == (family, "fp16", "epsilon")
    assert facts.native_width == {"sd1": 512, "sdxl": 1024}[family]
    expected = {part: {n: p.sum(dtype=torch.float64) for n, p in m.named_parameters()} for part, m in modules.items()}
    del modules
    Device("cpu").release()  # glibc keeps what was freed, and two models would be in memory
    components = loader.load(  # float32: half precision's convolutions take a hundred times as long on most CPUs
        path, name="full", device=torch.device("cpu"), dtype=torch.float32, progress=lambda message, fraction: None,
        fast_preview=(torch.zeros(192, 4, 3, 3), torch.zeros(192)),
    )  # fmt: skip
    count = 0
    for part, sums in expected.items():
        for name, weight in components.part(part).named_parameters():
            count += weight.numel()
            assert torch.isclose(weight.sum(dtype=torch.float64), sums[name], rtol=1e-2, atol=1.0), name
    assert abs(count - PARAMETERS[family]) < 0.001 * PARAMETERS[family]
    request = TextToImage(prompt="a red apple", num_inference_steps=2, width=128, height=128, guidance_scale=5.0)
    said = encode_prompts(components, "a red apple", "", num_steps=2, guidance_scale=5.0)
    lane = start_lane(components, resolve(request, components.suits), seed=1, conditioning=said)
    with torch.inference_mode():
        while not lane.is_finished:
            call = lane.call()
            timestep = torch.full((len(call.sample),), call.timestep)
            added = dict(call.added_conditions) or None
            answer = components.unet(
                call.sample, timestep, call.prompt_embeds, added_cond_kwargs=added, return_dict=False
            )
            lane.advance(answer[0])
    assert vae.is_finite(lane.latents)
    assert vae.decode(components, lane.latents).shape == (1, 3, 128, 128)
