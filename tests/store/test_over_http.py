"""Stores in handlers of every kind, over HTTP."""

import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest
from e2e.server import Start
from support.stores import black_hole

from potassium import Potassium
from potassium.store import LocalConfig, RedisConfig, Store, StoreUnavailable
from potassium.testing import client

if TYPE_CHECKING:
    import httpx


@pytest.fixture
def shared(tmp_path: Path) -> Store:
    return Store(config=LocalConfig(path=tmp_path / "store.db"))


async def test_handlers_of_every_kind_share_a_store(
    app: Potassium, shared: Store, caplog: pytest.LogCaptureFixture
) -> None:
    """On the GPU thread, in the pool, and on the loop; nothing is said, and nothing blocks."""
    prepared: list[str] = []

    def prepare(cache: dict[str, object], json_in: dict[str, str]) -> dict[str, object]:
        prepared.append(threading.current_thread().name)
        return {"key": json_in["key"], "seen": shared.get(json_in["key"])}

    @app.handler("/embed", prepare=prepare)
    def embed(cache: dict[str, object], item: dict[str, object]) -> dict[str, object]:
        if item["seen"] is None:
            shared.set(str(item["key"]), np.arange(3.0))
        return {"thread": threading.current_thread().name, "hit": item["seen"] is not None}

    @app.handler("/look")
    async def look(cache: dict[str, object], json_in: dict[str, str]) -> object:
        return await shared.aget(json_in["key"])

    async with client(app) as http:
        answers = [(await http.post("/embed", json={"key": "a"})).json() for _ in range(2)]
        looked = await http.post("/look", json={"key": "a"})
    assert answers == [
        {"thread": "potassium-gpu", "hit": False},
        {"thread": "potassium-gpu", "hit": True},
    ]
    assert looked.json() == [0.0, 1.0, 2.0]
    assert set(prepared) == {"potassium-pool"}
    assert [line for line in caplog.messages if "store" in line] == []
    shared.close()


async def test_a_call_whose_store_does_not_answer_gets_503_and_the_next_one_runs(
    app: Potassium,
) -> None:
    """The GPU thread is free again once the time limit is over."""
    with black_hole() as port:
        store = Store(config=RedisConfig("127.0.0.1", port), timeout=0.2)

        @app.handler("/store")
        def use(cache: dict[str, object], json_in: dict[str, object]) -> object:
            return store.get("key")

        @app.handler("/plain")
        def plain(cache: dict[str, object], json_in: dict[str, object]) -> str:
            return threading.current_thread().name

        async with client(app) as http:
            began = time.monotonic()
            failed = await http.post("/store", json={})
            worked = await http.post("/plain", json={})
            took = time.monotonic() - began
        store.close()
    assert failed.status_code == 503
    assert "retry-after" not in failed.headers
    problem = failed.json()
    assert problem["code"] == "store_unavailable"
    assert problem["detail"] == "The store that the handler uses is not available at the moment."
    assert worked.json() == "potassium-gpu"
    assert took < 10.0


async def test_a_handler_may_go_on_without_its_store(app: Potassium) -> None:
    with black_hole() as port:
        store = Store(config=RedisConfig("127.0.0.1", port), timeout=0.05)

        @app.handler
        def handler(cache: dict[str, object], json_in: dict[str, object]) -> str:
            try:
                return str(store.get("key"))
            except StoreUnavailable:
                return "computed anew"

        async with client(app) as http:
            assert (await http.post("/", json={})).json() == "computed anew"
        store.close()


async def test_a_mistake_is_not_shown_to_the_client(app: Potassium, shared: Store) -> None:
    """It is the handler's: 500, and the log says what to write."""

    @app.handler
    def handler(cache: dict[str, object], json_in: dict[str, object]) -> None:
        shared.set("secret", object())

    async with client(app) as http:
        response = await http.post("/", json={})
    assert (response.status_code, response.json()["code"]) == (500, "handler_error")
    assert "secret" not in response.text
    shared.close()


APP = """
from potassium import Potassium, Request, Response
from potassium.store import Store

app = Potassium("server")
store = Store()

@app.handler("/set")
def set_value(context: dict, request: Request) -> Response:
    store.set(request.json["key"], request.json["value"], ttl=60)
    return Response(json={"ok": True})

@app.handler("/get")
def get_value(context: dict, request: Request) -> Response:
    return Response(json={"value": store.get(request.json["key"])})

if __name__ == "__main__":
    app.serve()
"""


def test_values_outlive_the_server(start: Start) -> None:
    """A real server process ends at once although its store is open, and says nothing of it."""
    server = start(APP)
    assert server.post("/get", {"key": "a"}).json() == {"value": None}
    assert server.post("/set", {"key": "a", "value": [1]}).json() == {"ok": True}
    server.process.terminate()
    assert server.process.wait(20) == 0
    assert "left behind" not in server.log()
    again = start(APP)
    answer: httpx.Response = again.post("/get", {"key": "a"})
    assert answer.json() == {"value": [1]}
