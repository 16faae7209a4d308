"""The picture of a first visit: one run of the built-in model with its filmstrip, as the page's own files.

    python -m training.make_sample --prompt "a fox in the snow" --seed 7

Writes studio/ui/static/sample.png, sample.json and sample.safetensors (the recording) through the shipping
engine. To be run anew when the model changes.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import shutil
import tempfile
from pathlib import Path

from studio.answered.events import Finished
from studio.asked.fields import TextToImage
from studio.engine.engine import DiffusionEngine
from studio.picture.gallery import Gallery
from studio.ui.page import SAMPLE, STATIC
from studio.ui.render import picture_view
from training.pictures import Settings

ROOT = Path(__file__).resolve().parent.parent
OWNER = "sample"


async def make(engine: DiffusionEngine, gallery: Gallery, request: TextToImage) -> None:
    """Run the request and write its picture, view and recording. Raises RuntimeError when it does not finish."""
    job_id = engine.submit(request, owner=OWNER, attention=True)
    events = [event async for event in engine.watch(job_id, owner=OWNER)]
    end = events[-1]
    if not isinstance(end, Finished):
        raise RuntimeError(f"The run did not finish: {end}")
    picture = end.pictures[0]
    path = gallery.path(picture.id, OWNER)
    assert path is not None  # it has just been saved
    shutil.copyfile(path, STATIC / "sample.png")
    recording = engine.record(job_id, owner=OWNER)
    assert recording is not None  # of the run that has just ended
    (STATIC / "sample.safetensors").write_bytes(recording)
    view = picture_view(picture) | {"id": "", "src": "/studio-static/sample.png"}
    del view["line"]  # the page says it in its visitor's language
    (STATIC / SAMPLE).write_text(json.dumps(view, ensure_ascii=False), encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", default="a fox in the snow")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--models-dir", type=Path, default=ROOT / "models")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as outputs:
        gallery = Gallery(outputs)
        engine = DiffusionEngine(
            models_dirs=[options.models_dir],
            gallery=gallery,
            device="auto",
            dtype="auto",
            exact=True,
            preload="small-world-128",
        )
        request = TextToImage(prompt=options.prompt, seed=options.seed, guidance_scale=Settings.guidance_scale)
        engine.start()
        try:
            asyncio.run(make(engine, gallery, request))
        finally:
            engine.close()


if __name__ == "__main__":
    main()
