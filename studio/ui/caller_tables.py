"""The tables that Gradio keeps for each caller, and which of their entries are deleted here. Reads attributes of
Gradio's queue and sessions as they are in 6.31; tests/ui/test_callers.py fails where a newer Gradio holds more.

A call that names no session is a session of its own, whose name is the call's id. Gradio keeps 500 sessions and 2,000
message queues, with a description of the whole page in each session (0.5 MiB). Without any limit it keeps the names of
sessions whose calls have been answered, and of results that somebody else deleted.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, cast

import gradio as gr

from studio.ui.uploads import SECONDS_UNUSED

SECONDS_BETWEEN_LOOKS_AT_FILES = 60.0


def drop_page_descriptions(page: gr.Blocks) -> None:
    """From now on a new session holds no description of the page: only Gradio's deep links read it, and this page has
    none. Call it when the page has been mounted."""
    sparse = SimpleNamespace(default_config=page.default_config, blocks={})  # all that a new session reads of a page
    page.state_holder.blocks = cast(gr.Blocks, sparse)


class CallerTables:
    """Drops what Gradio holds for calls without a session: the session when the call is over, its answer when it has
    been fetched or is as old as the copies of its pictures may get. Used by the server's event loop alone."""

    def __init__(self, page: gr.Blocks) -> None:
        self._page = page
        self._calls: dict[str, float] = {}  # calls without a session: when they were last at work
        self._looked_at_files = time.monotonic()

    def around(self, process: Callable[..., Any]) -> Callable[..., Any]:
        """Runs a function as Gradio does (`process`), and drops what earlier calls have left."""

        async def run(*arguments: Any, **keywords: Any) -> Any:
            event = keywords.get("event_id")
            if event is not None and event == keywords.get("session_hash"):
                self._calls[event] = time.monotonic()
            self.sweep()
            return await process(*arguments, **keywords)

        return run

    def sweep(self) -> None:
        """Drop what is not needed any more."""
        queue, sessions, now = self._page._queue, self._page.state_holder, time.monotonic()
        pending, messages = queue.pending_event_ids_session, queue.pending_messages_per_session
        for event, last_active in list(self._calls.items()):
            if event in queue.event_ids_to_events:  # it is still at work
                continue
            sessions.session_data.pop(event, None)
            sessions.time_last_used.pop(event, None)
            if not pending.get(event) or now - last_active >= SECONDS_UNUSED:
                pending.pop(event, None)
                messages.pop(event, None)
                del self._calls[event]
        for session, events in list(pending.items()):
            if not events or session not in messages:  # all are answered, or nothing can be delivered any more
                del pending[session]
        if now - self._looked_at_files >= SECONDS_BETWEEN_LOOKS_AT_FILES:
            self._looked_at_files = now
            for names in self._page.temp_file_sets:
                names.difference_update([name for name in list(names) if not os.path.exists(name)])
