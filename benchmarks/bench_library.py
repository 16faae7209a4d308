"""What the library costs: its first page among many pictures, a run beside its indexing, and a scroll of its wall.

    python -m benchmarks.bench_library [--parts pages,run,scroll] [--pictures 100000] [--new-files 10000]

`pages`: the first page of that many pictures to that of 1,000 (at most 1.5), for a studio that has just started, which
counts them, and while nothing changes. `run`: a run while so many new files are looked through to one without (at most
1.05). `scroll`: the longest frame of a scroll of 200 rows in Chromium, on the small one of the two folders (at most
100 ms). Medians over the rounds; the last line of the output is JSON.
"""

from __future__ import annotations

import argparse
import asyncio
import io
import json
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import httpx
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from studio.picture.gallery import Gallery
from studio.picture.library.library import Library
from studio.web.library_routes import LibraryRoutes

FEW = 1000
A_DAY = 400  # pictures of one folder
ROWS = 200
PIXELS_OF_A_FRAME = 120  # that the wall moves by, as somebody turns the wheel fast
ADDRESS = "http://library/library?limit=120"


def write_pictures(folder: Path, count: int) -> None:
    """Small PNG files with A1111's text, a folder a day."""
    for number in range(count):
        day = folder / f"{2020 + number // (A_DAY * 300)}-{number // A_DAY % 300:03d}"
        if number % A_DAY == 0:
            day.mkdir(parents=True, exist_ok=True)
        info = PngInfo()
        info.add_text("parameters", f"a lake, number {number}\nSteps: 20, Seed: {number}, Size: 16x16, Model: one")
        content = io.BytesIO()
        Image.new("RGB", (16, 16), (number % 256, 120, 160)).save(content, "PNG", pnginfo=info, compress_level=1)
        (day / f"{number:06d}.png").write_bytes(content.getvalue())


def indexed(folder: Path) -> Library:
    """The library of a folder, wholly looked through."""
    library = Library(Gallery(folder))
    while not library.look(60):
        pass
    return library


no_engine: Any = None  # the wall asks none


async def _nothing(scope: Any, receive: Any, send: Any) -> None:
    raise AssertionError("the library answers this address")


def page_seconds(library: Library) -> float:
    """Seconds from a question for the first page to its answer."""

    async def ask() -> float:
        transport = httpx.ASGITransport(app=LibraryRoutes(_nothing, library=library, engine=no_engine))
        async with httpx.AsyncClient(transport=transport) as client:
            start = time.perf_counter()
            answer = (await client.get(ADDRESS)).json()
            seconds = time.perf_counter() - start
        assert len(answer["pictures"]) == 120
        return seconds

    return asyncio.run(ask())


def pages(folders: dict[str, Path], rounds: int) -> dict[str, float]:
    """The first page of many pictures to that of few."""
    times: dict[str, dict[str, list[float]]] = {kind: {name: [] for name in folders} for kind in ("started", "again")}
    for name, folder in folders.items():
        start = time.perf_counter()
        indexed(folder).close()
        print(f"{name}: {time.perf_counter() - start:.1f} s to look through")
    for number in range(rounds):
        for name in list(folders)[:: 1 if number % 2 else -1]:
            library = Library(Gallery(folders[name]))
            times["started"][name].append(page_seconds(library))
            times["again"][name] += [page_seconds(library) for _ in range(3)]
            library.close()
    medians = {kind: {name: statistics.median(one) for name, one in by.items()} for kind, by in times.items()}
    for kind, by in medians.items():
        print(f"first page, {kind}: " + ", ".join(f"{name} {seconds * 1000:.1f} ms" for name, seconds in by.items()))
    return {f"page_{kind}": by["many"] / by["few"] for kind, by in medians.items()}


def run(options: argparse.Namespace, scratch: Path) -> dict[str, float]:
    """A run beside the indexing of new files to a run alone."""
    from benchmarks.common import engine_seconds, loaded_engine
    from studio.asked.fields import TextToImage

    new = scratch / "new"
    write_pictures(new, options.new_files)
    engine = loaded_engine(options.checkpoint, scratch)
    request = TextToImage.parse({"prompt": "a lake", "num_inference_steps": 20, "seed": 7})
    engine_seconds(engine, request)
    ratios: list[float] = []
    for number in range(options.rounds):
        seconds: dict[str, float] = {}
        for kind in ("alone", "beside")[:: 1 if number % 2 else -1]:
            for file in new.glob(".library*"):
                file.unlink()
            library = Library(Gallery(new), busy=lambda: engine.status().running > 0)
            if kind == "beside":
                library.look(0)
            seconds[kind] = engine_seconds(engine, request)
            library.close()
        ratios.append(seconds["beside"] / seconds["alone"])
    engine.close()
    print("run beside indexing: " + ", ".join(f"{one:.3f}" for one in ratios))
    return {"run_beside_indexing": statistics.median(ratios)}


def scroll(folder: Path, rounds: int) -> dict[str, float]:
    """The longest and the median frame of a scroll, in milliseconds."""
    from playwright.sync_api import sync_playwright

    from tests.ui.fake_app import launch
    from tests.ui.fake_engine import FakeEngine

    gallery = Gallery(folder)
    engine = FakeEngine(gallery)
    demo, url = launch(engine, gallery)
    frames: list[list[float]] = []
    with sync_playwright() as playwright:
        path = os.environ.get("STUDIO_CHROMIUM") or shutil.which("chromium")
        browser = playwright.chromium.launch(executable_path=path, args=["--no-sandbox", "--disable-gpu"])
        page = browser.new_page(viewport={"width": 1280, "height": 850})
        page.goto(url)
        page.get_by_role("tab", name="Library").click()
        page.locator(".ls-library-tile img").first.wait_for()
        for _ in range(rounds):
            page.evaluate("scrollTo(0, 0)")
            page.wait_for_timeout(500)
            frames.append(page.evaluate(_SCROLL, [ROWS, PIXELS_OF_A_FRAME]))
        browser.close()
    demo.close()
    engine.close()
    longest = [max(one) for one in frames]
    print("longest frame of each scroll: " + ", ".join(f"{one:.0f} ms" for one in longest))
    return {
        "longest_frame_ms": max(longest),
        "median_frame_ms": statistics.median(frame for one in frames for frame in one),
    }


_SCROLL = """async ([rows, pixels]) => {
  const tile = document.querySelector(".ls-library-tile").getBoundingClientRect();
  const frames = [];
  let last = await new Promise(requestAnimationFrame);
  for (let moved = 0; moved < rows * (tile.height + 8); moved += pixels) {
    scrollBy(0, pixels);
    const now = await new Promise(requestAnimationFrame);
    frames.push(now - last);
    last = now;
  }
  return frames;
}"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--parts", default="pages,run,scroll")
    parser.add_argument("--pictures", type=int, default=100_000)
    parser.add_argument("--new-files", type=int, default=10_000)
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--checkpoint", type=Path, default=Path("models/small-world-128"))
    options = parser.parse_args()
    parts = options.parts.split(",")
    result: dict[str, Any] = {"bench": "library", "pictures": options.pictures, "new_files": options.new_files}
    with tempfile.TemporaryDirectory() as folder:
        scratch = Path(folder)
        folders = {"few": scratch / "few", "many": scratch / "many"}
        if "pages" in parts or "scroll" in parts:
            write_pictures(folders["few"], max(FEW, ROWS * 6 + 60) if "scroll" in parts else FEW)
        if "pages" in parts:
            write_pictures(folders["many"], options.pictures)
            result |= pages(folders, options.rounds)
        if "run" in parts:
            result |= run(options, scratch / "engine")
        if "scroll" in parts:
            result |= scroll(folders["few"], options.rounds)
    print(json.dumps({name: round(one, 3) if isinstance(one, float) else one for name, one in result.items()}))


if __name__ == "__main__":
    main()
