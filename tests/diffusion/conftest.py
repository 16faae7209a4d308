"""One tiny checkpoint for all tests of the diffusion layer."""

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from studio.diffusion.components import Components
from tests.tiny import tiny_components


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """diffusers' schedulers give torch tensors to numpy functions, thousands of times, each with a warning."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.filterwarnings("ignore:__array:DeprecationWarning"))


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
