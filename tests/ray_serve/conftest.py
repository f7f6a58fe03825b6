"""Fixtures for tests on a real Ray; without one they are skipped. ``nox -s ray`` installs it."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from ray_serve import kitchen
from ray_serve.cluster import Cluster, needs_ray, ray_cluster


@pytest.fixture(scope="session", params=["haproxy", "python"])
def cluster(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Cluster]:
    """A Ray behind each of its proxies."""
    needs_ray()
    with ray_cluster(request.param, tmp_path_factory.mktemp("ray")) as cluster:
        yield cluster


@pytest.fixture(scope="session")
def marks(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder in which app and test leave one another signs."""
    return tmp_path_factory.mktemp("marks")


@pytest.fixture(scope="module")
def kitchen_app(cluster: Cluster, marks: Path) -> Cluster:
    """Two replicas of one app that has a bit of everything."""
    cluster.deploy(kitchen.SOURCE.replace("MARKS", str(marks)), num_replicas=2)
    return cluster
