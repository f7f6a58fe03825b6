"""Fixtures for what operators see."""

from collections.abc import Iterator

import pytest
from support.traces import Recorded, recording


@pytest.fixture
def spans() -> Iterator[Recorded]:
    """Record the spans of apps that the test creates."""
    with recording() as recorded:
        yield recorded
