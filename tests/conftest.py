"""Fixtures for all tests."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Server, Start, serve_source
from support.threads import gpu_threads

from potassium import Potassium


@pytest.fixture
def app() -> Potassium:
    return Potassium("test")


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Return a function that runs the source of an ``app.py`` as ``python app.py``."""
    with ExitStack() as stack:

        def start(source: str, **options: Any) -> Server:
            return stack.enter_context(serve_source(source, tmp_path, **options))

        yield start


@pytest.fixture(autouse=True)
def _no_gpu_thread_is_left() -> object:
    yield
    assert not gpu_threads()
