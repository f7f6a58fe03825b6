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
