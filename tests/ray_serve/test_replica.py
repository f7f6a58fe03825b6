"""What a replica does when Ray starts it and asks it, without Ray."""

import asyncio
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import httpx
import pytest
from ray_serve.stand_in import pretend

from potassium import Potassium
from potassium.errors import UsageError
from potassium.ray.controller import told_to_stop
from potassium.ray.front import Front
from potassium.ray.replica import Replica
from potassium.ray.sigterm import Sigterm

APP = """
import threading

from potassium import Potassium

app = Potassium("asked")
begun, over = threading.Event(), threading.Event()


@app.handler("/work")
def work(cache, json_in: dict):
    begun.set()
    over.wait(10)
    return {}
"""


@dataclass
class Context:
    """What Ray tells a replica of itself."""

    replica_tag: str = "abc"
    deployment: str = "asked"
    app_name: str = "default"
    world_size: int | None = None


@pytest.fixture
def replica(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[Replica]:
    pretend(monkeypatch, get_replica_context=Context)
    monkeypatch.setattr("potassium.ray.replica.set_up_logging", lambda level, how: None)
    file = tmp_path / "asked_by_ray.py"
    file.write_text(APP)
    interval = sys.getswitchinterval()
    yield Replica(str(file), Sigterm())
    sys.setswitchinterval(interval)
    del sys.modules["asked_by_ray"]


async def test_it_tells_what_waits_and_what_is_busy(replica: Replica) -> None:
    """For Ray to decide how many there are."""
    front = replica.__serve_build_asgi_app__()
    assert replica.record_autoscaling_stats() == {"waiting": 0.0, "busy": 0.0}
    module = sys.modules["asked_by_ray"]
    async with lifespan(front), _client(front) as http:
        calls = [asyncio.create_task(http.post("/work", json={})) for _ in range(3)]
        await asyncio.to_thread(module.begun.wait, 10)
        told = replica.record_autoscaling_stats()
        assert told["busy"] == 1.0
        assert told["waiting"] >= 1
        module.over.set()
        await asyncio.gather(*calls)
        identity, status, body = await replica.answer(
            {"type": "http", "method": "GET", "path": "/readyz", "headers": []}
        )
    assert (identity, status) == ("abc", httpx.codes.OK)
    assert body == b'{"ready":true}'


def test_replicas_that_a_config_file_adds_do_not_keep_jobs_apart(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """Its ``deployments:`` outweigh what the app was deployed with: the replica looks again."""
    pretend(monkeypatch, get_replica_context=lambda: Context(world_size=2))
    file = tmp_path / "kept_apart.py"
    file.write_text('from potassium import Jobs, Potassium\napp = Potassium("x", jobs=Jobs())\n')
    with pytest.raises(UsageError, match=r'jobs=Jobs\(url="postgresql://'):
        Replica(str(file), Sigterm()).__serve_build_asgi_app__()


class lifespan:  # noqa: N801 - used as a function
    """Runs the lifespan of an ASGI app, as Ray does."""

    def __init__(self, app: Any) -> None:
        self._app = app
        self._said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        self._answers: asyncio.Queue[dict[str, Any]] = asyncio.Queue()

    async def __aenter__(self) -> None:
        scope: dict[str, Any] = {"type": "lifespan", "state": {}}
        self._running = asyncio.create_task(self._app(scope, self._said.get, self._answers.put))
        self._said.put_nowait({"type": "lifespan.startup"})
        assert (await self._answers.get())["type"] == "lifespan.startup.complete"

    async def __aexit__(self, *_: object) -> None:
        self._said.put_nowait({"type": "lifespan.shutdown"})
        assert (await self._answers.get())["type"] == "lifespan.shutdown.complete"
        await self._running


def _client(front: Front) -> httpx.AsyncClient:
    return httpx.AsyncClient(transport=httpx.ASGITransport(front), base_url="http://app")


@pytest.mark.parametrize("stops", [True, False])
def test_it_notices_that_ray_stops_it(monkeypatch: pytest.MonkeyPatch, *, stops: bool) -> None:
    """Ray's own part of the process knows."""
    actor = SimpleNamespace(_replica_impl=SimpleNamespace(_shutting_down=stops))
    _worker(monkeypatch, {"me": actor})
    assert told_to_stop() is stops


@pytest.mark.parametrize("actors", [{}, {"me": SimpleNamespace()}])
def test_another_ray_may_not_tell(monkeypatch: pytest.MonkeyPatch, actors: dict[str, Any]) -> None:
    """Then it stops as Ray does by itself."""
    _worker(monkeypatch, actors)
    assert told_to_stop() is False


def test_without_ray_nobody_stops_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "ray._private.worker", None)
    assert told_to_stop() is False


def _worker(patch: pytest.MonkeyPatch, actors: dict[str, Any]) -> None:
    module = ModuleType("ray._private.worker")
    core = SimpleNamespace(get_actor_id=lambda: "me")
    worker = SimpleNamespace(connected=True, actors=actors, core_worker=core)
    module.global_worker = worker  # type: ignore[attr-defined]
    patch.setitem(sys.modules, "ray._private.worker", module)


def test_an_app_that_does_not_start_is_left_to_ray() -> None:
    """Which tells why, and tries again: the process does not end by itself."""
    app = Potassium("broken")

    @app.init
    def init() -> None:
        raise OSError("no weights")

    app.handler("/work")(lambda cache, json_in: json_in)
    ended = threading.Event()

    async def start() -> None:
        from potassium.ray.watch import Watch  # noqa: PLC0415 - the rest does without it
        from potassium.serving.composition import parts_of  # noqa: PLC0415 - as above

        watch = Watch(parts_of(app).runtime, Sigterm(), end=lambda _: ended.set())
        front = Front(app, watch, replica="abc", all_of=lambda: None, metrics=None)
        said: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        said.put_nowait({"type": "lifespan.startup"})
        answers: list[Any] = []

        async def send(message: Any) -> None:
            answers.append(message["type"])

        with pytest.raises(OSError, match="no weights"):
            await front({"type": "lifespan", "state": {}}, said.get, send)
        assert answers == ["lifespan.startup.failed"]

    asyncio.run(start())
    assert not ended.is_set()
