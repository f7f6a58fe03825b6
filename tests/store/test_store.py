"""What a store checks, says and leaves alone, wherever it keeps its values."""

import logging
import os
import pickle
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from support.stores import FakeRedis, FakeS3, ManualClock

from potassium import UsageError
from potassium.store import LocalConfig, RedisConfig, S3Config, Store

# Newer versions of Python warn of forks in processes with threads, which is what is tried here.
FORKS = pytest.mark.filterwarnings("ignore:.*multi-threaded.*:DeprecationWarning")


class Point:
    """A class of an app's own, which JSON does not know."""

    def __init__(self, x: int) -> None:
        self.x = x


@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("", "a key is text, and not empty"),
        (7, "a key is text, and not empty; not int"),
        (b"key", "not bytes"),
        ("k" * 1025, "the key has 1025 bytes; it may have 1024. Hash it."),
        ("ü" * 513, "the key has 1026 bytes"),
        ("\ud800", "half of a surrogate pair"),
        ("a\0b", "NUL"),
    ],
)
async def test_an_invalid_key_is_refused_everywhere(local: Store, key: Any, why: str) -> None:
    for refused in (local.get, local.delete):
        with pytest.raises(UsageError, match=why):
            refused(key)
    with pytest.raises(UsageError, match=why):
        local.set(key, 1)
    for refused_async in (local.aget(key), local.adelete(key), local.aset(key, 1)):
        with pytest.raises(UsageError, match=why):
            await refused_async


@pytest.mark.parametrize("key", ["/a", "a/", "a//b", "./a", "a/../b", "..", "a\nb"])
def test_s3_refuses_keys_that_it_would_take_for_others(fake_s3: FakeS3, key: str) -> None:
    store = Store(config=S3Config("id", "secret", "bucket", endpoint_url=url(fake_s3)))
    with pytest.raises(UsageError, match="keys in S3 must be printable"):
        store.set(key, 1)
    store.close()


@pytest.mark.parametrize("ttl", [0, -1, True, "60", float("nan"), float("inf"), 1e300])
async def test_an_invalid_ttl_is_refused(local: Store, ttl: Any) -> None:
    with pytest.raises(UsageError, match="ttl"):
        local.set("key", 1, ttl=ttl)
    with pytest.raises(UsageError, match="ttl"):
        await local.aset("key", 1, ttl=ttl)
    assert await local.aget("key") is None


def test_the_third_argument_is_the_ttl(local: Store, clock: ManualClock) -> None:
    """As Potassium 0.5 has it: store.set("key", "value", 60)."""
    local.set("key", "value", 60)
    clock.now += 61
    assert local.get("key") is None


async def test_a_value_that_is_too_large_is_refused(tmp_path: Path) -> None:
    """The message has its size, and the option; nothing is stored."""
    store = Store(config=LocalConfig(path=tmp_path / "a.db"), max_size=10)
    store.set("key", "x" * 8)
    for _ in range(2):
        with pytest.raises(UsageError, match=r"has 11 bytes, and Store\(max_size=...\) allows 10"):
            store.set("key", "y" * 9)
    with pytest.raises(UsageError, match="has 11 bytes"):
        await store.aset("key", "y" * 9)
    assert await store.aget("key") == "x" * 8
    store.close()


@pytest.mark.parametrize(
    ("options", "form"),
    [
        ({"backend": "memory"}, "write Store"),
        ({"backend": "redis"}, r"RedisConfig\(host=\"localhost\", port=6379\)"),
        ({"backend": "s3"}, r"S3Config\(bucket=\"name\"\)"),
        ({"backend": "redis", "config": LocalConfig()}, "RedisConfig"),
        ({"backend": "local", "config": RedisConfig()}, "LocalConfig"),
        ({"config": {"host": "localhost"}}, "write Store"),
        ({"timeout": 0}, r"Store\(timeout\)=0 must be a number of seconds"),
        ({"max_size": 1.5}, r"Store\(max_size\)=1.5"),
    ],
)
def test_an_invalid_option_is_refused_at_once(options: Any, form: str) -> None:
    with pytest.raises(UsageError, match=form):
        Store(**options)


@pytest.mark.parametrize(
    ("config", "options", "why"),
    [
        (LocalConfig, {"path": ""}, "write the name of a file"),
        (LocalConfig, {"encoding": "yaml"}, 'write "json" or "pickle"'),
        (RedisConfig, {"host": ""}, "write a name or an address"),
        (RedisConfig, {"port": "http"}, "write a number, such as 6379"),
        (RedisConfig, {"port": 65536}, "write a number, such as 6379"),
        (RedisConfig, {"db": "0"}, "write a number, such as 0"),
        (RedisConfig, {"password": b"a"}, "write text, or None"),
        (S3Config, {}, "write the name of a bucket"),
        (S3Config, {"bucket": "a", "aws_access_key_id": "a"}, "give both, or neither"),
        (S3Config, {"bucket": "a", "endpoint_url": "localhost:9000"}, "an http or https URL"),
        (S3Config, {"bucket": "a", "prefix": None}, "write text"),
    ],
)
def test_an_invalid_configuration_is_refused_at_once(config: Any, options: Any, why: str) -> None:
    with pytest.raises(UsageError, match=why):
        config(**options)


def test_secrets_are_not_shown() -> None:
    """Neither by the repr of a configuration, nor by the message about one."""
    configs = RedisConfig(password="hunter2"), S3Config("id", "hunter2", "bucket")  # noqa: S106
    assert "hunter2" not in repr(configs)


@pytest.mark.parametrize("config", [RedisConfig, S3Config])
def test_pickle_is_refused_over_a_network(config: Any) -> None:
    """Whoever can write there could run code here. Who knows that can allow it."""
    options = {"bucket": "a"} if config is S3Config else {}
    with pytest.raises(UsageError, match=r"unpickling runs code.*add allow_pickle=True"):
        config(**options, encoding="pickle")
    assert config(**options, encoding="pickle", allow_pickle=True).encoding == "pickle"


def test_pickle_stores_any_value(tmp_path: Path, fake_redis: FakeRedis) -> None:
    """In the form that it has in Potassium 0.5: as pickle writes it, and nothing else."""
    local = Store(config=LocalConfig(path=tmp_path / "a.db", encoding="pickle"))
    pickled = RedisConfig("127.0.0.1", fake_redis.port, encoding="pickle", allow_pickle=True)
    for store in (local, Store(config=pickled)):
        store.set("key", {"point": Point(3), 4: {5}})
        value = store.get("key")
        assert (value["point"].x, value[4]) == (3, {5})
        with pytest.raises(UsageError, match="cannot be pickled"):
            store.set("key", lambda: None)
        store.close()
    assert pickle.loads(fake_redis.values[b"key"][0])[4] == {5}  # noqa: S301 - our own


def test_a_store_reads_what_potassium_0_5_wrote(fake_redis: FakeRedis) -> None:
    """And the other way round: JSON under the key itself, with Redis's own expiry."""
    store = Store(backend="redis", config=RedisConfig("127.0.0.1", str(fake_redis.port)))
    fake_redis.values[b"old"] = b'{"a": [1, 2.5, "\\u00e9"]}', None
    assert store.get("old") == {"a": [1, 2.5, "é"]}
    store.set("new", {"a": [1]})
    store.set("exact", 1, ttl=0.25)
    store.set("kept", 1, ttl=None)
    assert fake_redis.values[b"new"] == (b'{"a":[1]}', 600_000)
    assert fake_redis.values[b"exact"] == (b"1", 250)
    assert fake_redis.values[b"kept"] == (b"1", None)
    store.close()


@pytest.mark.parametrize("data", [b"", b"\x80\x04N.", b"{", b"12345678" + b"\0" * 8, b"\0" * 16])
async def test_what_something_else_wrote_is_an_error(fake_redis: FakeRedis, data: bytes) -> None:
    """It says so, rather than return something; and nothing is unpickled."""
    fake_redis.values[b"key"] = data, None
    store = Store(config=RedisConfig("127.0.0.1", fake_redis.port))
    with pytest.raises(UsageError, match="was not written with encoding='json'"):
        await store.aget("key")
    store.close()


def test_constructing_a_store_does_no_io(tmp_path: Path) -> None:
    """Nor does it import a library: an app may do it when it is imported."""
    code = """
import sys, threading
from potassium.store import *
def audit(event, arguments):
    if event.split(".")[0] in ("socket", "sqlite3") or event == "os.mkdir":
        raise SystemExit(f"{event} {arguments}")
sys.addaudithook(audit)
stores = Store(), Store(config=RedisConfig("10.0.0.1")), Store(config=S3Config(bucket="a"))
assert threading.active_count() == 1
loaded = {"redis", "obstore", "sqlite3", "numpy", "torch", "safetensors", "httpx", "pydantic"}
assert not loaded & set(sys.modules), loaded & set(sys.modules)
"""
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert (done.returncode, done.stderr, list(tmp_path.iterdir())) == (0, "", [])


def test_an_app_without_a_store_imports_nothing_of_it() -> None:
    code = "import sys, potassium.app; assert 'potassium.store' not in sys.modules"
    subprocess.run([sys.executable, "-c", code], check=True)


@pytest.mark.parametrize("imports", ["import potassium.store; ", ""])
def test_the_schema_has_the_code_of_a_store_if_there_may_be_one(imports: str) -> None:
    """Clients that are made of it need not know what cannot happen."""
    code = imports + (
        "from potassium import Potassium; app = Potassium(); "
        "app.handler(lambda cache, item: None); print('store_unavailable' in str(app.openapi()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == f"{bool(imports)}\n"


@pytest.mark.parametrize(("library", "extra"), [("redis", "redis"), ("obstore", "s3")])
def test_a_missing_client_is_named_at_once(
    monkeypatch: pytest.MonkeyPatch, library: str, extra: str
) -> None:
    monkeypatch.setattr("potassium.store.store.find_spec", lambda name: None)
    config = RedisConfig() if extra == "redis" else S3Config(bucket="a")
    with pytest.raises(UsageError, match=rf'pip install "potassium\[{extra}\]"'):
        Store(config=config)


async def test_a_blocking_method_on_the_event_loop_works_and_is_said_once(
    local: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """The line names what to write. The methods for async code say nothing."""
    await local.aset("key", 1)
    assert await local.aget("key") == 1
    assert caplog.messages == []
    assert local.get("key") == 1
    local.set("key", 2)
    local.delete("key")
    (line,) = caplog.messages
    assert "write await store.aget(...)" in line
    assert caplog.records[0].levelno == logging.WARNING


def test_a_blocking_method_on_a_thread_says_nothing(
    local: Store, caplog: pytest.LogCaptureFixture
) -> None:
    local.set("key", 1)
    assert caplog.messages == []


@FORKS
@pytest.mark.parametrize("make_store", ["local", "fake redis", "redis"], indirect=True)
def test_a_forked_process_has_its_own_connections(make_store: Any) -> None:
    """Both go on with the store, after both have used it."""
    store = make_store()
    store.set("parent", 1)
    child = os.fork()
    if child == 0:
        try:
            store.set("child", store.get("parent") + 1)
            os._exit(0)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert (store.get("parent"), store.get("child")) == (1, 2)


@FORKS
def test_a_forked_process_is_told_that_s3_does_not_go_on(fake_s3: FakeS3) -> None:
    """Its client would wait for ever. A store that was not used before the fork works."""
    used, unused = (
        Store(config=S3Config("id", "secret", "bucket", endpoint_url=url(fake_s3)))
        for _ in range(2)
    )
    used.set("key", 1)
    child = os.fork()
    if child == 0:
        try:
            used.get("key")
        except UsageError as error:
            os._exit(0 if "Use the store only after the fork" in str(error) else 2)
        finally:
            os._exit(1)
    assert os.waitpid(child, 0)[1] == 0
    assert used.get("key") == 1
    used.close()
    unused.close()


def url(server: FakeS3) -> str:
    return f"http://127.0.0.1:{server.port}"
