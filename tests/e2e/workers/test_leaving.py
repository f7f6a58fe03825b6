"""Callers of worker processes who leave before they have their response."""

from pathlib import Path

from e2e.server import serve_source, wait_until
from e2e.wire import RECORD, call, events, post
from e2e.workers.processes import TIMEOUT

pytestmark = TIMEOUT

APP = (
    RECORD
    + """
from potassium import Batch, Potassium, Workers

app = Potassium("server", workers=Workers(["cpu"]))


@app.handler("/batch", batch=Batch(max_size=2))
def batch(cache, items: list[dict]) -> list:
    return [hold(item) for item in items]


if __name__ == "__main__":
    app.serve()
"""
)


def test_a_caller_who_leaves_a_batch_gives_back_its_place(tmp_path: Path, gate: Path) -> None:
    """The result that nobody waits for is dropped; the call no longer counts as queued."""
    with serve_source(APP, tmp_path) as server:
        with server.connect() as connection:
            connection.sendall(post("/batch", call("left", gate)))
            wait_until(lambda: events(server, "left starts"), "the call begins")
        wait_until(lambda: server.status()["counts"]["cancelled"], "the server hears of it")
        gate.touch()
        wait_until(lambda: server.status()["queue"]["length"] == 0, "nothing is queued")
        answer = server.post("/batch", call("next", gate))
        assert (answer.status_code, answer.json()) == (200, "next")
        assert "Traceback" not in server.log()
