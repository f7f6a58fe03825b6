"""An app file that is served in both ways: by one process, and with two workers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from e2e.server import Server, serve_source

__all__ = ["MODES", "WORKERS", "served"]

WORKERS = "cpu,cpu"
MODES = [pytest.param("0", id="one process"), pytest.param(WORKERS, id="two workers")]


def served(
    source: str, folder: Path, workers: str, env: dict[str, str] | None = None
) -> Iterator[Server]:
    """Yield a server of ``source`` whose ``POTASSIUM_WORKERS`` is ``workers``."""
    with serve_source(source, folder, env={"POTASSIUM_WORKERS": workers, **(env or {})}) as server:
        yield server
