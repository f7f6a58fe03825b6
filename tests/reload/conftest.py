"""Fixtures for tests of reloading."""

import gc
from collections.abc import Callable, Iterator

import pytest


@pytest.fixture(autouse=True)
def thaws(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], None]]:
    """Let a reload thaw nothing, or its collections would go through all that pytest has loaded.

    Yield a function after which it does, as it does in a server.
    """
    with monkeypatch.context() as patch:
        patch.setattr(gc, "unfreeze", lambda: None)
        yield patch.undo
    gc.freeze()
