"""What is special about values in a real Redis."""

import subprocess
import time

import pytest
from support.stores import Process, started

from potassium.store import RedisConfig, Store, StoreUnavailable


@pytest.fixture
def port(redis_server: Process) -> int:
    return redis_server.port


def test_the_configuration_is_that_of_potassium_0_5(port: int) -> None:
    """By name and in order; the port may be text."""
    config = RedisConfig(
        host="localhost", port=6379, username=None, password=None, db=0, encoding="json"
    )
    assert config == RedisConfig("localhost", 6379, None, None, 0, "json")
    store = Store(backend="redis", config=RedisConfig(host="localhost", port=str(port)))
    store.set("key", "value", ttl=60)
    assert store.get("key") == "value"
    store.close()


def test_redis_expires_values(port: int) -> None:
    store = Store(config=RedisConfig("127.0.0.1", port))
    store.set("short", 1, ttl=0.02)
    store.set("long", 2)
    deadline = time.monotonic() + 10
    while store.get("short") is not None:
        assert time.monotonic() < deadline
    assert store.get("long") == 2
    store.close()


def test_databases_are_apart(port: int) -> None:
    first, second = (Store(config=RedisConfig("127.0.0.1", port, db=db)) for db in (0, 1))
    first.set("key", 1)
    assert second.get("key") is None
    for store in (first, second):
        store.close()


def test_a_unix_socket_is_a_host(redis_server: Process) -> None:
    store = Store(config=RedisConfig(str(redis_server.folder / "redis.sock")))
    store.set("key", 1)
    assert store.get("key") == 1
    store.close()


def test_users_and_passwords_are_used(redis_server: Process) -> None:
    command = ["redis-server", "--save", "", "--bind", "127.0.0.1", "--requirepass", "hunter2"]
    command += ["--user", "alice", "on", ">wonderland", "~*", "+@all", "--port"]
    with started(command) as server:
        for credentials in (
            {"password": "hunter2"},
            {"username": "alice", "password": "wonderland"},
        ):
            store = Store(config=RedisConfig("127.0.0.1", server.port, **credentials))  # type: ignore[arg-type]
            store.set("key", 1)
            assert store.get("key") == 1
            store.close()
        for credentials in ({}, {"password": "wrong"}, {"username": "bob", "password": "hunter2"}):
            store = Store(config=RedisConfig("127.0.0.1", server.port, **credentials))  # type: ignore[arg-type]
            with pytest.raises(StoreUnavailable):
                store.get("key")
            store.close()


def test_a_full_redis_is_an_error_and_reads_go_on(redis_server: Process) -> None:
    store = Store(config=RedisConfig("127.0.0.1", redis_server.port))
    store.set("key", 1)
    command = ["redis-cli", "-p", str(redis_server.port), "config", "set", "maxmemory", "1mb"]
    subprocess.run(command, check=True, capture_output=True)
    with pytest.raises(StoreUnavailable):
        store.set("large", "x" * 2**20)
    assert store.get("key") == 1
    store.close()
