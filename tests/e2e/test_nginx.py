"""A real nginx, with the files in ``deploy/nginx``, in front of real servers."""

import signal
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest
from e2e.server import Server, Start, error, serve_source, wait_until
from support.nginx import Proxy, lay_out, leaving, nginx, proxied

SOURCE = """
import os
import time
from pathlib import Path

from potassium import Jobs, Limits, Potassium, Request

limits = Limits(grace_period=20)
app = Potassium("server", limits=limits, jobs=Jobs(path=None), metrics=True)

@app.handler
def handler(cache, request: Request):
    return {
        "server": os.getpid(),
        "host": request.headers["host"],
        "client": request.client,
        "id": request.headers["x-request-id"],
        "connection": request.headers.get("connection"),
    }

@app.handler("/wait")
def wait(cache, request: Request):
    Path(f"begun-{request.json['name']}").touch()
    try:
        while not Path("gate").exists():
            request.raise_if_cancelled()
            time.sleep(0.01)
    except BaseException:
        Path(f"left-{request.json['name']}").touch()
        raise
    return {"done": True}

@app.handler("/stream")
def stream(cache, json_in):
    for number in range(3):
        while not Path(f"chunk-{number}").exists():
            time.sleep(0.01)
        yield f"chunk {number}"

@app.handler("/upload", body_size=64 << 20)
def upload(cache, request: Request):
    with request.open() as file:
        size = 0
        while piece := file.read(1 << 20):
            size += len(piece)
    return {"size": size}

@app.handler("/large")
def large(cache, json_in):
    return b"x" * (32 << 20)

@app.background("/train")
def train(cache, json_in):
    return json_in

app.serve(root_path=os.environ.get("ROOT", ""))
"""
SSE = {"Accept": "text/event-stream"}


@pytest.fixture
def server(start: Start) -> Server:
    nginx()  # before anything is started: the test is skipped without it
    return start(SOURCE)


@pytest.fixture
def proxy(server: Server, tmp_path: Path) -> Iterator[Proxy]:
    with proxied(tmp_path / "nginx", server.port) as running:
        yield running


@pytest.fixture
def http(proxy: Proxy) -> Iterator[httpx.Client]:
    with proxy.client() as client:
        yield client


def test_nginx_takes_the_files(tmp_path: Path) -> None:
    main = lay_out(tmp_path / "nginx", 8080, [8000, 8001])
    done = subprocess.run([nginx(), "-t", "-c", main], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert "[warn]" not in done.stderr


def test_a_stream_arrives_chunk_by_chunk(http: httpx.Client, tmp_path: Path) -> None:
    """Each chunk is there before the next one is made, also where nginx compresses everything."""
    (tmp_path / "chunk-0").touch()  # the response begins with it
    with http.stream("POST", "/stream", json={}, headers=SSE, timeout=5) as response:
        assert response.headers["content-type"].startswith("text/event-stream")
        assert response.headers["content-encoding"] == "gzip"
        chunks = (line for line in response.iter_lines() if line.startswith("data: chunk"))
        for number in range(3):
            assert next(chunks) == f"data: chunk {number}"
            (tmp_path / f"chunk-{number + 1}").touch()


def test_a_client_that_leaves_is_noticed(proxy: Proxy, tmp_path: Path) -> None:
    """Its call is called off, as without nginx."""
    with leaving(proxy.port, "/wait", b'{"name": "it"}'):
        wait_until((tmp_path / "begun-it").exists, "the call runs")
    wait_until((tmp_path / "left-it").exists, "the call was called off", seconds=10)


def test_the_server_knows_the_client_and_the_host(http: httpx.Client) -> None:
    """What a client says of its own address is dropped."""
    forged = {"X-Forwarded-For": "203.0.113.7", "Host": "models.example"}
    seen = http.post("/", json={}, headers=forged).json()
    assert seen["host"] == "models.example"
    assert "203.0.113.7" not in str(seen["client"])


def test_a_request_has_one_id_all_the_way(http: httpx.Client, name: str) -> None:
    """The client's own, or one of nginx's."""
    own = http.post("/", json={}, headers={"X-Request-Id": name})
    assert (own.json()["id"], own.headers.get_list("x-request-id")) == (name, [name])
    given = http.post("/", json={})
    assert len(given.json()["id"]) == 32
    assert given.headers.get_list("x-request-id") == [given.json()["id"]]


def test_connections_to_the_server_are_kept(http: httpx.Client, server: Server) -> None:
    """A call does not open one for itself."""
    ports = {http.post("/", json={}).json()["connection"] for _ in range(3)}
    assert ports <= {None, "", "keep-alive"}
    assert server_connections(server) == 1


def server_connections(server: Server) -> int:
    """Return how many established connections the server has, as the kernel lists them."""
    lines = Path("/proc/net/tcp").read_text().splitlines()[1:]
    local = f":{server.port:04X}"
    established = "01"
    return sum(line.split()[1].endswith(local) and line.split()[3] == established for line in lines)


def test_an_upload_of_tens_of_megabytes_passes(http: httpx.Client, proxy: Proxy) -> None:
    """nginx keeps none of it on its disk."""
    size = 48 << 20
    assert http.post("/upload", content=b"x" * size).json() == {"size": size}
    assert "buffered to a temporary file" not in (proxy.folder / "error.log").read_text()


def test_a_body_that_is_too_large_is_refused_by_the_server(http: httpx.Client) -> None:
    """In its own form, before it has arrived; the limit of the handler counts."""
    large = http.post("/upload", content=b"x" * (65 << 20))
    assert error(large) == (413, "body_too_large")
    declared = {"Content-Type": "application/json"}
    assert error(http.post("/", content=b"x" * (11 << 20), headers=declared)) == (
        413,
        "body_too_large",
    )


def test_a_large_response_passes(http: httpx.Client, proxy: Proxy) -> None:
    """Through memory alone."""
    assert len(http.post("/large", json={}).content) == 32 << 20
    assert "buffered to a temporary file" not in (proxy.folder / "error.log").read_text()


def test_a_drain_lets_calls_end(
    server: Server, proxy: Proxy, tmp_path: Path, pool: ThreadPoolExecutor, gate: Path
) -> None:
    """A call that runs at SIGTERM is answered; a new one is refused, and then there is nobody."""
    name = "one"

    def post(path: str, body: dict[str, str]) -> httpx.Response:
        with proxy.client() as http:
            return http.post(path, json=body)

    call = pool.submit(post, "/wait", {"name": name})
    wait_until((tmp_path / f"begun-{name}").exists, "the call runs")
    server.process.send_signal(signal.SIGTERM)
    wait_until(lambda: post("/", {}).status_code == 503, "new calls are refused")
    assert error(post("/", {})) == (503, "draining")
    gate.touch()
    assert call.result().status_code == 200
    assert server.process.wait(10) == 0
    assert post("/", {}).status_code == 502


def test_a_server_that_is_away_gets_no_calls(tmp_path: Path) -> None:
    """They go to another one; also those that are not to be repeated, as they were never sent."""
    nginx()
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with (
        serve_source(SOURCE, folders[0]) as one,
        serve_source(SOURCE, folders[1]) as two,
        proxied(tmp_path / "nginx", one.port, two.port) as proxy,
        proxy.client() as http,
    ):
        both = {http.post("/", json={}).json()["server"] for _ in range(8)}
        assert both == {one.process.pid, two.process.pid}
        one.stop(signal.SIGTERM)
        answers = [http.post("/", json={}) for _ in range(8)]
    assert {answer.json()["server"] for answer in answers} == {two.process.pid}


def test_a_call_is_never_sent_twice(tmp_path: Path, pool: ThreadPoolExecutor, name: str) -> None:
    """If its server dies while it runs, the client is told (502), and no other server runs it."""
    nginx()
    folders = [tmp_path / name for name in ("one", "two")]
    for folder in folders:
        folder.mkdir()
    with (
        serve_source(SOURCE, folders[0]) as one,
        serve_source(SOURCE, folders[1]) as two,
        proxied(tmp_path / "nginx", one.port, two.port) as proxy,
        proxy.client() as http,
    ):
        call = pool.submit(http.post, "/wait", json={"name": name})
        begun = [folder / f"begun-{name}" for folder in folders]
        wait_until(lambda: any(file.exists() for file in begun), "the call runs")
        first = next(at for at, file in enumerate(begun) if file.exists())
        (one, two)[first].process.kill()
        assert call.result().status_code == 502
        assert [file.exists() for file in begun].count(True) == 1


def test_everything_works_below_a_path(start: Start, tmp_path: Path) -> None:
    """Calls, the page, the schema, health, the status, and the job that Location leads to."""
    nginx()
    server = start(SOURCE, env={"ROOT": "/model"})
    with proxied(tmp_path / "nginx", server.port) as proxy, proxy.client() as http:
        assert http.post("/model/", json={}).status_code == 200
        assert http.get("/model/_k/status").json()["state"] == "ready"
        assert http.get("/model/readyz").json() == {"ready": True}
        schema = http.get("/model/openapi.json").json()
        assert schema["servers"] == [{"url": "/model"}]
        page = http.get("/model", headers={"Accept": "text/html"}, follow_redirects=True)
        (script,) = {part.split('"')[0] for part in page.text.split('src="')[1:]}
        assert http.get(page.url.join(script)).status_code == 200
        accepted = http.post("/model/train", json={"a": 1})
        assert accepted.headers["location"].startswith("/model/jobs/")
        job = http.get(accepted.headers["location"], headers={"Prefer": "wait=5"}).json()
        assert job["output"] == {"a": 1}


@pytest.mark.parametrize("path", ["/metrics", "/model/metrics"])
def test_metrics_are_not_for_everybody(http: httpx.Client, server: Server, path: str) -> None:
    """Only the server itself shows them."""
    assert server.get("/metrics").status_code == 200
    assert http.get(path).status_code == 404
