"""Files, forms and queries over real sockets, as curl and browsers send them."""

import json
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from e2e.server import Server, error, serve_source

SOURCE = """
from typing import Annotated

from pydantic import BaseModel

from potassium import File, FromFile, Jobs, Limits, Potassium

app = Potassium("server", jobs=Jobs(path="jobs.db"), limits=Limits(body_size=20_000_000))


def decode(file):
    if file.read(4) != b"\\x89PNG":
        raise ValueError("it is not a PNG picture")
    return file.size


Picture = Annotated[int, FromFile(decode, ("image/png",))]


class Item(BaseModel):
    image: File
    top: int = 3
    notes: File | None = None
    tags: list[str] = []


@app.handler
def handler(cache, item: Item):
    notes = item.notes and item.notes.read().decode()
    return [item.image.name, item.image.content_type, item.image.size, item.top, notes, item.tags]


@app.handler("/picture")
def picture(cache, image: Picture):
    return image


@app.handler("/sum")
def total(cache, file: File):
    return [file.size, sum(sum(piece) for piece in iter(lambda: file.read(1 << 16), b""))]


class Query(BaseModel):
    q: str
    limit: int = 10


@app.handler("/search", methods=["GET", "POST"])
def search(cache, query: Query):
    return [query.q, query.limit]


if __name__ == "__main__":
    app.serve()
"""

PNG = b"\x89PNG\r\n\x1a\n--\r\n"


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    with serve_source(SOURCE, tmp_path_factory.mktemp("files")) as server:
        yield server


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    file = tmp_path / "cat 猫.png"
    file.write_bytes(PNG)
    return file


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is not installed")
class TestWithCurl:
    """What people type."""

    @staticmethod
    def curl(server: Server, path: str, *options: str) -> Any:
        command = ["curl", "--silent", "--noproxy", "*", *options, server.url + path]
        done = subprocess.run(command, capture_output=True, timeout=20, check=True)
        return json.loads(done.stdout)

    def test_a_form_with_a_file(self, server: Server, cat: Path) -> None:
        """``-F`` for a file, and for everything else."""
        answer = self.curl(server, "/", "-F", f"image=@{cat}", "-F", "top=5", "-F", "tags=a b")
        assert answer == [cat.name, "image/png", len(PNG), 5, None, ["a b"]]

    def test_a_form_with_contents(self, server: Server, cat: Path) -> None:
        """``<`` sends a file as text, ``type=`` and ``filename=`` say what it is."""
        options = ["-F", f'image=@{cat};filename="my \\"cat\\".png";type=image/x-mine']
        answer = self.curl(server, "/", *options, "-F", f"notes=<{__file__}")
        assert answer[:2] == ['my "cat".png', "image/x-mine"]
        assert answer[4] == Path(__file__).read_text("utf-8")

    def test_a_file_as_the_body(self, server: Server, cat: Path) -> None:
        """``--data-binary`` with a content type; without one, curl says that it is a form."""
        options = ["--data-binary", f"@{cat}"]
        png = "Content-Type: image/png"
        assert self.curl(server, "/picture", *options, "-H", png) == len(PNG)
        refused = self.curl(server, "/picture", *options)
        assert (refused["status"], "-H 'Content-Type: TYPE'" in refused["detail"]) == (415, True)

    def test_a_url_encoded_form_and_a_query(self, server: Server) -> None:
        """``--data-urlencode``, with ``-G`` as a query."""
        options = ["--data-urlencode", "q=a & b=ü", "-d", "limit=5"]
        assert self.curl(server, "/search", *options) == ["a & b=ü", 5]
        assert self.curl(server, "/search", *options, "-G") == ["a & b=ü", 5]

    def test_a_file_uploaded_in_chunks(self, server: Server, tmp_path: Path) -> None:
        """A large one, without ``Content-Length``, after ``100 Continue``."""
        large = tmp_path / "large.bin"
        large.write_bytes(bytes(range(256)) * 40_000)
        expected = [10_240_000, 255 * 128 * 40_000]
        chunked = ["-H", "Transfer-Encoding: chunked", "-H", "Expect: 100-continue"]
        assert self.curl(server, "/sum", "-F", f"file=@{large}", *chunked) == expected
        options = ["--data-binary", f"@{large}", "-H", "Content-Type: application/x-mine"]
        assert self.curl(server, "/sum", *options) == expected


# What Chromium sends for a form of two file inputs, one of them left empty, and a text field.
BROWSER = (
    "------WebKitFormBoundaryA1b2C3d4E5f6G7h8\r\n"
    'Content-Disposition: form-data; name="image"; filename="chat %22é%22 猫.png"\r\n'
    "Content-Type: image/png\r\n\r\n"
    "------WebKitFormBoundary\r\n\r\n"
    "------WebKitFormBoundaryA1b2C3d4E5f6G7h8\r\n"
    'Content-Disposition: form-data; name="notes"; filename=""\r\n'
    "Content-Type: application/octet-stream\r\n\r\n\r\n"
    "------WebKitFormBoundaryA1b2C3d4E5f6G7h8\r\n"
    'Content-Disposition: form-data; name="tags"\r\n\r\n'
    "ü\r\n"
    "------WebKitFormBoundaryA1b2C3d4E5f6G7h8\r\n"
    'Content-Disposition: form-data; name="tags"\r\n\r\n'
    "line\r\nbreak\r\n"
    "------WebKitFormBoundaryA1b2C3d4E5f6G7h8--\r\n"
).encode()


def test_a_form_of_a_browser(server: Server) -> None:
    """Names in UTF-8, fields of one name, and file inputs that were left empty."""
    content_type = "multipart/form-data; boundary=----WebKitFormBoundaryA1b2C3d4E5f6G7h8"
    answer = server.post("/", content=BROWSER, headers={"Content-Type": content_type})
    name, size = 'chat "é" 猫.png', len(b"------WebKitFormBoundary\r\n")
    assert answer.json() == [name, "image/png", size, 3, None, ["ü", "line\r\nbreak"]]


def test_a_job_with_a_file_survives_its_submission(server: Server) -> None:
    """It is decoded again when it runs, from what is stored."""
    with server.client() as http:
        headers = {"Prefer": "respond-async"}
        answer = http.post("/picture", files={"x": ("a.png", PNG)}, headers=headers)
        assert answer.status_code == 202
        done = http.get(answer.headers["location"], headers={"Prefer": "wait=10"})
        events = http.get(answer.headers["location"] + "/events").text
    assert "succeeded" in events, done.text


def test_what_is_wrong_is_told(server: Server) -> None:
    """A file that cannot be decoded, a field that is missing, a method that there is not."""
    with server.client() as http:
        answer = http.post("/picture", content=b"GIF", headers={"Content-Type": "image/png"})
        assert error(answer) == (422, "invalid_input")
        assert answer.json()["errors"][0]["msg"].endswith("it is not a PNG picture")
        assert error(http.post("/", data={"top": "1"})) == (422, "invalid_input")
        assert error(http.delete("/search")) == (405, "method_not_allowed")
        head = http.head("/search?q=a")
        assert (head.status_code, head.content) == (200, b"")
