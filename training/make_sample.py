"""What a first visit shows: one run of the built-in model with its filmstrip, and a comparison around it, as the page's
own files.

    python -m training.make_sample --prompt "a fox in the snow" --seed 7 [--only comparison]

Writes sample.png, sample.json, sample.safetensors (the recording) and sample_comparison.json in studio/ui/static
through the shipping engine. To be run anew when the model changes.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import shutil
import tempfile
from pathlib import Path

from PIL import Image

from studio.answered.events import CellEvent, Finished
from studio.asked.fields import TextToImage
from studio.engine.engine import DiffusionEngine
from studio.picture.gallery import Gallery
from studio.ui.compare.around import comparison_around
from studio.ui.compare.tab import SAMPLE as SAMPLE_COMPARISON
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


async def make_comparison(engine: DiffusionEngine, gallery: Gallery, request: TextToImage) -> None:
    """Run steps and guidance around the request and write the pictures as one file. Raises RuntimeError when one of
    them does not finish."""
    comparison, focus = comparison_around(request.to_dict())
    job_id = engine.submit_comparison(comparison, owner=OWNER, focus=focus)
    pictures: dict[int, str] = {}
    async for event in engine.watch_comparison(job_id, owner=OWNER):
        if isinstance(event, CellEvent) and isinstance(event.event, Finished):
            path = gallery.path(event.event.pictures[0].id, OWNER)
            assert path is not None  # it has just been saved
            pictures[event.cell] = _webp(path)
    if len(pictures) != len(comparison):
        raise RuntimeError(f"{len(pictures)} of {len(comparison)} pictures finished")
    axes = {
        name: {"field": axis.field, "labels": [axis.label(k) for k in range(len(axis.values))]}
        for name, axis in zip("xy", comparison.axes)
    }
    view = {"prompt": request.prompt, **axes, "focus": focus, "pictures": [pictures[k] for k in range(len(pictures))]}
    (STATIC / SAMPLE_COMPARISON).write_text(json.dumps(view, ensure_ascii=False), encoding="utf-8")


def _webp(path: Path) -> str:
    """A picture as the address of its own content: lossless, so that the tab's differences are true."""
    content = io.BytesIO()
    with Image.open(path, formats=["PNG"]) as picture:
        picture.convert("RGB").save(content, "WEBP", lossless=True, method=6)
    return f"data:image/webp;base64,{base64.b64encode(content.getvalue()).decode('ascii')}"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prompt", default="a fox in the snow")
    parser.add_argument("--seed", type=int, default=7)
    parser.add_argument("--only", choices=["picture", "comparison"], help="leave the other as it is")
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
            if options.only != "comparison":
                asyncio.run(make(engine, gallery, request))
            if options.only != "picture":
                asyncio.run(make_comparison(engine, gallery, request))
        finally:
            engine.close()


if __name__ == "__main__":
    main()
