"""Responses with workers: each is on the wire as in one process, Starlette's among them."""

import os
import re
import signal
import socket
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from e2e.server import Server, serve_source, wait_until
from support.worker_processes import wait_until_no_file_is_open, workers_of

SOURCE = """
import asyncio
import os
import time
from pathlib import Path

from starlette.background import BackgroundTask
from starlette.responses import (
    FileResponse,
    HTMLResponse,
    JSONResponse,
    RedirectResponse,
    StreamingResponse,
)

from potassium import Potassium, Request, Response

app = Potassium("responses", workers=None if "ONE" in os.environ else ["cpu", "cpu"])
HERE = Path(__file__).parent


def note(text):
    with (HERE / "notes").open("a") as log:
        log.write(f"{text} {os.getpid()}\\n")


def fail():
    raise ValueError("in the background")


async def pieces(name, count, size=10, pause=0.0, fails=None):
    try:
        for number in range(count):
            if number == fails:
                raise ValueError("in the middle")
            note(f"{name} made")
            yield b"%d" % (number % 10) * size
            await asyncio.sleep(pause)
    finally:
        note(f"{name} closed")


class Unfinished(StreamingResponse):
    async def __call__(self, scope, receive, send):
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"half", "more_body": True})


class Late(StreamingResponse):
    async def __call__(self, scope, receive, send):
        raise ValueError("before it has begun")


def later(name):
    async def run():
        while not (HERE / name).exists():
            await asyncio.sleep(0.005)
        note(f"{name} done")

    return BackgroundTask(run)


KINDS = {
    "plain": lambda at: {"a": 1},
    "none": lambda at: None,
    "text": lambda at: "text",
    "bytes": lambda at: b"\\x00\\xff",
    "created": lambda at: Response(201, json={"a": 1}, headers={"X-A": "1"}),
    "cookies": lambda at: Response(headers=[("Set-Cookie", "a=1"), ("Set-Cookie", "b=2")]),
    "no-content": lambda at: Response(204),
    "not-modified": lambda at: Response(304, headers={"ETag": '"a"'}),
    "not-json": lambda at: {object()},
    "html": lambda at: HTMLResponse("<p>"),
    "redirect": lambda at: RedirectResponse("/elsewhere"),
    "json": lambda at: JSONResponse({"b": 2}, status_code=202),
    "file": lambda at: FileResponse(__file__, filename="app.txt"),
    "missing": lambda at: FileResponse("/nowhere"),
    "unfinished": lambda at: Unfinished(None),
    "late": lambda at: Late(None),
    "stream": lambda at: StreamingResponse(
        pieces("stream", 3), status_code=203, media_type="text/x-a", headers={"X-B": "2"}
    ),
    "own-length": lambda at: StreamingResponse(pieces("l", 2), headers={"Content-Length": "20"}),
    "large": lambda at: StreamingResponse(pieces("large", 30, 1_000_000)),
    "empty": lambda at: StreamingResponse(pieces("empty", 0)),
    "fails": lambda at: StreamingResponse(pieces("fails", 3, fails=2)),
    "fails-at-once": lambda at: StreamingResponse(pieces("fails", 3, fails=0)),
    "background": lambda at: HTMLResponse("now", background=BackgroundTask(note, "ran")),
    "failing-background": lambda at: HTMLResponse("now", background=BackgroundTask(fail)),
    "slow-background": lambda at: StreamingResponse(iter(["now"]), background=later("slow")),
    "reads-later": lambda at: HTMLResponse("now", background=BackgroundTask(read_later, at)),
    "slow": lambda at: StreamingResponse(pieces("slow", 1000, pause=0.05)),
    "flood": lambda at: StreamingResponse(pieces("flood", 10_000, 100_000)),
    "body": lambda at: StreamingResponse(iter_body(at)),
    "pid": lambda at: StreamingResponse(iter([str(os.getpid())])),
}


async def read_later(request):
    while not (HERE / "late").exists():
        await asyncio.sleep(0.005)
    with request.open() as body:
        note(f"{len(body.read())} bytes read late")


def iter_body(request):
    with request.open() as body:
        while piece := body.read(1_000_000):
            yield piece


def handler_of(kind):
    def handler(cache, request: Request):
        return KINDS[kind](request)

    return handler


for kind in KINDS:
    app.handler(f"/{kind}")(handler_of(kind))


@app.background("/job/file")
def job_file(cache, json_in):
    return FileResponse(__file__, media_type="text/plain")


@app.background("/job/json")
def job_json(cache, json_in):
    return StreamingResponse(iter(['{"a":', "1}"]), media_type="application/json")


if __name__ == "__main__":
    app.serve()
"""
SAME = [
    "plain",
    "none",
    "text",
    "bytes",
    "created",
    "cookies",
    "no-content",
    "not-modified",
    "not-json",
    "html",
    "redirect",
    "json",
    "file",
    "missing",
    "late",
    "stream",
    "own-length",
    "large",
    "empty",
    "background",
    "failing-background",
]
BROKEN = ["unfinished", "fails", "fails-at-once"]
VARYING = {"date", "x-request-id", "last-modified", "etag", "server"}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("responses")


@pytest.fixture(scope="module")
def server(folder: Path) -> Iterator[Server]:
    with serve_source(SOURCE, folder) as server:
        yield server


@pytest.fixture(scope="module")
def alone(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """The same app in one process."""
    folder = tmp_path_factory.mktemp("alone")
    with serve_source(SOURCE, folder, env={"ONE": "1", "POTASSIUM_WORKERS": ""}) as server:
        yield server


def notes(folder: Path, text: str) -> list[int]:
    """Return the processes that have noted ``text``, once for each time."""
    log = folder / "notes"
    found = re.findall(rf"^{text} (\d+)$", log.read_text() if log.exists() else "", re.MULTILINE)
    return [int(pid) for pid in found]


def on_the_wire(response: httpx.Response) -> Any:
    headers = [pair for pair in response.headers.multi_items() if pair[0] not in VARYING]
    content = re.sub(rb'"request_id":"[^"]*"', b"", response.content)
    sizes = [pair for pair in headers if pair[0] != "content-length"]
    is_problem = "problem" in response.headers.get("content-type", "")
    return response.status_code, sorted(sizes if is_problem else headers), content


@pytest.mark.parametrize("kind", SAME)
def test_a_response_is_the_same_as_in_one_process(server: Server, alone: Server, kind: str) -> None:
    """Status, headers and body."""
    given = on_the_wire(server.post(f"/{kind}", {}))
    assert given == on_the_wire(alone.post(f"/{kind}", {}))


@pytest.mark.parametrize("kind", BROKEN)
def test_a_response_that_breaks_off_is_seen_to(server: Server, kind: str) -> None:
    """Its connection is cut, as the client cannot be told otherwise; others go on."""
    with pytest.raises(httpx.RemoteProtocolError):
        server.post(f"/{kind}", {})
    assert server.post("/plain", {}).json() == {"a": 1}


def test_a_response_runs_in_the_worker(server: Server, folder: Path) -> None:
    """With what it does afterwards."""
    assert int(server.post("/pid", {}).text) in workers_of(server)
    server.post("/background", {})
    wait_until(lambda: notes(folder, "ran"), "the background task")
    assert notes(folder, "ran")[-1] in workers_of(server)


def test_nobody_waits_for_the_background_task_of_a_response(server: Server, folder: Path) -> None:
    with server.client() as http:
        assert http.post("/slow-background", json={}).text == "now"
    assert not notes(folder, "slow done")
    (folder / "slow").touch()
    wait_until(lambda: notes(folder, "slow done"), "the background task")


def test_a_client_that_leaves_ends_the_response_in_the_worker(server: Server, folder: Path) -> None:
    with server.client() as http, http.stream("POST", "/slow", json={}) as response:
        assert next(response.iter_raw()) == b"0" * 10
    wait_until(lambda: notes(folder, "slow closed"), "its end", seconds=2)


def test_a_client_that_reads_nothing_holds_the_response_back(server: Server, folder: Path) -> None:
    """The worker makes what the buffers on the way hold, and goes on when the client does."""
    connection = server.connect()
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 64 * 1024)
    connection.sendall(b"POST /flood HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
    made = _at_rest(folder)
    assert 0 < made < 200  # of 10 000, with 100 000 bytes each
    read = 0
    while read < 30_000_000:
        read += len(connection.recv(1_000_000))
    assert _at_rest(folder) > made
    connection.close()
    wait_until(lambda: notes(folder, "flood closed"), "its end", seconds=2)


def _at_rest(folder: Path) -> int:
    """Return how many pieces are made once no more are."""
    last = [-1, 0.0]

    def rests() -> bool:
        made = len(notes(folder, "flood made"))
        if made != last[0]:
            last[:] = made, time.monotonic()
        return made > 0 and time.monotonic() > last[1] + 0.3

    wait_until(rests, "no more is made")
    return int(last[0])


def test_a_response_may_read_the_body_of_its_request(server: Server) -> None:
    """Also one on disk, until it has ended."""
    content = os.urandom(3_000_000)
    headers = {"Content-Type": "application/octet-stream"}
    assert server.post("/body", content=content, headers=headers).content == content
    wait_until_no_file_is_open(server)


def test_a_background_task_may_read_the_body_of_its_request(server: Server, folder: Path) -> None:
    """Which is closed once that has ended, not once the client has its response."""
    headers = {"Content-Type": "application/octet-stream"}
    assert server.post("/reads-later", content=b"x" * 3_000_000, headers=headers).text == "now"
    server.post("/plain", {})
    (folder / "late").touch()
    wait_until(lambda: notes(folder, "3000000 bytes read late"), "the background task", seconds=5)
    wait_until_no_file_is_open(server)


def test_a_worker_that_dies_cuts_its_response_off(server: Server) -> None:
    with server.client() as http, http.stream("POST", "/slow", json={}) as response:
        pieces = response.iter_raw()
        next(pieces)
        for pid in workers_of(server):
            os.kill(pid, signal.SIGKILL)
        with pytest.raises(httpx.RemoteProtocolError):
            list(pieces)
    wait_until(lambda: server.post("/plain", {}).status_code == 200, "the next worker")


@pytest.mark.parametrize(("job", "result"), [("file", None), ("json", b'{"a":1}')])
def test_the_response_of_a_background_job_is_its_result(
    server: Server, folder: Path, job: str, result: bytes | None
) -> None:
    path = server.post(f"/job/{job}", {}).headers["location"]
    wait_until(lambda: server.get(path).json()["status"] == "succeeded", "the job is done")
    expected = (folder / "app.py").read_bytes() if result is None else result
    assert server.get(f"{path}/output").content == expected
