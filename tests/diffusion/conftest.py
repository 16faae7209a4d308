"""One tiny checkpoint for all tests of the diffusion layer."""

from collections.abc import Iterator

import pytest
import torch

from studio.diffusion.families import Components
from tests.tiny import tiny_components


@pytest.fixture(scope="session")
def components() -> Components:
    """Epsilon prediction, float32, CPU."""
    return tiny_components()


@pytest.fixture(autouse=True)
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)
