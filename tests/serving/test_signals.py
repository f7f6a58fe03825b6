"""Noticing the signals that stop a server."""

import asyncio
import os
import signal
import threading

import pytest

from potassium.serving.signals import before_signals


@pytest.fixture(autouse=True)
def _handlers_are_as_before() -> object:
    before = {sig: signal.getsignal(sig) for sig in (signal.SIGINT, signal.SIGTERM)}
    yield
    assert {sig: signal.getsignal(sig) for sig in before} == before


@pytest.mark.parametrize("sig", [signal.SIGINT, signal.SIGTERM])
async def test_a_signal_is_heard_and_the_servers_own_handler_called(sig: signal.Signals) -> None:
    """Both the callback and the handler that was there before are called."""
    heard, handled = asyncio.Event(), []
    before = signal.signal(sig, lambda number, _: handled.append(number))
    try:
        with before_signals(heard.set):
            signal.raise_signal(sig)
            assert handled == [sig]
            async with asyncio.timeout(5):
                await heard.wait()
    finally:
        signal.signal(sig, before)


async def test_a_second_signal_ends_the_process_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """The process ends, whatever the server does with the second signal or waits for."""
    exits: list[int] = []
    monkeypatch.setattr(os, "_exit", exits.append)
    before = signal.signal(signal.SIGTERM, lambda *_: None)
    try:
        with before_signals(lambda: None):
            signal.raise_signal(signal.SIGTERM)
            assert exits == []
            signal.raise_signal(signal.SIGTERM)
            assert exits == [128 + signal.SIGTERM]
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_signal_that_nobody_handles_is_left_alone() -> None:
    """If the default is to end the process, it stays that way."""
    before = signal.signal(signal.SIGTERM, signal.SIG_DFL)
    try:
        with before_signals(lambda: None):
            assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
    finally:
        signal.signal(signal.SIGTERM, before)


async def test_a_handler_that_was_set_meanwhile_stays() -> None:
    """A handler that somebody else has put in place of ours is not removed."""

    def ours(*_: object) -> None: ...
    def theirs(*_: object) -> None: ...

    before = signal.signal(signal.SIGTERM, ours)
    try:
        with before_signals(lambda: None):
            signal.signal(signal.SIGTERM, theirs)
        assert signal.getsignal(signal.SIGTERM) is theirs
    finally:
        signal.signal(signal.SIGTERM, before)


def test_outside_of_the_main_thread_nothing_is_changed() -> None:
    """Signals belong to the main thread."""
    before = signal.getsignal(signal.SIGINT)
    seen = []

    async def main() -> None:
        with before_signals(lambda: None):
            seen.append(signal.getsignal(signal.SIGINT))

    thread = threading.Thread(target=lambda: asyncio.run(main()))
    thread.start()
    thread.join()
    assert seen == [before]
