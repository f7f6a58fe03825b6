"""Streams make their steps together wherever the model is."""

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import pytest
from e2e.server import Server
from workers.modes import MODES, served

APP = """
    import time

    from potassium import Potassium, Rows, Step

    app = Potassium("steps")


    @app.init
    def init():
        return {"factor": 2}


    def forward(cache, rows):
        time.sleep(0.05)  # a call takes a second, in which others come
        return [(cache["factor"] * row, len(rows)) for row in rows]


    @app.handler(streams=8, step=forward, rows=Rows(max_size=6))
    def double(cache, item):
        number = item["n"]
        for _ in range(20):
            number, rows = yield Step(number)
            yield [number, rows]


    @app.background("/jobs", streams=8, step=forward)
    def jobs(cache, item):
        yield from double(cache, item)


    if __name__ == "__main__":
        app.serve()
"""


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    yield from served(APP, tmp_path_factory.mktemp("app"), request.param)


def chunks_of(server: Server, number: int) -> list[Any]:
    answer = server.post("/", {"n": number}, headers={"Accept": "application/x-ndjson"})
    assert answer.status_code == 200, answer.text
    return [json.loads(line) for line in answer.text.splitlines()]


def test_streams_step_together(server: Server) -> None:
    """Each has its own results, and a step as many rows as there are, up to what is allowed."""
    with ThreadPoolExecutor(12) as pool:
        calls = list(pool.map(lambda number: chunks_of(server, number), range(12)))
    for number, chunks in enumerate(calls):
        assert [value for value, _ in chunks] == [number * 2**n for n in range(1, 21)]
    sizes = [rows for chunks in calls for _, rows in chunks]
    assert 2 <= max(sizes) <= 6


def test_a_background_job_has_its_steps(server: Server) -> None:
    answer = server.post("/jobs", {"n": 1}, headers={"Prefer": "respond-async, wait=20"})
    assert answer.json()[-1] == [2**20, 1]
