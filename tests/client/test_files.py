"""Files, sent as a form."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import pytest
from pydantic import BaseModel
from starlette.applications import Starlette
from starlette.datastructures import UploadFile
from starlette.requests import Request
from starlette.responses import JSONResponse
from starlette.routing import Route

from potassium.client import AsyncClient, CallFailed, Client, ConnectionFailed


async def form(request: Request) -> JSONResponse:
    """Show the form of a request, field by field."""
    async with request.form() as sent:
        fields = [
            (
                name,
                [value.filename, value.content_type, (await value.read()).decode("latin-1")]
                if isinstance(value, UploadFile)
                else value,
            )
            for name, value in sent.multi_items()
        ]
    return JSONResponse({"type": request.headers["content-type"][:30], "fields": fields})


@pytest.fixture
async def client() -> AsyncIterator[AsyncClient]:
    app = Starlette(routes=[Route("/form", form, methods=["POST"])])
    transport = httpx.ASGITransport(app)
    async with AsyncClient("http://app", transport=transport) as client:
        yield client


@pytest.fixture
def cat(tmp_path: Path) -> Path:
    path = tmp_path / "cat.jpg"
    path.write_bytes(b"\xff\xd8 cat")
    return path


class NoSeek(io.BytesIO):
    """A file that can be read once, such as a pipe."""

    def seekable(self) -> bool:
        return False

    def seek(self, *args: Any) -> int:
        raise io.UnsupportedOperation


async def test_a_file_is_a_path_or_a_file_or_bytes(client: AsyncClient, cat: Path) -> None:
    """With the name and the type that it has, or is given."""
    with cat.open("rb") as opened:
        answer = await client.call(
            "/form",
            files={
                "path": cat,
                "text": str(cat),
                "opened": opened,
                "bytes": b"raw",
                "named": ("dog.png", b"dog"),
                "typed": ("a.bin", cat, "application/x-cat"),
            },
        )
    jpeg = ["cat.jpg", "image/jpeg", "\xff\xd8 cat"]
    assert answer["type"] == "multipart/form-data; boundary="
    assert answer["fields"] == [
        ["path", jpeg],
        ["text", jpeg],
        ["opened", jpeg],
        ["bytes", ["upload", "application/octet-stream", "raw"]],
        ["named", ["dog.png", "image/png", "dog"]],
        ["typed", ["a.bin", "application/x-cat", "\xff\xd8 cat"]],
    ]


async def test_several_files_may_have_one_name(client: AsyncClient, cat: Path) -> None:
    """As a list."""
    answer = await client.call("/form", files={"pages": [cat, ("b.txt", b"b")]})
    assert [(name, file[0]) for name, file in answer["fields"]] == [
        ("pages", "cat.jpg"),
        ("pages", "b.txt"),
    ]


async def test_the_members_of_the_item_are_fields(client: AsyncClient) -> None:
    """Text as it is, lists as repeated fields, what is None not at all, the rest as JSON."""

    class Item(BaseModel):
        top: int = 5
        ratio: float = 0.5
        exact: bool = True
        title: str = 'a "cat"'
        nothing: str | None = None
        tags: list[str | int] = ["a", 1]
        empty: list[str] = []
        box: dict[str, int] = {"x": 1}
        points: list[list[int]] = [[1, 2]]

    answer = await client.call("/form", Item(), files={"f": b""})
    assert answer["fields"][:-1] == [
        ["top", "5"],
        ["ratio", "0.5"],
        ["exact", "true"],
        ["title", 'a "cat"'],
        ["tags", "a"],
        ["tags", "1"],
        ["box", '{"x":1}'],
        ["points", "[[1,2]]"],
    ]


async def test_an_item_beside_files_is_an_object(client: AsyncClient) -> None:
    """A list has no names for fields."""
    with pytest.raises(TypeError, match="the item must be an object"):
        await client.call("/form", [1], files={"f": b""})


async def test_a_form_has_its_own_content_type(client: AsyncClient) -> None:
    """It has a boundary, which the caller cannot know."""
    with pytest.raises(TypeError, match="leave content_type= out"):
        await client.call("/form", files={"f": b""}, content_type="text/plain")


@pytest.mark.parametrize(
    "files", [{"f": 1}, {"f": ("name", 1)}, {"f": ("name",)}, {"f": ()}, {"f": None}, ["cat.jpg"]]
)
async def test_what_is_no_file_is_an_error(client: AsyncClient, files: Any) -> None:
    """The error says what would be one."""
    with pytest.raises(TypeError, match=r"A file must be|A tuple of a file|Write files="):
        await client.call("/form", files=files)


async def test_buffers_are_files(client: AsyncClient) -> None:
    """As they are items."""
    for buffer in (bytearray(b"x"), memoryview(b"x")):
        given: Any = {"f": buffer, "g": ("g.txt", buffer)}
        fields = (await client.call("/form", files=given))["fields"]
        assert [field[1][2] for field in fields] == ["x", "x"]


async def test_a_file_that_is_not_there_is_an_error(client: AsyncClient, cat: Path) -> None:
    """Files that were opened before it are closed."""
    with pytest.raises(FileNotFoundError):
        await client.call("/form", files={"a": cat, "b": cat.with_name("dog.jpg")})


def test_a_file_is_sent_from_its_start_each_time(cat: Path) -> None:
    """A second attempt has the whole file, too."""
    bodies = []

    def answer(request: httpx.Request) -> httpx.Response:
        bodies.append(request.read())
        if len(bodies) == 1:
            return httpx.Response(503, headers={"retry-after": "0"})
        return httpx.Response(200, json=1)

    transport = httpx.MockTransport(answer)
    with Client("http://app", transport=transport) as client:
        client.call("/", files={"f": cat, "g": io.BytesIO(b"more")})
    assert len(bodies) == 2
    assert all(b"\xff\xd8 cat" in body and b"more" in body for body in bodies)


def test_a_file_that_can_be_read_once_is_sent_once() -> None:
    """The second time, it would be empty."""
    seen = []

    def refuse(request: httpx.Request) -> httpx.Response:
        seen.append(request.read())
        return httpx.Response(503, headers={"retry-after": "0"})

    def connect(request: httpx.Request) -> httpx.Response:
        raise httpx.ConnectError("no")

    files = {"f": ("a", NoSeek(b"once"))}
    transport = httpx.MockTransport(refuse)
    with Client("http://app", transport=transport) as client, pytest.raises(CallFailed):
        client.call("/", files=files)
    assert len(seen) == 1
    transport = httpx.MockTransport(connect)
    with Client("http://app", transport=transport) as client, pytest.raises(ConnectionFailed):
        client.call("/", files=files)
