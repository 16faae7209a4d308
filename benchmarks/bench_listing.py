"""Listing 2,000 model files: the second listing as a share of the first, headers of the size SD 1.5 has.

    python -m benchmarks.bench_listing [--files 2000]

The last line of the output is JSON; `second_over_first` is to be at most 0.05.
"""

from __future__ import annotations

import argparse
import json
import tempfile
import time
from pathlib import Path

from studio.checkpoints.catalog import Catalog

TENSORS = 1130  # as many as a whole SD 1.5 checkpoint has


def write_files(folder: Path, count: int) -> None:
    """LoRA files of one tiny tensor each name, so that their headers are as long as real ones and their data short."""
    names = [f"lora_unet_block_{k}_attn2_to_k.lora_down.weight" for k in range(TENSORS)]
    entries = {
        n: {"dtype": "F16", "shape": [1, 768], "data_offsets": [1536 * k, 1536 * (k + 1)]} for k, n in enumerate(names)
    }
    header = json.dumps(entries).encode()
    for number in range(count):
        file = folder / "loras" / f"sub{number % 20}" / f"{number}.safetensors"
        file.parent.mkdir(parents=True, exist_ok=True)
        with file.open("wb") as out:
            out.write(len(header).to_bytes(8, "little") + header)
            out.truncate(8 + len(header) + 1536 * TENSORS)  # a hole: the disk holds only the header


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--files", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        write_files(Path(scratch), options.files)
        catalog = Catalog([Path(scratch)])
        seconds = []
        for _ in range(2):
            start = time.perf_counter()
            count = len(catalog.entries(refresh=True))
            seconds.append(time.perf_counter() - start)
    first, second = seconds
    print(f"{count} files: {first:.2f} s, then {second:.3f} s")
    print(
        json.dumps(
            {"files": count, "first_seconds": first, "second_seconds": second, "second_over_first": second / first}
        )
    )


if __name__ == "__main__":
    main()
