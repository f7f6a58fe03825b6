"""What a store promises, wherever it keeps its values."""

import asyncio
import threading
from typing import Any

import numpy as np
import pytest
from support.stores import MakeStore, ManualClock

from potassium.store import Store

VALUES = [
    "text with ünicode \U0001f34c",
    "",
    0,
    2**80,
    1.5,
    True,
    None,
    [],
    [1, [2, {"a": [None]}]],
    {"some": {"nested": "dict"}},
]
KEYS = [
    "a",
    "user:17",
    "a/b",
    "with space",
    "ü",
    "a%2Fb",
    "a?b#c&d+e",
    "{a}[b]~^`|\\'\"*",
    "k" * 1024,
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
def test_a_value_comes_back_as_it_was(store: Store, value: Any) -> None:
    store.set("key", value)
    assert store.get("key") == value


@pytest.mark.parametrize("key", KEYS)
def test_a_key_is_any_printable_text(store: Store, key: str) -> None:
    """Each is a key of its own."""
    key = key[: 1024 - 64]  # of which S3 takes some for the test's prefix
    store.set("other", "other")
    store.set(key, key)
    assert (store.get(key), store.get("other")) == (key, "other")
    assert store.get(f"{key}x") is None


@pytest.mark.parametrize("make_store", ["local", "fake redis", "redis"], indirect=True)
@pytest.mark.parametrize("key", ["a\nb", "a\x7f", "/a//b/", ".."])
def test_outside_of_s3_a_key_is_any_text(store: Store, key: str) -> None:
    store.set(key, 1)
    assert store.get(key) == 1


def test_what_was_never_set_is_none(store: Store) -> None:
    assert store.get("missing") is None


def test_a_new_value_takes_the_place_of_the_old_one(store: Store) -> None:
    store.set("key", "a long value", ttl=None)
    store.set("key", 1)
    assert store.get("key") == 1


def test_what_is_deleted_is_none(store: Store) -> None:
    """To delete it again is no error."""
    store.set("key", 1)
    store.delete("key")
    store.delete("key")
    assert store.get("key") is None


def test_another_store_sees_the_values(make_store: MakeStore) -> None:
    """Of another server, for one."""
    make_store().set("key", [1])
    assert make_store().get("key") == [1]


def test_arrays_come_back_as_arrays(store: Store) -> None:
    store.set("key", {"vectors": np.arange(6.0).reshape(2, 3), "label": "cat"})
    value = store.get("key")
    assert value["label"] == "cat"
    np.testing.assert_array_equal(value["vectors"], np.arange(6.0).reshape(2, 3))


def test_a_megabyte_comes_back(store: Store) -> None:
    store.set("key", "x" * 2**20)
    assert store.get("key") == "x" * 2**20


async def test_async_methods_do_the_same(store: Store) -> None:
    await store.aset("key", {"a": [1]}, ttl=60)
    assert await store.aget("key") == {"a": [1]}
    await store.adelete("key")
    assert await store.aget("key") is None


async def test_many_calls_at_a_time_do_not_mix(store: Store) -> None:
    async def one(number: int) -> bool:
        await store.aset(f"key-{number}", number)
        return bool(await store.aget(f"key-{number}") == number)

    assert all(await asyncio.gather(*(one(number) for number in range(100))))


def test_threads_do_not_mix(store: Store) -> None:
    wrong: list[int] = []

    def work(number: int) -> None:
        for turn in range(20):
            store.set(f"key-{number}", [number, turn])
            if store.get(f"key-{number}") != [number, turn]:
                wrong.append(number)

    threads = [threading.Thread(target=work, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_a_closed_store_opens_again(store: Store) -> None:
    store.set("key", 1)
    store.close()
    store.close()
    assert store.get("key") == 1


@pytest.mark.parametrize("make_store", ["local", "fake s3", "s3"], indirect=True)
def test_a_value_expires(store: Store, clock: ManualClock) -> None:
    """To the second; in 600 seconds if nothing is said, and never with None."""
    store.set("short", 1, ttl=1.5)
    store.set("default", 2)
    store.set("never", 3, ttl=None)
    clock.now += 1.4
    assert store.get("short") == 1
    clock.now += 0.2
    assert store.get("short") is None
    clock.now += 598
    assert store.get("default") == 2
    clock.now += 1
    assert store.get("default") is None
    clock.now += 10**8
    assert store.get("never") == 3


@pytest.mark.parametrize("make_store", ["local", "fake s3", "s3"], indirect=True)
def test_a_new_value_has_a_time_of_its_own(store: Store, clock: ManualClock) -> None:
    store.set("key", 1, ttl=1)
    store.set("key", 2, ttl=None)
    clock.now += 10
    assert store.get("key") == 2
