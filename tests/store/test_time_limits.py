"""A store that does not answer costs its callers a limited time, and a clear error."""

import asyncio
import contextlib
import logging
import socket
import sqlite3
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support.stores import FakeRedis, FakeS3, Process, black_hole, started

from potassium.store import LocalConfig, RedisConfig, S3Config, Store, StoreUnavailable
from potassium.store.bounded import Bounded

LIMIT = 0.2  # seconds
PATIENCE = 5.0  # far more than any of it takes; a hang would take for ever


@pytest.fixture
def hole() -> Iterator[int]:
    with black_hole() as port:
        yield port


def unanswering(kind: str, port: int, timeout: float = LIMIT) -> Store:
    """Return a store whose server is at a port."""
    config: RedisConfig | S3Config = RedisConfig("127.0.0.1", port)
    if kind == "s3":
        config = S3Config("id", "secret", "bucket", endpoint_url=f"http://127.0.0.1:{port}")
    return Store(config=config, timeout=timeout)


@pytest.mark.parametrize("kind", ["redis", "s3"])
async def test_a_server_that_never_answers_is_given_up(kind: str, hole: int) -> None:
    """By each method, in its time; the loop runs on meanwhile."""
    store = unanswering(kind, hole)
    began = time.monotonic()
    for operation in (
        asyncio.to_thread(store.get, "key"),
        asyncio.to_thread(store.set, "key", 1),
        asyncio.to_thread(store.delete, "key"),
        store.aget("key"),
        store.aset("key", 1),
        store.adelete("key"),
    ):
        with pytest.raises(StoreUnavailable) as caught:
            await operation
        assert caught.value.status == 503
        assert caught.value.headers == {}  # the handler has begun: whoever retries must know it
    assert time.monotonic() - began < PATIENCE
    store.close()


@pytest.mark.parametrize("kind", ["redis", "s3"])
def test_a_server_that_is_not_there_is_an_error_at_once(kind: str) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    store = unanswering(kind, port, timeout=60.0)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable, match="not available") as caught:
        store.get("key")
    assert time.monotonic() - began < PATIENCE
    assert caught.value.__cause__ is not None
    store.close()


@contextlib.contextmanager
def dripping() -> Iterator[int]:
    """Yield the port of a server that sends a byte now and then: no limit of a read ends that."""
    is_over = threading.Event()
    server = socket.create_server(("127.0.0.1", 0))
    server.settimeout(0.02)

    def drip() -> None:
        connections: list[socket.socket] = []
        while not is_over.is_set():
            with contextlib.suppress(TimeoutError):
                connections.append(server.accept()[0])
            for one in connections:
                with contextlib.suppress(OSError):
                    one.sendall(b"+")
        for one in connections:
            one.close()

    thread = threading.Thread(target=drip)
    thread.start()
    try:
        yield int(server.getsockname()[1])
    finally:
        is_over.set()
        thread.join()
        server.close()


async def test_a_server_that_drips_is_given_up() -> None:
    """By async code, too."""
    with dripping() as port:
        store = unanswering("redis", port)
        for operation in (asyncio.to_thread(store.get, "key"), store.aget("key")):
            with pytest.raises(StoreUnavailable):
                await asyncio.wait_for(operation, PATIENCE)
        store.close()


def test_a_name_server_that_never_answers_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A lookup cannot be cancelled; it keeps one of the store's threads, and not the caller."""
    answered = threading.Event()

    def getaddrinfo(*arguments: object, **options: object) -> object:
        answered.wait(PATIENCE)
        raise socket.gaierror(socket.EAI_AGAIN, "no name server")

    monkeypatch.setattr(socket, "getaddrinfo", getaddrinfo)
    store = Store(config=RedisConfig("redis.example"), timeout=LIMIT)
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.get("key")
    assert time.monotonic() - began < PATIENCE
    answered.set()
    store.close()


def test_a_server_that_stands_still_is_given_up_and_found_again(redis_server: Process) -> None:
    """A real Redis, stopped with SIGSTOP, as by a debugger or a host that swaps."""
    check_still("redis", redis_server)


def test_an_s3_that_stands_still_is_given_up_and_found_again() -> None:
    """The same of a server of S3."""
    tests = str(Path(__file__).parent.parent)
    code = (
        f"import sys; sys.path.insert(0, {tests!r}); from support.stores import FakeS3; "
        "FakeS3(int(sys.argv[1])).serve_forever()"
    )
    with started([sys.executable, "-c", code]) as process:
        check_still("s3", process)


def check_still(kind: str, process: Process) -> None:
    store, patient = (unanswering(kind, process.port, timeout) for timeout in (LIMIT, 60.0))
    patient.set("key", 1)
    process.stop()
    began = time.monotonic()
    with pytest.raises(StoreUnavailable):
        store.get("key")
    assert time.monotonic() - began < PATIENCE
    process.go_on()
    assert patient.get("key") == 1
    deadline = time.monotonic() + 20.0
    while True:
        with contextlib.suppress(StoreUnavailable):
            assert store.get("key") == 1
            break
        assert time.monotonic() < deadline
    for one in (store, patient):
        one.close()


def test_a_connection_that_was_closed_meanwhile_is_replaced(fake_redis: FakeRedis) -> None:
    """As when Redis was restarted: the next call succeeds."""
    store = Store(config=RedisConfig("127.0.0.1", fake_redis.port))
    store.set("key", 1)
    fake_redis.drop_connections()
    assert store.get("key") == 1
    store.close()


def test_a_connection_that_is_closed_instead_of_an_answer_is_replaced(
    fake_redis: FakeRedis,
) -> None:
    """As by a proxy that ends idle ones at this very moment. The operation is sent once more."""
    store = Store(config=RedisConfig("127.0.0.1", fake_redis.port))
    fake_redis.drops = 1
    store.set("key", 1)
    assert store.get("key") == 1
    fake_redis.drops = 2
    with pytest.raises(StoreUnavailable):
        store.get("key")
    store.close()


def test_more_calls_than_threads_are_all_given_up_in_time(hole: int) -> None:
    """Those that were not even begun, too."""
    store = unanswering("redis", hole)
    late: list[float] = []

    def call() -> None:
        began = time.monotonic()
        with pytest.raises(StoreUnavailable):
            store.get("key")
        late.append(time.monotonic() - began)

    threads = [threading.Thread(target=call) for _ in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(late) == 40
    assert max(late) < PATIENCE
    store.close()


async def test_a_call_that_is_cancelled_ends_at_once(hole: int) -> None:
    store = Store(config=RedisConfig("127.0.0.1", hole), timeout=PATIENCE)
    task = asyncio.create_task(store.aget("key"))
    await asyncio.sleep(0.01)
    task.cancel()
    began = time.monotonic()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert time.monotonic() - began < PATIENCE / 2
    store.close()


def test_a_file_that_another_process_writes_for_long_is_given_up(tmp_path: Path) -> None:
    config = LocalConfig(path=tmp_path / "a.db")
    store, patient = Store(config=config, timeout=LIMIT), Store(config=config, timeout=60.0)
    patient.set("key", 1)
    other = sqlite3.connect(tmp_path / "a.db", isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    with pytest.raises(StoreUnavailable):
        store.set("key", 2)
    assert patient.get("key") == 1  # readers do not wait for writers
    other.execute("ROLLBACK")
    other.close()
    patient.set("other", 3)  # what was given up may still be written, under its own key
    assert patient.get("other") == 3
    for one in (store, patient):
        one.close()


@pytest.mark.parametrize(
    "answer", [b"-NOAUTH Authentication required.\r\n", b"-NOPERM no permissions\r\n"]
)
def test_what_a_server_refuses_is_an_error(
    fake_redis: FakeRedis, answer: bytes, caplog: pytest.LogCaptureFixture
) -> None:
    """Its reason is on the log."""
    fake_redis.refuses = answer
    store = Store(config=RedisConfig("127.0.0.1", fake_redis.port))
    with pytest.raises(StoreUnavailable):
        store.get("key")
    assert answer.decode().split()[1] in caplog.messages[0]
    store.close()


def test_credentials_that_are_wrong_in_s3_are_an_error(
    fake_s3: FakeS3, caplog: pytest.LogCaptureFixture
) -> None:
    fake_s3.status = 403
    store = unanswering("s3", fake_s3.port)
    for operation in (lambda: store.get("key"), lambda: store.set("key", 1)):
        with pytest.raises(StoreUnavailable):
            operation()
    assert "403 Forbidden" in caplog.messages[0]
    store.close()


def test_a_bucket_that_does_not_exist_is_an_error(s3_server: Process) -> None:
    """Not an empty one."""
    url = f"http://127.0.0.1:{s3_server.port}"
    store = Store(config=S3Config("id", "secret", "nowhere", region="eu-west-1", endpoint_url=url))
    for operation in (lambda: store.get("key"), lambda: store.set("key", 1)):
        with pytest.raises(StoreUnavailable):
            operation()
    store.close()


def test_an_outage_is_logged_once_and_so_is_its_end(
    fake_redis: FakeRedis, caplog: pytest.LogCaptureFixture
) -> None:
    """With the place and the reason, and without what clients have sent."""
    store = Store(config=RedisConfig("127.0.0.1", fake_redis.port, password="hunter2"))  # noqa: S106
    for _ in range(2):
        fake_redis.refuses = b"-LOADING Redis is loading the dataset in memory\r\n"
        for _ in range(3):
            with pytest.raises(StoreUnavailable):
                store.set("a secret key", "a secret value")
        fake_redis.refuses = None
        for _ in range(3):
            store.get("a secret key")
    place = f"the store in Redis at 127.0.0.1:{fake_redis.port}"
    assert len(caplog.records) == 4
    assert caplog.messages[0].startswith(f"{place} fails: ")
    assert "loading the dataset" in caplog.messages[0]
    assert caplog.messages[1::2] == [f"{place} answers again"] * 2
    assert {record.levelno for record in caplog.records} == {logging.WARNING}
    assert "secret" not in caplog.text
    assert "hunter2" not in caplog.text
    store.close()


def test_the_error_says_nothing_of_where_the_store_is(hole: int) -> None:
    """Clients get its text."""
    store = unanswering("redis", hole)
    with pytest.raises(StoreUnavailable) as caught:
        store.get("a secret key")
    assert str(caught.value) == "The store that the handler uses is not available at the moment."
    store.close()


class Recording:
    """A backend that has a mistake, and notes that it was closed."""

    threads = 2
    place = "nowhere"
    faults: tuple[type[Exception], ...] = (OSError,)

    def __init__(self) -> None:
        self.is_closed = threading.Event()

    def get(self, key: str) -> bytes:
        raise KeyError(key)

    def set(self, key: str, data: bytes, ttl: float | None) -> None: ...
    def delete(self, key: str) -> None: ...

    def close(self) -> None:
        self.is_closed.set()


def test_an_error_that_is_not_the_servers_is_not_hidden() -> None:
    """A mistake in the program is no outage."""
    bounded = Bounded(Recording(), LIMIT)
    with pytest.raises(KeyError):
        bounded.run(lambda backend: backend.get("key"))
    bounded.close()


def test_closing_disconnects_and_ends_the_threads() -> None:
    backend = Recording()
    bounded = Bounded(backend, LIMIT)
    before = set(threading.enumerate())
    bounded.run(lambda backend: backend.delete("key"))
    threads = set(threading.enumerate()) - before
    bounded.close()
    with pytest.raises(StoreUnavailable):  # of a thread that had it in its hands
        bounded.run(lambda backend: backend.delete("key"))
    assert backend.is_closed.wait(PATIENCE)
    for thread in threads:
        thread.join(PATIENCE)
    assert threads
    assert not any(thread.is_alive() for thread in threads)
