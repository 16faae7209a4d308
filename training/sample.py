"""The sample that a first visitor finds on the stage: one run of the built-in model by the studio's own engine.

python -m training.sample --prompt "a red apple in the snow" --seed 1

Writes studio/ui/static/sample.json: a finished picture with its filmstrip, everything inside, as the stage shows it.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import tempfile
from pathlib import Path

from studio.engine.engine import DiffusionEngine
from studio.events import Finished
from studio.gallery import Gallery
from studio.requests import TextToImage
from studio.ui.render import picture_view

ROOT = Path(__file__).parent.parent
OUT = ROOT / "studio" / "ui" / "static" / "sample.json"


async def finished(engine: DiffusionEngine, request: TextToImage) -> Finished:
    """The end of one run. Raises RuntimeError when it is another end than a picture."""
    job_id = engine.submit(request, owner="sample")
    async for event in engine.watch(job_id, owner="sample"):
        last = event
    if not isinstance(last, Finished):
        raise RuntimeError(f"the run did not finish: {last}")
    return last


def main() -> None:
    flags = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    flags.add_argument("--prompt", default="a red apple in the snow")
    flags.add_argument("--seed", type=int, default=1)
    chosen = flags.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        gallery = Gallery(Path(folder))
        engine = DiffusionEngine(models_dirs=[ROOT / "models"], gallery=gallery)
        engine.start()
        try:
            done = asyncio.run(finished(engine, TextToImage(prompt=chosen.prompt, seed=chosen.seed)))
            view = picture_view(done.pictures[0])
            file = gallery.path(done.pictures[0].id, "sample")
            assert file is not None
            view["src"] = "data:image/png;base64," + base64.b64encode(file.read_bytes()).decode()
        finally:
            engine.close()
    del view["id"]  # it lies in nobody's gallery
    OUT.write_text(json.dumps(view, ensure_ascii=False) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
