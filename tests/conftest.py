"""What the whole suite needs: arithmetic that can be compared bit for bit, and browser tests last.

Playwright's synchronous driver leaves an event loop running on the main thread until its session ends, and no test
after it could call `asyncio.run`.
"""

from __future__ import annotations

import os

import pytest

# On processors with AVX-512 the matrix library rounds a product of a few rows by the addresses where its matrices
# happen to lie, so equal weights gave unequal last bits. Strict reproducibility makes it forget the addresses; it
# must be asked for before torch is imported. The studio itself does not: it costs speed and nobody sees 1e-6.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# The engine computes with fewer threads beside other programs, and that too changes last bits; a number that is asked
# for stays. The tests of the threads choose their own.
os.environ.setdefault("OMP_NUM_THREADS", str(os.cpu_count() or 1))

# Gradio's client program tells its maker of each start, and some tests look whether anything asks outside.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
