"""Stores of every kind: in a file, on stand-ins at the socket, and on real servers if installed."""

import os
import shutil
import sys
from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import pytest
from support.stores import (
    FakeRedis,
    FakeS3,
    MakeStore,
    ManualClock,
    Process,
    serving,
    started,
)

from potassium.store import LocalConfig, RedisConfig, S3Config, Store

BUCKET = "values"
KEYS = ("AKIAIOSFODNN7EXAMPLE", "not-a-secret", BUCKET)


def _missing(what: str) -> None:
    if os.environ.get("CLUSTER") == "required":
        pytest.fail(f"{what} is not installed, and CLUSTER=required")
    pytest.skip(f"{what} is not installed")


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def redis_server(tmp_path: Path) -> Iterator[Process]:
    """Yield a real Redis, which listens on a port and on a Unix socket."""
    program = shutil.which("redis-server")
    if program is None:
        _missing("redis-server")
    options = ["--save", "", "--appendonly", "no", "--bind", "127.0.0.1", "--dir", str(tmp_path)]
    socket = ["--unixsocket", str(tmp_path / "redis.sock")]
    with started([str(program), *options, *socket, "--port"]) as process:
        process.folder = tmp_path
        yield process


@pytest.fixture(scope="session")
def s3_server() -> Iterator[Process]:
    """Yield moto's server, with a bucket."""
    if find_spec("moto") is None or find_spec("flask") is None:
        program = os.environ.get("MOTO_SERVER")
        if program is None:
            _missing("moto[server]")
        command = [str(program), "-H", "127.0.0.1", "-p"]
    else:
        command = [sys.executable, "-m", "moto.server", "-H", "127.0.0.1", "-p"]
    with started(command, patience=60.0) as process:
        process.make_bucket(BUCKET)
        yield process


@pytest.fixture
def fake_redis() -> Iterator[FakeRedis]:
    with serving(FakeRedis()) as server:
        yield server


@pytest.fixture
def fake_s3() -> Iterator[FakeS3]:
    with serving(FakeS3()) as server:
        yield server


@pytest.fixture(params=["local", "fake redis", "fake s3", "redis", "s3"])
def make_store(
    request: pytest.FixtureRequest, tmp_path: Path, clock: ManualClock
) -> Iterator[MakeStore]:
    """Return a function that makes stores of one kind, all of which share their values."""
    kind = request.param
    if kind == "local":
        config: LocalConfig | RedisConfig | S3Config = LocalConfig(path=tmp_path / "store.db")
    elif kind.endswith("redis"):
        server = request.getfixturevalue("fake_redis" if "fake" in kind else "redis_server")
        config = RedisConfig("127.0.0.1", server.port)
    else:
        server = request.getfixturevalue("fake_s3" if "fake" in kind else "s3_server")
        prefix = f"{tmp_path.name}/"
        url = f"http://127.0.0.1:{server.port}"
        config = S3Config(*KEYS, region="us-east-1", endpoint_url=url, prefix=prefix)
    made: list[Store] = []

    def make(**options: object) -> Store:
        made.append(Store(config=config, clock=clock, **options))  # type: ignore[arg-type]
        return made[-1]

    yield make
    for store in made:
        store.close()


@pytest.fixture
def store(make_store: MakeStore) -> Store:
    return make_store()


@pytest.fixture
def local(tmp_path: Path, clock: ManualClock) -> Iterator[Store]:
    store = Store(config=LocalConfig(path=tmp_path / "store.db"), clock=clock)
    yield store
    store.close()
