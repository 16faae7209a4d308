"""One hash for each scheduler of a picture of the built-in model, for a named kind of CPU: any changed pixel is seen.

Other kinds of CPU round otherwise, so there the test is skipped; benchmarks/same_pictures.py compares two checkouts.

    python -m tests.diffusion.test_hashes      # prints the table for this machine
"""

from __future__ import annotations

import functools
import hashlib
import json
import os
import platform
from pathlib import Path

os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")  # before torch: see tests/conftest.py

import pytest
import torch

from studio.asked.fields import TextToImage
from studio.asked.resolved import resolve
from studio.asked.schedulers import SCHEDULERS
from studio.checkpoints import loader
from studio.diffusion import vae
from studio.diffusion.components import Components
from studio.diffusion.lane import start_lane
from studio.diffusion.prompt import encode_prompts
from tests.diffusion.helpers import ask_unet, run_lane

BUILT_IN = Path("models/small-world-128")
TABLE = Path(__file__).with_name("hashes.json")  # kind of CPU -> scheduler -> the first 16 digits of a SHA-256
PROMPT, STEPS, GUIDANCE, SEED = "a red house beside a tree at night", 6, 3.0, 7


def kind_of_cpu() -> str:
    """What decides the rounding: the processor's vendor, family and model, and torch's version."""
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").split("\n\n")[0].splitlines()
    except OSError:
        return f"{platform.machine()}, torch {torch.__version__}"
    facts = {name.strip(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    named = (facts.get("vendor_id", ""), f"family {facts.get('cpu family')}", f"model {facts.get('model')}")
    return f"{' '.join(named)}, torch {torch.__version__}"


@functools.cache
def built_in() -> Components:
    return loader.load(
        BUILT_IN,
        name="built-in",
        device=torch.device("cpu"),
        dtype=torch.float32,
        progress=lambda message, fraction: None,
    )


def picture_hash(scheduler: str) -> str:
    """Of the pixels of one picture."""
    components = built_in()
    request = TextToImage(
        prompt=PROMPT,
        scheduler=scheduler,  # type: ignore[arg-type]
        num_inference_steps=STEPS,
        guidance_scale=GUIDANCE,
        seed=SEED,
    )
    conditioning = encode_prompts(components, PROMPT, "", num_steps=STEPS, guidance_scale=GUIDANCE)
    lane = start_lane(components, resolve(request, components.suits), seed=SEED, conditioning=conditioning)
    run_lane(lane, lambda lane: ask_unet(components, lane))
    return hashlib.sha256(vae.to_uint8(vae.decode(components, lane.latents)).tobytes()).hexdigest()[:16]


@pytest.mark.parametrize("scheduler", SCHEDULERS)
def test_the_picture_is_the_same_to_the_last_bit(scheduler: str) -> None:
    known = json.loads(TABLE.read_text(encoding="utf-8")).get(kind_of_cpu())
    if known is None:
        pytest.skip(f"no hashes for this kind of CPU: {kind_of_cpu()}")
    assert picture_hash(scheduler) == known[scheduler]


if __name__ == "__main__":
    torch.set_num_threads(1)
    print(json.dumps({kind_of_cpu(): {name: picture_hash(name) for name in SCHEDULERS}}, indent=2))
