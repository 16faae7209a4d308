"""How long a checkpoint's single file takes to become components, and how much memory that wants.

Both sides read the same file of Stable Diffusion 1.5's real size with random weights in the same process, in turn
(A B A B ...), since machines are noisy:

- `ratio`: our `loader.load` over diffusers' `StableDiffusionPipeline.from_single_file`, same target precision, medians.
  Bar: 1.1 on a CPU. On a GPU the bar is 1.25 of a raw `safetensors` read to that device, `raw_ratio`.
- `peak_ratio`: memory of the process above its baseline while ours loads, over the bytes of the parameters in the
  target precision. Only anonymous pages count: those that are mapped from the file the system can drop. Bar: 1.1.

    python benchmarks/bench_load.py --runs 5 --dtype fp16

The last line of stdout is one JSON document.
"""

from __future__ import annotations

import argparse
import gc
import json
import shutil
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
DTYPES = {"fp32": "float32", "fp16": "float16", "bf16": "bfloat16"}


def anonymous_bytes() -> int:
    """Memory of this process that is not a file's (Linux)."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) * 1024 for line in lines if line.startswith("RssAnon:"))


class Peak:
    """The most anonymous memory above the beginning while the block ran."""

    def __enter__(self) -> Peak:
        self.base = self.most = anonymous_bytes()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._watch, daemon=True)
        self._thread.start()
        return self

    def _watch(self) -> None:
        while not self._end.wait(0.005):
            self.most = max(self.most, anonymous_bytes())

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()
        self.most = max(self.most, anonymous_bytes())

    @property
    def bytes(self) -> int:
        return self.most - self.base


def seconds(action: Callable[[], Any]) -> float:
    gc.collect()
    begin = time.perf_counter()
    result = action()
    duration = time.perf_counter() - begin
    del result
    gc.collect()
    return duration


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=5)
    parser.add_argument("--device", default="cpu", help="cpu or cuda")
    parser.add_argument("--dtype", default="fp16", choices=DTYPES)
    flags = parser.parse_args()

    import torch
    from diffusers import StableDiffusionPipeline
    from safetensors.torch import load_file

    from studio.checkpoints import loader
    from studio.families import configs
    from tests.checkpoints.original import full_family, save_large

    device, dtype = torch.device(flags.device), getattr(torch, DTYPES[flags.dtype])
    scratch = Path(tempfile.mkdtemp(prefix="bench-load-"))
    try:
        path = save_large(scratch / "model.safetensors", "sd1", full_family("sd1"))
        reference = scratch / "sd1"
        shutil.copytree(configs.DATA / "sd1", reference)
        configs.clip_tokenizer("<|endoftext|>", 77).save_pretrained(reference / "tokenizer")
        preview = torch.zeros(192, 4, 3, 3), torch.zeros(192)

        def settle() -> None:
            if device.type == "cuda":
                torch.cuda.synchronize()

        def ours() -> Any:
            components = loader.load(
                path, name="sd1", device=device, dtype=dtype, progress=lambda m, f: None, fast_preview=preview
            )
            settle()
            return components

        def theirs() -> Any:
            pipeline = StableDiffusionPipeline.from_single_file(
                str(path), config=str(reference), local_files_only=True, torch_dtype=dtype, safety_checker=None
            ).to(device)
            settle()
            return pipeline

        def raw() -> Any:
            tensors = load_file(path, device=str(device))
            settle()
            return tensors

        components = ours()
        modules = tuple(components.parts.values())
        expected_bytes = sum(p.numel() for m in modules for p in m.parameters()) * dtype.itemsize
        del components, modules
        theirs()
        durations: dict[str, list[float]] = {"ours": [], "theirs": [], "raw": []}
        for _ in range(flags.runs):
            for name, action in (("ours", ours), ("theirs", theirs), ("raw", raw)):
                durations[name].append(seconds(action))
        peak_ratio = None
        if Path("/proc/self/status").exists():
            gc.collect()
            with Peak() as peak:
                components = ours()
            del components
            peak_ratio = round(peak.bytes / expected_bytes, 3)
        medians = {name: statistics.median(values) for name, values in durations.items()}
        result = {
            "ratio": round(medians["ours"] / medians["theirs"], 3),
            "raw_ratio": round(medians["ours"] / medians["raw"], 3),
            "peak_ratio": peak_ratio,
            "seconds": {name: round(value, 3) for name, value in medians.items()},
            "parameters_mib": round(expected_bytes / 2**20),
            "file_mib": round(path.stat().st_size / 2**20),
            "device": str(device),
            "dtype": flags.dtype,
            "threads": torch.get_num_threads(),
            "runs": flags.runs,
            "torch": torch.__version__,
        }
    finally:
        shutil.rmtree(scratch, ignore_errors=True)
    print(json.dumps(result))


if __name__ == "__main__":
    main()
