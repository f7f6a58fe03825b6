"""Compressed bodies: handlers get them as they were before."""

import gzip
import json
import os
import threading
import zlib
from collections.abc import Callable
from functools import partial
from typing import Any

import brotli
import httpx
import pytest
import zstandard
from support.bodies import nothing_is_left, rooms_of, sent_in_parts

from potassium import Jobs, Limits, Potassium, Request
from potassium.http.codings import Decoding
from potassium.http.spooled import IN_MEMORY
from potassium.serving import arrival
from potassium.testing import client

MIB = 2**20
JSON = {"Content-Type": "application/json"}
CODERS: dict[str, Callable[[bytes], bytes]] = {
    "gzip": gzip.compress,
    "deflate": zlib.compress,
    "br": partial(brotli.compress, quality=5),
    "zstd": zstandard.compress,
}


@pytest.fixture
def app() -> Potassium:
    app = Potassium("test", limits=Limits(body_size=4 * MIB), jobs=Jobs(path=None))

    @app.handler
    def parsed(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        return json_in

    @app.handler("/bytes")
    def raw(cache: dict[str, Any], body: bytes) -> int:
        return len(body)

    @app.handler("/request", body_size=30 * MIB)
    def whole(cache: dict[str, Any], request: Request) -> Any:
        message = request._message
        return [type(message.content).__name__, message.size, dict(request.headers)]

    return app


def code(answer: httpx.Response) -> tuple[int, str]:
    return answer.status_code, answer.json()["code"]


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize("in_parts", [False, True])
@pytest.mark.parametrize("size", [10, 40_000, 700_000, 3_000_000])
async def test_a_handler_gets_what_was_compressed(
    app: Potassium, coding: str, size: int, *, in_parts: bool
) -> None:
    """Whatever its coding, and however it arrives."""
    value = {"a": "xyz" * (size // 6) + os.urandom(size // 4).hex()}
    body = CODERS[coding](json.dumps(value).encode())
    content: Any = sent_in_parts(body) if in_parts else body
    async with client(app) as http:
        answer = await http.post("/", content=content, headers={**JSON, "Content-Encoding": coding})
        assert answer.json() == value
    assert [room.held for room in rooms_of(app)] == [0, 0]


async def test_the_headers_describe_what_the_handler_gets(app: Potassium) -> None:
    """The coding is gone, and the length is that of the content."""
    async with client(app) as http:
        headers = {"Content-Encoding": "gzip", "X-Other": "kept"}
        answer = await http.post("/request", content=gzip.compress(b"abc"), headers=headers)
        kind, size, seen = answer.json()
        assert (kind, size, seen["content-length"], seen["x-other"]) == ("bytes", 3, "3", "kept")
        assert "content-encoding" not in seen
        headers = {"Content-Encoding": "identity"}
        answer = await http.post("/request", content=b"abc", headers=headers)
        assert answer.json()[:2] == ["bytes", 3]


@pytest.mark.parametrize("coding", CODERS)
async def test_a_large_content_goes_to_disk(app: Potassium, coding: str) -> None:
    """However small the body is."""
    body = CODERS[coding](bytes(20 * MIB))
    async with client(app) as http:
        answer = await http.post("/request", content=body, headers={"Content-Encoding": coding})
        assert answer.json()[:2] == ["SpooledBody", 20 * MIB]
        assert answer.json()[2]["content-length"] == str(20 * MIB)
        await nothing_is_left(app)


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize("path", ["/", "/request"])
async def test_a_bomb_is_refused_as_it_unfolds(app: Potassium, coding: str, path: str) -> None:
    """The limit of the handler counts for the content, too, and nothing is left of it."""
    body = CODERS[coding](bytes(31 * MIB))
    async with client(app) as http:
        headers = {**JSON, "Content-Encoding": coding}
        answer = await http.post(path, content=body, headers=headers)
        assert code(answer) == (413, "body_too_large")
        await nothing_is_left(app)


async def test_a_refused_coding_is_named_before_anything_is_read(app: Potassium) -> None:
    """415, with those that work; whoever waits for 100 Continue does not send the body."""
    async with client(app) as http:
        for path in ("/", "/bytes", "/request"):
            headers = {**JSON, "Content-Encoding": "snappy", "Expect": "100-continue"}
            answer = await http.post(path, content=b"{}", headers=headers)
            assert code(answer) == (415, "unsupported_encoding")
            assert answer.headers["accept-encoding"] == "gzip, deflate, br, zstd"
            assert answer.headers["connection"] == "close"


@pytest.mark.parametrize("coding", CODERS)
@pytest.mark.parametrize("in_parts", [False, True])
async def test_damaged_data_is_the_clients_fault(
    app: Potassium, coding: str, *, in_parts: bool
) -> None:
    """400: what is cut off, and what is something else."""
    whole, large = CODERS[coding](b'{"a": 1}'), CODERS[coding](os.urandom(MIB))
    async with client(app) as http:
        for body in (whole[:-1], b'{"a": 1}', large[:-1], large[: -MIB // 2]):
            content: Any = sent_in_parts(body, size=len(body) // 2) if in_parts else body
            headers = {**JSON, "Content-Encoding": coding}
            answer = await http.post("/", content=content, headers=headers)
            assert code(answer) == (400, "malformed_encoding")


async def test_an_empty_body_has_no_coding(app: Potassium) -> None:
    """Some clients announce one for every request."""
    async with client(app) as http:
        answer = await http.post("/bytes", headers={"Content-Encoding": "gzip"})
        assert answer.json() == 0


async def test_only_a_little_is_decoded_on_the_event_loop(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A small body may be large once it is decoded."""
    amounts = {"MainThread": 0}
    feed = Decoding.feed

    def noted(decoding: Decoding, data: bytes, sink: Callable[[bytes], object]) -> None:
        def note(content: bytes) -> None:
            name = threading.current_thread().name.partition("_")[0]
            sink(content)
            amounts[name] = amounts.get(name, 0) + len(content)

        feed(decoding, data, note)

    monkeypatch.setattr(Decoding, "feed", noted)
    headers = {"Content-Encoding": "gzip"}
    async with client(app) as http:
        await http.post("/bytes", content=gzip.compress(bytes(10_000)), headers=headers)
        assert amounts == {"MainThread": 10_000}
        await http.post("/bytes", content=gzip.compress(bytes(3 * MIB)), headers=headers)
    assert amounts["MainThread"] <= arrival.QUICK_CONTENT + 10_000
    assert amounts["potassium-bodies"] == 3 * MIB


async def test_nothing_with_several_codings_is_decoded_on_the_event_loop(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A few bytes may unfold to megabytes between two of them, and come to nothing in the end."""
    threads = set()
    feed = Decoding.feed

    def noted(decoding: Decoding, data: bytes, sink: Callable[[bytes], object]) -> None:
        threads.add(threading.current_thread().name.partition("_")[0])
        feed(decoding, data, sink)

    monkeypatch.setattr(Decoding, "feed", noted)
    body = brotli.compress(gzip.compress(b"") * 60_000)
    async with client(app) as http:
        headers = {"Content-Encoding": "gzip, br"}
        assert (await http.post("/bytes", content=body, headers=headers)).json() == 0
    assert threads == {"potassium-bodies"}


async def test_decoders_of_bodies_that_arrive_slowly_count(app: Potassium) -> None:
    """A window of 8 MiB is taken with the first few bytes of one."""
    memory, _ = rooms_of(app)
    seen = []

    async def content() -> Any:
        body = zstandard.ZstdCompressor(level=1).compress(bytes(range(256)) * 20_000)
        yield body + zstandard.ZstdCompressor(level=0).compress(b"") * 60_000
        for _ in range(3):
            seen.append(memory.held)
            yield b""

    async with client(app) as http:
        headers = {"Content-Encoding": "zstd"}
        await http.post("/request", content=content(), headers=headers)
    assert max(seen) >= 8 * MIB
    assert memory.held == 0


async def test_a_background_job_gets_what_was_compressed(app: Potassium) -> None:
    """It is stored without its coding."""
    async with client(app) as http:
        headers = {**JSON, "Content-Encoding": "gzip", "Prefer": "respond-async, wait=10"}
        for size in (10, 2 * IN_MEMORY):
            value = {"a": "x" * size}
            content = gzip.compress(json.dumps(value).encode())
            answer = await http.post("/", content=content, headers=headers)
            assert (answer.status_code, answer.json()) == (200, value)
