"""Run in a process of its own by test_leased_map.py: what is done to a model file while it is mapped and used.

    python -m tests.checkpoints.pulled_away FOLDER

Prints one JSON document: what became of every deed. Where the promise is broken there is none: SIGBUS ends the process.
"""

from __future__ import annotations

import gc
import json
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import torch

from studio.checkpoints import leased_map, loader
from studio.diffusion.components import Components
from tests.checkpoints.original import save_original, tiny_family

WRITERS = {  # what another program does to the file at argv[1]
    "truncated": "import os, sys; os.truncate(sys.argv[1], 100)",
    "opened anew": "import sys; open(sys.argv[1], 'wb').write(b'something else')",
    "overwritten": "import os, sys; n = os.stat(sys.argv[1]).st_size; open(sys.argv[1], 'r+b').write(bytes(n))",
    "replaced": "import os, sys; new = sys.argv[1] + '.new'; open(new, 'wb').write(b'x'); os.replace(new, sys.argv[1])",
}


def leases() -> int:
    """How many this process holds."""
    return sum(1 for thread in threading.enumerate() if thread.name.startswith("lease "))


def load(path: Path, dtype: torch.dtype = torch.float32) -> Components:
    return loader.load(
        path, name="tiny", device=torch.device("cpu"), dtype=dtype, progress=lambda message, fraction: None,
        fast_preview=(torch.zeros(192, 4, 3, 3), torch.zeros(192)),
    )  # fmt: skip


def weights(components: Components) -> dict[str, torch.Tensor]:
    parts = {"unet": components.unet, "vae": components.vae, "text_encoder": components.part("text_encoder")}
    return {f"{part}.{name}": value for part, module in parts.items() for name, value in module.named_parameters()}


def answer(components: Components) -> torch.Tensor:
    latents = torch.randn(1, 4, 8, 8, generator=torch.Generator().manual_seed(1))
    embeds = torch.randn(1, 77, 64, generator=torch.Generator().manual_seed(2))
    with torch.inference_mode():
        return torch.as_tensor(components.unet(latents, 500, embeds, return_dict=False)[0])


class Running:
    """The U-Net called again and again on a thread of its own."""

    def __init__(self, models: list[Components]) -> None:
        self._models = models
        self.expected = [answer(one) for one in models]
        self.calls, self.wrong = 0, 0
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    def _run(self) -> None:
        while not self._done.is_set():
            for one, expected in zip(self._models, self.expected):
                self.wrong += not torch.equal(answer(one), expected)
            self.calls += 1

    def wait_for_more(self) -> None:
        before = self.calls
        while self.calls < before + 2:
            time.sleep(0.01)

    def stop(self) -> None:
        self._done.set()
        self._thread.join()


def deed(path: Path, writer: str, count: int) -> dict[str, Any]:
    """The file loaded `count` times, then written to while U-Net calls run."""
    models = [load(path) for _ in range(count)]
    kept = [{name: value.clone() for name, value in weights(one).items()} for one in models]
    places = [{name: value.data_ptr() for name, value in weights(one).items()} for one in models]
    first = models[0].unet.conv_in.weight
    with torch.no_grad():  # nothing in the studio does this; what was written is kept all the same
        first[0, 0, 0, 0] += 1
    kept[0]["unet.conv_in.weight"][0, 0, 0, 0] += 1
    held = leases()
    running = Running(models)
    running.wait_for_more()
    began = time.monotonic()
    subprocess.run([sys.executable, "-c", WRITERS[writer], str(path)], check=True, timeout=60)
    seconds = time.monotonic() - began
    running.wait_for_more()
    running.stop()
    wrong = running.wrong
    equal = all(torch.equal(now, kept[k][name]) for k, one in enumerate(models) for name, now in weights(one).items())
    same_place = all(
        now.data_ptr() == places[k][name] for k, one in enumerate(models) for name, now in weights(one).items()
    )
    after = leases()
    del models, running, first
    gc.collect()
    deadline = time.monotonic() + 20
    while leases() and time.monotonic() < deadline:
        time.sleep(0.02)
    return {"held": held, "equal": equal, "same_place": same_place, "wrong_answers": wrong, "seconds": seconds,
            "after": after, "at_the_end": leases()}  # fmt: skip


def main() -> None:
    folder = Path(sys.argv[1])
    torch.set_num_threads(1)
    leased_map.MIN_BYTES, leased_map.PIECE_BYTES = 0, 2**18
    modules = tiny_family("sd1")
    told: dict[str, Any] = {}
    for name, writer, count in [(writer, writer, 1) for writer in WRITERS] + [("two of one file", "truncated", 2)]:
        path = save_original(folder / f"{name.replace(' ', '-')}.safetensors", "sd1", modules)
        if leased_map.map_under_lease(path) is None:
            told = {"refused": True}
            break
        gc.collect()
        told[name] = deed(path, writer, count)
    print(json.dumps(told))


if __name__ == "__main__":
    main()
