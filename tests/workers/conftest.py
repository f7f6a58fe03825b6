"""The app with real workers that some tests here look at."""

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
from support.watched import Switch, new_app

from potassium.testing import client

HERE = Path(__file__).parent
LONGEST = 180  # seconds; servers with workers start, perhaps on a slow machine


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Give the tests here the time that several processes take to start."""
    for item in items:
        if HERE in item.path.parents and item.get_closest_marker("timeout") is None:
            item.add_marker(pytest.mark.timeout(LONGEST))


@pytest.fixture
def gate(tmp_path: Path) -> Switch:
    """Return the file that handlers of the watched app wait for."""
    return Switch(tmp_path / "gate")


@pytest.fixture
def broken(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Switch:
    """Return the file that makes ``init`` fail in workers that start from now on."""
    monkeypatch.setenv("HOLD", str(tmp_path / "hold"))
    monkeypatch.setenv("BROKEN", str(tmp_path / "broken"))
    return Switch(tmp_path / "broken")


@pytest.fixture
def hold(tmp_path: Path, broken: Switch) -> Switch:
    """Return the file that ``init`` waits for to be gone."""
    return Switch(tmp_path / "hold")


@pytest.fixture
async def watched(hold: Switch, gate: Switch) -> AsyncIterator[httpx.AsyncClient]:
    """Yield a client of an app with two workers; at the end, all of them go on."""
    async with client(new_app(), workers=True) as http:
        yield http
        gate.on()
        hold.off()
