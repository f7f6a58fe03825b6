"""Fixtures for all tests."""

import pytest
from support.threads import gpu_threads

from potassium import Potassium


@pytest.fixture
def app() -> Potassium:
    return Potassium("test")


@pytest.fixture(autouse=True)
def _no_gpu_thread_is_left() -> object:
    yield
    assert not gpu_threads()
