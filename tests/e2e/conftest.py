"""Fixtures for tests over real sockets."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from uuid import uuid4

import pytest
from e2e.server import free_port as find_free_port


@pytest.fixture
def free_port() -> int:
    return find_free_port()


@pytest.fixture
def name() -> str:
    """Return a unique name that tells this test's calls from those of other tests."""
    return uuid4().hex


@pytest.fixture
def pool() -> Iterator[ThreadPoolExecutor]:
    with ThreadPoolExecutor(32) as pool:
        yield pool


@pytest.fixture
def gate(tmp_path: Path, pool: ThreadPoolExecutor) -> Iterator[Path]:
    """Yield a path; handlers that wait go on once a file exists there."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()
