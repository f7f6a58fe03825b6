"""How many jobs of which handlers are claimed ahead."""

from typing import Any

from potassium import Batch, Potassium, Request
from potassium.jobs.lanes import MOST_AHEAD, lanes_of


def new_app() -> Potassium:
    app = Potassium("test")

    @app.background("/plain")
    def plain(cache: dict[str, Any], request: Request) -> None: ...

    @app.background("/other")
    def other(cache: dict[str, Any], request: Request) -> None: ...

    @app.background("/batch", batch=Batch(max_size=8, max_delay=0.0))
    def batch(cache: dict[str, Any], items: list[Any]) -> list[Any]:
        return items

    @app.background("/async", concurrency=3)
    async def on_loop(cache: dict[str, Any], request: Request) -> None: ...

    return app


def lanes_by(app: Potassium, *, workers: int) -> dict[str, Any]:
    lanes = lanes_of(app._parts.handlers.values(), workers=workers)
    return {path: lane for lane in lanes for path in lane.handlers}


def test_jobs_of_async_handlers_have_no_workers() -> None:
    """They run on the loop of the server, which does not survive what they do."""
    for workers in (0, 1, 2):
        lanes = lanes_by(new_app(), workers=workers)
        found = {path for path, lane in lanes.items() if lane.has_workers}
        assert found == ({"/plain", "/other", "/batch"} if workers else set())


def test_each_worker_gets_a_job_or_a_batch() -> None:
    """Long jobs run one on each worker at a time; an async handler has its own limit."""
    for workers in (0, 1, 2, 5):
        places = max(1, workers)
        lanes = lanes_by(new_app(), workers=workers)
        assert lanes["/plain"] is lanes["/other"]
        assert [lanes["/plain"].room(0, claimed, 1.0) for claimed in (0, places)] == [places, 0]
        assert lanes["/batch"].room(0, 0, 0.0) == 8 * places
        assert lanes["/batch"].room(8 * places, 8 * places, 0.0) == 0
        assert lanes["/async"].room(0, 0, 1.0) == 3


def test_short_jobs_are_claimed_ahead_for_each_worker() -> None:
    """As many as all of them run in the same time."""
    app = new_app()
    for handler in app._parts.handlers.values():
        for _ in range(99):
            handler.operation.service_time.add(1e-5)
    rooms = [lanes_by(app, workers=workers)["/plain"].room(0, 0, 0.0) for workers in (0, 1, 3)]
    assert rooms == [MOST_AHEAD, MOST_AHEAD, 3 * MOST_AHEAD]
