"""What the whole suite needs: arithmetic that can be compared bit for bit, and browser tests last.

Playwright's synchronous driver leaves an event loop running on the main thread until its session ends, and no test
after it could call `asyncio.run`. With pytest-xdist each process takes files in this order (start.py), so that holds
in each of them.
"""

from __future__ import annotations

import os

import pytest

# On processors with AVX-512 the matrix library rounds a product of a few rows by the addresses where its matrices
# happen to lie, so equal weights gave unequal last bits. Strict reproducibility makes it forget the addresses; it
# must be asked for before torch is imported. The studio itself does not: it costs speed and nobody sees 1e-6.
os.environ.setdefault("MKL_CBWR", "AUTO,STRICT")
# The engine computes with fewer threads beside other programs, and that too changes last bits; a number that is asked
# for stays. Processes of pytest-xdist share the cores: each inherits the number of the process that starts it, and
# takes its part. The tests of the threads choose their own.
cores, processes = os.cpu_count() or 1, int(os.environ.get("PYTEST_XDIST_WORKER_COUNT", "1"))
threads = int(os.environ.get("OMP_NUM_THREADS", cores))
os.environ["OMP_NUM_THREADS"] = str(threads if processes == 1 else max(1, min(threads, cores // processes)))

# Gradio's client program tells its maker of each start, and some tests look whether anything asks outside.
os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")


@pytest.hookimpl(trylast=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    items.sort(key=lambda item: item.get_closest_marker("browser") is not None)
