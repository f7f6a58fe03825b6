"""Connections without a network."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from support.connection import Bench


@pytest.fixture
def bench() -> Iterator[Callable[..., Bench]]:
    """Return a function that makes benches; none of them may have a fault by the end."""
    benches: list[Bench] = []

    def make(*args: Any, **options: Any) -> Bench:
        benches.append(Bench(*args, **options))
        return benches[-1]

    yield make
    for one in benches:
        one.close()
