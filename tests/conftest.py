"""Fixtures for all tests."""

import gc
from collections.abc import Generator, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import anyio
import hypothesis
import pytest
from e2e.server import Server, Start, serve_source
from support.threads import gpu_threads

from potassium import Potassium

# Nothing fails because the machine is busy.
hypothesis.settings.register_profile(
    "tests", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tests")

# anyio imports its parts when they are used, and pytest parses them, as it has a plugin for it. Two
# threads that parse at once may fail: https://github.com/python/cpython/issues/106905
for part in dir(anyio):
    getattr(anyio, part)


def pytest_collection_finish() -> None:
    """Spare the thousands of tests and their modules, which a full collection would go through."""
    gc.collect()
    gc.freeze()


@pytest.hookimpl(wrapper=True)
def pytest_report_to_serializable() -> Generator[None, Any, Any]:
    """Escape lone surrogates, which some tests log on purpose: no process can send them."""
    return _escaped((yield))


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


def _escaped(value: Any) -> Any:
    if isinstance(value, str):
        return value.encode(errors="backslashreplace").decode()
    if isinstance(value, dict):
        return {_escaped(key): _escaped(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return type(value)(_escaped(each) for each in value)
    return value
