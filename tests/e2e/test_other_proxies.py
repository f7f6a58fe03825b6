"""Real proxies with the lines that the documentation has for them, in front of a real server."""

import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx
import pytest
from e2e.server import Start, free_port, wait_until
from support.nginx import leaving

PAGE = Path(__file__).parent.parent.parent / "docs" / "proxies.md"

SOURCE = """
import time
from pathlib import Path

from potassium import Potassium, Request

app = Potassium("server", metrics=True)

@app.handler
def handler(cache, request: Request):
    return {"id": request.headers["x-request-id"]}

@app.handler("/stream")
def stream(cache, json_in):
    for number in range(3):
        while not Path(f"chunk-{number}").exists():
            time.sleep(0.01)
        yield f"chunk {number}"

@app.handler("/wait")
def wait(cache, request: Request):
    Path("begun").touch()
    try:
        while True:
            request.raise_if_cancelled()
            time.sleep(0.01)
    finally:
        Path("left").touch()

@app.handler("/upload", body_size=64 << 20)
def upload(cache, request: Request):
    with request.open() as file:
        return {"size": file.seek(0, 2)}

app.serve()
"""


def program(name: str) -> str:
    """Return the path of a proxy; skip the test if it is not installed."""
    found = shutil.which(name) or shutil.which(name, path="/usr/sbin")
    if found is None:
        missing = f"{name} is not installed (Debian: apt-get install {name})"
        if os.environ.get("DEPLOY") == "required":
            pytest.fail(missing)
        pytest.skip(missing)
    return found


def lines_for(name: str, folder: Path, port: int, server: int) -> list[str]:
    """Write the lines of the page, with the addresses replaced; return how to run the proxy."""
    (text,) = re.findall(rf"```{name}\n(.*?)```", PAGE.read_text("utf-8"), re.DOTALL)
    text = text.replace("127.0.0.1:8000", f"127.0.0.1:{server}")
    if name == "caddy":
        text = text.replace(" 127.0.0.1:8001", "").replace(
            "models.example.com", f"http://127.0.0.1:{port}"
        )
        text = "{\n    admin off\n}\n" + text
        command = ["run", "--adapter", "caddyfile", "--config"]
    else:
        text = "".join(line for line in text.splitlines(keepends=True) if "gpu1" not in line)
        text = text.replace("bind :80", f"bind 127.0.0.1:{port}")
        command = ["-db", "-f"]
    file = folder / f"{name}.conf"
    file.write_text(text)
    return [program(name), *command, str(file)]


@contextmanager
def proxied(name: str, folder: Path, server: int) -> Iterator[httpx.Client]:
    """Run a proxy in front of the server at this port."""
    port = free_port()
    command = lines_for(name, folder, port, server)
    environ = {**os.environ, "XDG_DATA_HOME": str(folder), "XDG_CONFIG_HOME": str(folder)}
    with (folder / f"{name}.log").open("wb") as log:
        process = subprocess.Popen(command, stdout=log, stderr=log, env=environ)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=20, trust_env=False) as http:

        def is_ready() -> bool:
            assert process.poll() is None, (folder / f"{name}.log").read_text()
            try:
                return http.get("/readyz").status_code == httpx.codes.OK
            except httpx.TransportError:
                return False

        try:
            wait_until(is_ready, f"{name} has found the server")
            yield http
        finally:
            process.terminate()
            process.wait(20)


@pytest.fixture(params=["caddy", "haproxy"])
def http(request: pytest.FixtureRequest, start: Start, tmp_path: Path) -> Iterator[httpx.Client]:
    program(request.param)  # before anything is started
    server = start(SOURCE)
    with proxied(request.param, tmp_path, server.port) as client:
        yield client


def test_a_stream_arrives_chunk_by_chunk(http: httpx.Client, tmp_path: Path) -> None:
    """Each chunk is there before the next one is made."""
    (tmp_path / "chunk-0").touch()
    with http.stream("POST", "/stream", json={}, timeout=5) as response:
        pieces = response.iter_text()
        for number in range(3):
            assert next(pieces) == f"chunk {number}"
            (tmp_path / f"chunk-{number + 1}").touch()


def test_caddy_notices_a_client_that_leaves(start: Start, tmp_path: Path) -> None:
    """Its call is called off. HAProxy does not always tell the server."""
    program("caddy")
    server = start(SOURCE)
    with proxied("caddy", tmp_path, server.port) as http:
        with leaving(http.base_url.port or 0, "/wait", b"{}"):
            wait_until((tmp_path / "begun").exists, "the call runs")
        wait_until((tmp_path / "left").exists, "the call was called off", seconds=10)


def test_an_upload_of_tens_of_megabytes_passes(http: httpx.Client) -> None:
    assert http.post("/upload", content=b"x" * (48 << 20)).json() == {"size": 48 << 20}


def test_a_request_has_one_id_all_the_way(http: httpx.Client) -> None:
    own = http.post("/", json={}, headers={"X-Request-Id": "mine"})
    assert (own.json()["id"], own.headers.get_list("x-request-id")) == ("mine", ["mine"])


def test_metrics_are_not_for_everybody(http: httpx.Client) -> None:
    assert http.get("/metrics").status_code == 404
