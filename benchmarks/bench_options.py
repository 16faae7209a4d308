"""What the options that trade something for speed or memory do to a U-Net call, and what compiling costs at first.

    python -m benchmarks.bench_options --checkpoint models/small-world-128

A guided call (two rows) with each option against one without any, in this process in turn, round after round; a ratio
is the median over the rounds. `weights` is what the U-Net's parameters take of memory, to those without an option. The
last line is JSON.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from benchmarks.common import native_settings
from studio.checkpoints.options import ModelOptions

PLAIN = ModelOptions()
OPTIONS = {
    "plain": PLAIN,
    "channels-last": replace(PLAIN, channels_last=True),
    "compile": replace(PLAIN, compile=True),
    "fp8": replace(PLAIN, fp8=True),
    "attention slicing": replace(PLAIN, attention_slicing=True),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--device", default="auto")
    print(json.dumps(ratios(parser.parse_args())))


def ratios(options: argparse.Namespace) -> dict[str, Any]:
    """Ratios to the U-Net as it was loaded."""
    import torch

    from studio.checkpoints import fitting
    from studio.checkpoints.loader import load
    from studio.engine.device import Device

    device = Device(options.device, "auto")
    dtype = torch.float32 if device.is_cpu else torch.float16
    networks = {}
    for name, option in OPTIONS.items():
        components = load(
            options.checkpoint,
            name=options.checkpoint.name,
            device=device.torch_device,
            dtype=dtype,
            progress=lambda sentence, fraction: None,
        )
        fitting.apply(components, option, device)
        networks[name] = components
    config = networks["plain"].unet.config
    latents = torch.randn(2, config.in_channels, config.sample_size, config.sample_size)
    embeds = torch.randn(2, 77, config.cross_attention_dim)
    inputs = [t.to(device.torch_device, dtype) for t in (latents, embeds)]

    def seconds(name: str) -> float:
        start = time.perf_counter()
        with torch.inference_mode():
            networks[name].unet(inputs[0], 500, inputs[1], return_dict=False)[0].sum().item()  # waits for a GPU
        return time.perf_counter() - start

    first = {name: seconds(name) for name in OPTIONS}
    durations: dict[str, list[float]] = {name: [] for name in OPTIONS}
    for number in range(options.rounds + 1):
        for name in list(OPTIONS)[:: 1 if number % 2 else -1]:
            once = seconds(name)
            if number:
                durations[name].append(once)
    result: dict[str, Any] = {"bench": "options", "rounds": options.rounds, **native_settings(networks["plain"])}
    sizes = {name: sum(p.nbytes for p in networks[name].unet.parameters()) for name in OPTIONS}
    for name in OPTIONS:
        ratio = statistics.median(a / b for a, b in zip(durations[name], durations["plain"]))
        weights = sizes[name] / sizes["plain"]
        result[name] = {"ratio": round(ratio, 3), "first_seconds": round(first[name], 2), "weights": round(weights, 3)}
        print(f"{name:18s} {ratio:5.2f} x plain, {first[name]:6.2f} s at first, {weights:5.2f} x the weights")
    return result


if __name__ == "__main__":
    main()
