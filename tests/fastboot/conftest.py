"""Fixtures for tests of snapshots."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from support.snapshots import Snapshot


@pytest.fixture
def keep(tmp_path: Path) -> Callable[..., Snapshot]:
    """Return a function that makes a snapshot of a cache."""

    def keep(contents: dict[str, Any], **other: Any) -> Snapshot:
        return Snapshot(tmp_path, contents, **other)

    return keep


@pytest.fixture
def snapshot(keep: Callable[..., Snapshot]) -> Snapshot:
    """Return a snapshot that fits."""
    return keep({"model": [1, 2]})
