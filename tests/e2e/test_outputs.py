"""Results that are files, over real sockets."""

import subprocess
from collections.abc import Iterator
from pathlib import Path

import httpx
import PIL.Image
import pytest
from e2e.server import Server, serve_source

SOURCE = """
import asyncio

import numpy
import PIL.Image
from starlette.responses import FileResponse, StreamingResponse

from potassium import Jobs, Potassium, Response

app = Potassium("server", jobs=Jobs())


@app.handler("/picture")
def picture(cache, json_in):
    return PIL.Image.effect_noise((64, 48), 50)


@app.handler("/array")
def array(cache, json_in):
    return numpy.arange(1_000_000, dtype="float32")


@app.handler("/frames")
def frames(cache, json_in):
    for shade in range(5):
        yield PIL.Image.new("L", (640, 480), shade)


@app.handler("/file")
def file(cache, json_in):
    return FileResponse(json_in["path"], headers={"X-Model": "a"})


@app.handler("/silent")
def silent(cache, json_in):
    async def chunks():
        try:
            yield b"x" * 1000
            await asyncio.Event().wait()
        finally:
            print("the stream was left", flush=True)

    return StreamingResponse(chunks())


@app.handler("/cut")
def cut(cache, json_in):
    async def chunks():
        yield b"x" * 1000
        raise ValueError("no")

    return StreamingResponse(chunks())


@app.background("/bytes")
def data(cache, json_in):
    return bytes(range(256)) * 20_000


if __name__ == "__main__":
    app.serve()
"""


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("outputs")) as server:
        yield server


def test_curl_saves_a_picture(server: Server, tmp_path: Path) -> None:
    """Without base64, and without an option but the name of the file."""
    command = ["curl", "-sS", "--fail", f"{server.url}/picture", "--json", "{}", "-H", "Accept:"]
    subprocess.run([*command, "-o", tmp_path / "a.png"], check=True, timeout=20)
    with PIL.Image.open(tmp_path / "a.png") as image:
        assert (image.format, image.size) == ("PNG", (64, 48))


def test_an_array_arrives_whole(server: Server) -> None:
    """In the form that is asked for."""
    got = server.post("/array", {}, headers={"Accept": "application/x-npy"})
    assert got.content[:6] == b"\x93NUMPY"
    assert len(got.content) == 4_000_128


def test_a_film_arrives_frame_by_frame(server: Server) -> None:
    """Each part is a picture."""
    got = server.post("/frames", {}, headers={"Accept": "multipart/x-mixed-replace"})
    assert got.content.count(b"\r\nContent-Type: image/jpeg\r\n") == 5
    assert got.content.endswith(b"\r\n--frame--\r\n")


def test_a_large_file_is_sent_and_not_loaded(server: Server, tmp_path: Path) -> None:
    """The server's memory does not grow by its size."""
    with (tmp_path / "large.bin").open("wb") as file:
        file.truncate(300_000_000)
    server.post("/file", {"path": __file__})
    before, got = server.peak_memory(), 0
    with server.client() as http:
        asked = {"path": str(tmp_path / "large.bin")}
        with http.stream("POST", "/file", json=asked) as response:
            assert response.headers["x-model"] == "a"
            assert response.headers["content-length"] == "300000000"
            for piece in response.iter_bytes():
                got += len(piece)
    assert got == 300_000_000
    assert server.peak_memory() - before < 50_000_000


def test_a_response_of_starlettes_ends_when_its_client_leaves(server: Server) -> None:
    """Its iterator is closed, though it has nothing more to send."""
    with server.client() as http, http.stream("POST", "/silent", json={}) as response:
        next(response.iter_raw())
    with server.client() as http:
        for _ in range(200):
            if "the stream was left" in server.log():
                return
            http.get("/healthz")
    raise AssertionError(server.log())


def test_a_response_of_starlettes_that_breaks_off_is_seen_to(server: Server) -> None:
    """The connection is closed before the end of the body."""
    with server.client() as http, pytest.raises(httpx.RemoteProtocolError):
        http.post("/cut", json={})
    assert "/cut: its stream ended early" in server.log()


def test_an_interrupted_download_goes_on_where_it_was(server: Server, tmp_path: Path) -> None:
    """curl does it by itself; HEAD says how much there is, and leaves the connection usable."""
    document = server.post("/bytes", {}).json()
    with server.client() as http:
        document = http.get(f"/jobs/{document['id']}", headers={"Prefer": "wait=10"}).json()
        url = document["output_url"]
        whole = http.get(url).content
        head = http.head(url)
        assert (head.content, int(head.headers["content-length"])) == (b"", len(whole))
        assert http.get(url, headers={"Range": "bytes=-2"}).content == whole[-2:]
    (tmp_path / "part").write_bytes(whole[:1_000_000])
    command = ["curl", "-sS", "--fail", "-C", "-", f"{server.url}{url}"]
    subprocess.run([*command, "-o", tmp_path / "part"], check=True, timeout=20)
    assert (tmp_path / "part").read_bytes() == whole == bytes(range(256)) * 20_000
