"""What every test of the web's room needs."""

from __future__ import annotations

import pytest

from studio.picture.library.library import Library


@pytest.fixture(autouse=True)
def patient_library(monkeypatch: pytest.MonkeyPatch) -> None:
    """The library's thread has low priority, and a busy machine keeps it from its turn. A person is then shown what is
    there after a quarter of a second; a test waits until the library has looked."""
    monkeypatch.setattr(Library.look, "__defaults__", (60.0,))
