"""Order of the whole suite: browser tests last.

Playwright's synchronous driver leaves an event loop running on the main thread until its session ends, and no test
after it could call `asyncio.run`.
"""

from __future__ import annotations

import pytest


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
