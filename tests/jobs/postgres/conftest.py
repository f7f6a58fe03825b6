"""Servers that share a database, and a proxy between them and it."""

from collections.abc import AsyncIterator

import pytest
from support import postgres
from support.postgres_proxy import Proxy, proxied
from support.postgres_servers import Servers

from potassium.jobs.postgres import connections, lane, news
from potassium.jobs.postgres import servers as leases


@pytest.fixture
async def proxy() -> AsyncIterator[Proxy]:
    async with proxied(postgres.server().folder) as proxy:
        yield proxy


@pytest.fixture
async def servers(proxy: Proxy) -> AsyncIterator[Servers]:
    servers = Servers()
    yield servers
    proxy.come_back()
    await servers.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(connections, "PATIENCE", 2.0)
    monkeypatch.setattr(lane, "AGAIN", 0.02)
    monkeypatch.setattr(news, "RECONNECT", 0.05)
    monkeypatch.setattr(leases, "BEAT", 0.1)
