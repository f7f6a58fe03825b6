"""Fixtures for all tests."""

import threading

import pytest

from potassium import Potassium


@pytest.fixture
def app() -> Potassium:
    return Potassium("test")


def gpu_threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "potassium-gpu"]


@pytest.fixture(autouse=True)
def _no_gpu_thread_is_left() -> object:
    yield
    assert not gpu_threads()
