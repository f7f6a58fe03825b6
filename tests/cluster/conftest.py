"""Fixtures for tests of several servers."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from cluster.servers import Cluster, clustered


@pytest.fixture(scope="module")
def pair_of_servers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cluster]:
    with clustered(tmp_path_factory.mktemp("cluster"), servers=2, lease=2.0) as cluster:
        yield cluster


@pytest.fixture
def pair(pair_of_servers: Cluster) -> Iterator[Cluster]:
    """Yield two servers on one database; whatever a test has stopped is started after it."""
    yield pair_of_servers
    pair_of_servers.restore()


@pytest.fixture
def gate(tmp_path: Path, pair: Cluster) -> Iterator[Path]:
    """Yield a path; jobs of ``/long`` go on once a file exists there."""
    gate = tmp_path / "gate"
    yield gate
    gate.touch()
