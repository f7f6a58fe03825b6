"""Looking up host names."""

import asyncio
import socket
import threading

import pytest

import potassium.webhooks.resolver
from potassium.webhooks.resolver import Resolver


async def test_a_name_has_addresses() -> None:
    """All addresses of a name are returned, each once."""
    addresses = await Resolver().addresses("localhost")
    assert set(addresses) <= {"127.0.0.1", "::1"}
    assert len(addresses) == len(set(addresses)) > 0


async def test_an_address_is_its_own() -> None:
    """A numeric address needs no name server."""
    assert await Resolver().addresses("::1") == ["::1"]


@pytest.mark.parametrize("name", ["no.such.invalid", "a" * 64 + ".com", "a..b", "", "\0"])
async def test_a_name_without_addresses_raises(name: str) -> None:
    """Whatever is wrong with a name, OSError is raised."""
    with pytest.raises(OSError, match=r"\w"):
        await Resolver().addresses(name)


async def test_slow_name_servers_hold_nobody_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """While a name server does not answer, other lookups and the loop's own threads go on."""
    go = threading.Event()
    real = socket.getaddrinfo

    def look_up(name: str, *args: object, **options: object) -> object:
        if name == "slow.example":
            go.wait(10)
        return real("127.0.0.1", None, type=socket.SOCK_STREAM)

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    names = Resolver()
    slow = [asyncio.create_task(names.addresses("slow.example")) for _ in range(40)]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(5):
            assert await names.addresses("quick.example") == ["127.0.0.1"]
            assert await asyncio.to_thread(int) == 0
    finally:
        go.set()
    await asyncio.gather(*slow)


class SlowNames:
    """Name servers that answer once ``go`` is set, except for ``quick.test``."""

    def __init__(self, patch: pytest.MonkeyPatch) -> None:
        self.go = threading.Event()
        self.asked: list[str] = []
        self._real = socket.getaddrinfo
        patch.setattr(socket, "getaddrinfo", self._look_up)

    def _look_up(self, name: str, *_: object, **__: object) -> object:
        self.asked.append(name)
        if name != "quick.test":
            self.go.wait(10)
        if name == "nobody.test":
            raise socket.gaierror(socket.EAI_NONAME, "no such name")
        return self._real("127.0.0.1", None, type=socket.SOCK_STREAM)


async def test_slow_names_of_one_domain_leave_room(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many names somebody has under a domain, there is a thread for other names."""
    slow, names = SlowNames(monkeypatch), Resolver()
    asking = [
        asyncio.create_task(names.addresses(f"{number}.{domain}.test"))
        for domain in "abc"
        for number in range(100)
    ]
    await asyncio.sleep(0)
    try:
        async with asyncio.timeout(5):
            assert await names.addresses("quick.test") == ["127.0.0.1"]
    finally:
        slow.go.set()
    await asyncio.gather(*asking)
    assert len(slow.asked) == 301


async def test_who_asks_for_the_same_name_shares_its_lookup(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """All get its answer, also if one of them has left; the next one asks anew."""
    slow, names = SlowNames(monkeypatch), Resolver()
    first, *others = [asyncio.create_task(names.addresses("a.test")) for _ in range(100)]
    failing = [asyncio.create_task(names.addresses("nobody.test")) for _ in range(2)]
    await asyncio.sleep(0)
    first.cancel()
    slow.go.set()
    assert await asyncio.gather(*others) == [["127.0.0.1"]] * 99
    for task in failing:
        with pytest.raises(socket.gaierror, match="no such name"):
            await task
    assert sorted(slow.asked) == ["a.test", "nobody.test"]
    await names.addresses("a.test")
    assert len(slow.asked) == 3


async def test_lookups_are_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only a few threads look up names, even if all callers have left."""
    monkeypatch.setattr(potassium.webhooks.resolver, "MOST_AT_ONCE", 2)
    go = threading.Event()
    begun: list[str] = []

    def look_up(name: str, *args: object, **options: object) -> list[object]:
        begun.append(name)
        go.wait(10)
        return []

    monkeypatch.setattr(socket, "getaddrinfo", look_up)
    names = Resolver()
    for number in range(2):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.01):
                await names.addresses(f"{number}.example")
    waiting = asyncio.create_task(names.addresses("2.example"))
    await asyncio.sleep(0.01)
    assert begun == ["0.example", "1.example"]
    go.set()
    with pytest.raises(OSError, match="no address"):
        await waiting


async def test_no_thread_is_no_address(monkeypatch: pytest.MonkeyPatch) -> None:
    """If the system cannot start a thread, the lookup fails, and the next one is free to try."""
    monkeypatch.setattr(potassium.webhooks.resolver, "MOST_AT_ONCE", 1)
    names = Resolver()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", _no_thread)
        for _ in range(2):
            with pytest.raises(OSError, match="no thread"):
                await names.addresses("localhost")
    assert await names.addresses("localhost")


def _no_thread(_: threading.Thread) -> None:
    raise RuntimeError("can't start new thread")
