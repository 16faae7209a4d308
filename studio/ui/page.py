"""The whole page: header, tabs, and the arguments that Gradio needs at launch.

`build` takes an engine and a gallery and returns the page with its launch arguments; the caller adds host, port,
sharing and middleware. Knows neither how a picture is made nor who may see it.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import gradio as gr
from gradio.queueing import Queue
from PIL import Image

from studio.answered.engine import Engine
from studio.picture.file_formats import PILLOW_FORMATS
from studio.picture.gallery import Gallery
from studio.ui import keeping, picker, render, session, theme
from studio.ui.blocks import QUIET, html_block, put_off_one_function_per_event
from studio.ui.compare import api as compare_api
from studio.ui.compare import form as compare_form
from studio.ui.compare import tab as compare_tab
from studio.ui.generate import api, generate_tab, image_to_image, inpaint, text_to_image
from studio.ui.learn import tab as learn_tab
from studio.ui.library import tab as library_tab
from studio.ui.models import api as models_api
from studio.ui.models import tab as models_tab
from studio.ui.picture_sheet import sheet as picture_sheet
from studio.ui.text import say, words
from studio.ui.uploads import Uploads
from studio.ui.viewer import noise_viewer

STATIC = Path(__file__).parent / "static"
SAMPLE = "sample.json"  # made by training/make_sample.py
LOGGED_IN = "x-studio-login"  # set by studio/web/login.py for those who came in with a password
MAX_WATCHERS = 4096  # tabs and callers that watch a run at the same time
SECONDS_BETWEEN_STATUS = 1.0  # only while the model is not ready


def build(engine: Engine, gallery: Gallery, uploads: Uploads | None = None) -> tuple[gr.Blocks, dict[str, Any]]:
    """The page and its arguments for `launch` (theme, head, and what stays off). The middleware reports arrivals and
    visitors to `uploads`."""
    uploads = uploads or Uploads()

    def release_uploads(request: gr.Request) -> None:
        uploads.leave(str(request.session_hash))

    with gr.Blocks(title=say("page.title"), analytics_enabled=False, delete_cache=(600, 3600)) as demo:
        status = html_block(
            "header",  # says that the studio starts, until it is told the engine's state
            title=say("page.title"),
            words=words("header"),
            sharing=words("sharing"),
            shortcuts=words("shortcuts"),
            forms=[
                *(keeping.storage_key(tab) for tab in (text_to_image.TAB, image_to_image.TAB, inpaint.TAB)),
                noise_viewer.STORAGE,
                compare_tab.STORAGE,
            ],
            addresses={noise_viewer.ADDRESS: noise_viewer.TAB},
            elem_classes="ls-top",
        )
        # "wrap" draws every tab; the page's style keeps them in one row that scrolls, instead of Gradio's menu "…".
        with gr.Tabs(selected=text_to_image.TAB, elem_id="tabs", overflow_behavior="wrap") as tabs:
            with gr.Tab(say("tab.text_to_image"), id=text_to_image.TAB) as words_tab:
                words_first = text_to_image.build(engine, gallery, uploads, _sample())
            with gr.Tab(say("tab.image_to_image"), id=image_to_image.TAB) as picture_tab:
                picture_first = image_to_image.build(engine, gallery, uploads)
            with gr.Tab(say("tab.inpaint"), id=inpaint.TAB) as mask_tab:
                mask_first = inpaint.build(engine, gallery, uploads)
            with gr.Tab(say("tab.noise_viewer"), id=noise_viewer.TAB) as viewing:
                viewer, viewed_checkpoint = noise_viewer.build(engine, gallery, demo)
            with gr.Tab(say("tab.compare"), id=compare_form.TAB) as comparing:
                comparison = compare_tab.build(engine, gallery, uploads)
            with gr.Tab(say("tab.library"), id=library_tab.TAB):
                library_tab.build()
            with gr.Tab(say("tab.learn"), id=learn_tab.TAB):
                learn_tab.build(engine, gallery)
            with gr.Tab(say("tab.models"), id=models_tab.TAB):
                models_tab.build(engine)
        api.build(engine, gallery, uploads)
        compare_api.build(engine, gallery, uploads)
        models_api.build(engine)
        generate_tabs = (words_first, picture_first, mask_first)
        sheet = picture_sheet.build(engine, gallery, generate_tabs, viewer, tabs)
        compare_tab.attach(engine, comparison, demo)
        demo.unload(release_uploads)
        timer = gr.Timer(SECONDS_BETWEEN_STATUS)
        _compare(sheet, comparison, tabs)
        for one in generate_tabs:
            generate_tab.attach(engine, gallery, one, demo)
            _send(engine, gallery, one, (picture_first, mask_first), viewer, tabs, uploads)
            _compare(one.stage, comparison, tabs)

        def tick(request: gr.Request) -> tuple[Any, ...]:
            now = engine.status()
            ready = now.state in ("ready", "failed")
            label = say("generate" if ready else "generate.loading")
            manages = session.may_manage(request)
            visitor = {"leave": LOGGED_IN in request.headers, "owner": manages, "guest": not manages}
            status = _status(engine) | visitor
            return status, gr.update(active=not ready or bool(now.next)), *[label] * len(generate_tabs)

        outputs = [status, timer, *(one.controls.generate for one in generate_tabs)]
        gr.on([timer.tick, demo.load], tick, None, outputs, **QUIET)
        pickers = [one.controls.fields["checkpoint"] for one in generate_tabs]
        pickers += [comparison.fields["checkpoint"], viewed_checkpoint]
        tabs_with_one = (words_tab, picture_tab, mask_tab, comparing, viewing)
        picker.attach(engine, list(zip(tabs_with_one, pickers)), tick, outputs)
    put_off_one_function_per_event(demo)
    # Admission is the engine's, and how fast calls come is limited before them (studio/web/rates.py).
    # Made as `demo.queue` makes it, but without a web application of the page: that is made when the page is served.
    demo.api_open = False
    demo._queue = Queue(
        live_updates=True,
        concurrency_count=demo.max_threads,
        update_intervals=1,
        max_size=MAX_WATCHERS,
        blocks=demo,
        default_concurrency_limit=None,
    )
    # Gradio calls it threads, but it counts the events under way at once; one that watches a run is under way from its
    # beginning to its end, and takes no thread.
    demo._queue.max_thread_count = MAX_WATCHERS
    # Gradio remembers its newest 10,000 events and tabulates all of them after each, for a dashboard that is off here.
    demo._queue.ANALYTICS_MAX_EVENTS = 1
    demo._queue.ANAYLTICS_CACHE_FREQUENCY = 10**9  # Gradio's spelling: the events between two tables
    return demo, launch_arguments()


def launch_arguments() -> dict[str, Any]:
    """The page's arguments for `launch`: its looks, and everything switched off that would reach beyond this machine or
    this visitor."""
    return {
        "theme": theme.theme(),
        "head": theme.head(),
        "favicon_path": STATIC / "favicon.png",
        "show_error": False,
        "run_history": False,
        "enable_monitoring": False,
        "footer_links": [],
        "ssr_mode": False,
        "mcp_server": False,
        "max_file_size": "20mb",
        "allowed_paths": [],
    }


def _send(
    engine: Engine,
    gallery: Gallery,
    source_tab: generate_tab.GenerateTab,
    starting: tuple[generate_tab.GenerateTab, generate_tab.GenerateTab],
    viewer: gr.HTML,
    tabs: gr.Tabs,
    uploads: Uploads,
) -> None:
    """Send a picture from a stage to Image to image or Inpaint, or its run to the noise viewer."""

    def sender(target: generate_tab.GenerateTab) -> Callable[..., tuple[Any, Any]]:
        def send(event: gr.EventData, request: gr.Request) -> tuple[Any, Any]:
            path = gallery.path(str(event._data.get("id")), session.owner_of(request))
            if path is None:
                return gr.skip(), gr.skip()
            # Copied because Gradio serves no file from outside its own folders, without the settings in it. The picture
            # is one of our own.
            content = io.BytesIO()
            with Image.open(path, formats=PILLOW_FORMATS) as picture:
                picture.convert("RGB").save(content, "PNG")
            copy = uploads.result(content.getvalue(), "image.png", session.owner_of(request))
            return gr.Tabs(selected=target.tab), copy

        return send

    async def look(event: gr.EventData, request: gr.Request) -> tuple[Any, Any]:
        return gr.Tabs(selected=noise_viewer.TAB), await noise_viewer.run_of_button(engine, event, request)

    for way, target in zip((source_tab.stage.edit, source_tab.stage.inpaint), starting):
        way(sender(target), None, [tabs, target.controls.fields["image"]], **QUIET)
    source_tab.stage.noise(look, None, [tabs, viewer], **QUIET)


def _compare(source: gr.HTML, comparison: compare_form.Form, tabs: gr.Tabs) -> None:
    """Compare steps and guidance around a picture that a block sends: the settings go into the form, the run starts."""

    def around(event: gr.EventData) -> dict[Any, Any]:
        return {tabs: gr.Tabs(selected=compare_form.TAB)} | compare_tab.around(comparison, event._data.get("settings"))

    written = source.compare(around, None, [tabs, *comparison.outputs, comparison.status], **QUIET)
    written.then(None, None, None, js=f"() => document.getElementById('{compare_form.TAB}-generate').click()", **QUIET)


def _status(engine: Engine) -> dict[str, Any]:
    now = engine.status()
    message = say("header.next", name=now.next) if now.next and now.state == "ready" else now.message
    return {"state": now.state, "message": message, "fraction": now.fraction, "device": now.device}


def _sample() -> dict[str, Any] | None:
    """The address of the sample picture for a first visit, and its line of settings; None where there is none."""
    try:
        view = json.loads((STATIC / SAMPLE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    line = render.settings_texts(view["settings"], view["settings"]["seed"], view["width"], view["height"])
    return {"address": f"/studio-static/{SAMPLE}", "line": line}
