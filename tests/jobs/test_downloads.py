"""Outputs of jobs that are files, or large: behind a link, whole or in part."""

import asyncio
import itertools
import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
from starlette.applications import Starlette
from starlette.responses import FileResponse, StreamingResponse
from starlette.routing import Mount
from support.asgi import Exchange
from support.job_bench import Bench, ended, submit
from webhooks.receivers import receiving

from potassium import Jobs, Potassium, Response, Webhooks
from potassium.jobs import download, model
from potassium.testing import client

DIGITS = b"0123456789"


def digits(cache: Any, json_in: Any) -> bytes:
    return DIGITS


def text(cache: Any, json_in: dict[str, int]) -> str:
    return "x" * json_in["size"]


def picture(cache: Any, json_in: Any) -> PIL.Image.Image:
    return PIL.Image.new("RGB", (8, 4), "red")


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    bench = Bench(max_output=2_000_000)
    for function in (digits, text, picture):
        bench.app.background(function.__name__)(function)
    async with bench.client() as http:
        yield http


async def link(http: httpx.AsyncClient, path: str = "/digits", **headers: str) -> str:
    document = await ended(http, await submit(http, path, {}, **headers))
    assert document["status"] == "succeeded", document
    url: str = document["output_url"]
    return url


async def test_a_picture_is_behind_a_link(http: httpx.AsyncClient) -> None:
    """The document has its address, type and size, wherever it is shown."""
    document = await ended(http, await submit(http, "/picture", {}))
    got = await http.get(document["output_url"])
    assert got.headers["content-type"] == document["output_type"] == "image/png"
    assert len(got.content) == document["output_size"] == int(got.headers["content-length"])
    assert "output" not in document
    assert document["output_url"] == f"/jobs/{document['id']}/output"
    (listed,) = (await http.get("/jobs")).json()["jobs"]
    assert listed == document


async def test_the_type_is_the_one_that_the_call_preferred(http: httpx.AsyncClient) -> None:
    """A job is not refused for it: what is wanted of the 202 need not be wanted of the output."""
    got = await http.get(await link(http, "/picture", Accept="image/jpeg, application/json;q=0.9"))
    assert got.headers["content-type"] == "image/jpeg"
    got = await http.get(await link(http, "/picture", Accept="text/html"))
    assert got.headers["content-type"] == "image/png"
    document = await ended(http, await submit(http, "/picture", {}, Accept="application/json"))
    assert document["output"].startswith("data:image/png;base64,")


@pytest.mark.parametrize(("size", "is_linked"), [(2**20 - 2, False), (2**20 - 1, True)])
async def test_json_is_behind_a_link_if_it_is_large(
    http: httpx.AsyncClient, size: int, is_linked: bool
) -> None:
    """Beyond 1 MiB; smaller outputs are in the document, and can be fetched alone as well."""
    document = await ended(http, await submit(http, "/text", {"size": size}))
    assert ("output_url" in document, "output" in document) == (is_linked, not is_linked)
    got = await http.get(f"/jobs/{document['id']}/output")
    assert (got.json(), got.headers["content-type"]) == ("x" * size, "application/json")
    assert document.get("output_type", "application/json") == "application/json"


async def test_a_client_that_waits_gets_the_output_itself(http: httpx.AsyncClient) -> None:
    """As from a direct call, however large it is."""
    waits = {"Prefer": "wait=10"}
    got = await http.post("/picture", json={}, headers=waits)
    assert (got.status_code, got.headers["content-type"]) == (200, "image/png")
    got = await http.post("/text", json={"size": 1_500_000}, headers=waits)
    assert len(got.json()) == 1_500_000


@pytest.mark.parametrize(
    ("asked", "part", "content_range"),
    [
        ("bytes=0-3", b"0123", "bytes 0-3/10"),
        ("bytes=8-", b"89", "bytes 8-9/10"),
        ("bytes=8-100", b"89", "bytes 8-9/10"),
        ("bytes=9-9", b"9", "bytes 9-9/10"),
        ("bytes=-3", b"789", "bytes 7-9/10"),
        ("bytes=-30", DIGITS, "bytes 0-9/10"),
        ("BYTES=0-0", b"0", "bytes 0-0/10"),
        (" bytes=0-0 ", b"0", "bytes 0-0/10"),
    ],
)
async def test_a_part_of_an_output_is_sent(
    http: httpx.AsyncClient, asked: str, part: bytes, content_range: str
) -> None:
    """206, with what it is a part of (RFC 9110, section 14)."""
    got = await http.get(await link(http), headers={"Range": asked})
    assert (got.status_code, got.content) == (206, part)
    assert got.headers["content-range"] == content_range
    assert got.headers["content-length"] == str(len(part))
    assert got.headers["content-type"] == "application/octet-stream"


@pytest.mark.parametrize(
    "asked",
    [
        "bytes=3-1",
        "bytes=",
        "bytes=-",
        "bytes=a-b",
        "bytes=0-1,3-4",
        "lines=0-1",
        "0-1",
        f"bytes={'9' * 99}-",
    ],
)
async def test_a_range_that_is_none_is_ignored(http: httpx.AsyncClient, asked: str) -> None:
    """As are several: all of the output is sent."""
    got = await http.get(await link(http), headers={"Range": asked})
    assert (got.status_code, got.content) == (200, DIGITS)
    assert got.headers["accept-ranges"] == "bytes"


@pytest.mark.parametrize("asked", ["bytes=10-", "bytes=10-20", "bytes=-0"])
async def test_a_range_behind_the_end_is_refused(http: httpx.AsyncClient, asked: str) -> None:
    """416, with the size."""
    got = await http.get(await link(http), headers={"Range": asked})
    assert (got.status_code, got.json()["code"]) == (416, "range_not_satisfiable")
    assert got.headers["content-range"] == "bytes */10"


async def test_a_download_goes_on_if_the_output_is_the_same(http: httpx.AsyncClient) -> None:
    """``If-Range`` with another tag, or with a date, gets all of it."""
    url = await link(http)
    tag = (await http.get(url)).headers["etag"]
    for condition, status in (
        (tag, 206),
        (f"W/{tag}", 200),
        ('"other"', 200),
        ("Wed, 25 Nov 2026", 200),
    ):
        asks = {"Range": "bytes=5-", "If-Range": condition}
        assert (await http.get(url, headers=asks)).status_code == status


@pytest.mark.parametrize("known", ["{}", "W/{}", '"other", {}', "*"])
async def test_an_output_that_the_client_has_is_not_sent_again(
    http: httpx.AsyncClient, known: str
) -> None:
    """304, with the tag and without content."""
    url = await link(http)
    tag = (await http.get(url)).headers["etag"]
    asks = {"If-None-Match": known.format(tag), "Range": "bytes=0-1"}
    got = await http.get(url, headers=asks)
    assert (got.status_code, got.content, got.headers["etag"]) == (304, b"", tag)
    assert "content-length" not in got.headers
    assert (await http.get(url, headers={"If-None-Match": '"other"'})).status_code == 200


async def test_head_describes_the_output(
    monkeypatch: pytest.MonkeyPatch, http: httpx.AsyncClient
) -> None:
    """Without reading it; a range is for GET only."""
    url = await link(http)
    monkeypatch.setattr(download, "_bounds", None)
    got = await http.head(url, headers={"Range": "bytes=0-1"})
    assert (got.status_code, got.content) == (200, b"")
    assert (got.headers["content-length"], got.headers["accept-ranges"]) == ("10", "bytes")


async def test_a_job_without_an_output_has_none_to_fetch() -> None:
    """404 while it runs, and after it has failed; so has a job that is not there."""
    bench = Bench()

    @bench.app.background("/fails")
    def fails(cache: Any, json_in: Any) -> None:
        raise ValueError("no")

    async with bench.client() as http:
        held = await submit(http, "/held", {})
        running = await http.get(f"/jobs/{held['id']}/output")
        bench.gate.release()
        failed = await ended(http, await submit(http, "/fails", {}))
        for got in (
            running,
            await http.get(f"/jobs/{failed['id']}/output"),
            await http.get(f"/jobs/{'0' * 32}/output"),
        ):
            assert (got.status_code, got.json()["code"]) == (404, "not_found")


async def test_an_output_belongs_to_the_owner_of_its_job() -> None:
    """Others do not find it."""
    app = Potassium("test", jobs=Jobs(path=None), api_keys={"ann": "a", "bob": "b"})
    app.background("/digits")(digits)
    async with client(app) as http:
        http.headers["X-Api-Key"] = "a"
        url = await link(http)
        assert (await http.get(url)).content == DIGITS
        for key, status in (("b", 404), ("c", 401)):
            assert (await http.get(url, headers={"X-Api-Key": key})).status_code == status


async def test_a_large_output_is_sent_in_pieces(monkeypatch: pytest.MonkeyPatch) -> None:
    """And not copied as a whole."""
    monkeypatch.setattr(download, "PIECE", 4)
    bench = Bench()
    bench.app.background("/digits")(digits)
    async with bench.client() as http:
        url = await link(http)
        exchange = Exchange(bench.app, b"", url, "GET")
        assert (await exchange.next())["status"] == 200
        assert [await exchange.body() for _ in range(3)] == [b"0123", b"4567", b"89"]
        assert await exchange.rest() == b""


async def test_a_mounted_app_links_to_where_it_is() -> None:
    """In the document, the list, and the answer to a call."""
    bench = Bench()
    bench.app.background("/digits")(digits)
    parent = Starlette(routes=[Mount("/model", bench.app)])
    transport = httpx.ASGITransport(parent)
    async with (
        bench.app.lifespan(),
        httpx.AsyncClient(transport=transport, base_url="http://parent") as http,
    ):
        location = (await http.post("/model/digits", json={})).headers["location"]
        document = (await http.get(location, headers={"Prefer": "wait=5"})).json()
        (listed,) = (await http.get("/model/jobs")).json()["jobs"]
        assert document["output_url"] == listed["output_url"] == f"{location}/output"
        assert (await http.get(document["output_url"])).content == DIGITS


@pytest.mark.parametrize("path", [None, "jobs.db"])
async def test_a_file_is_stored_with_its_type(tmp_path: Path, path: str | None) -> None:
    """In memory and on disk, where it is found again after a restart."""
    (tmp_path / "a.txt").write_text("from a file")
    results: list[tuple[Any, str, bytes]] = [
        (b"\0", "application/octet-stream", b"\0"),
        (b"", "application/octet-stream", b""),
        (Response(body="text"), "text/plain; charset=utf-8", b"text"),
        (FileResponse(tmp_path / "a.txt"), "text/plain; charset=utf-8", b"from a file"),
        (StreamingResponse(iter("ab"), 200, {"Content-Type": "text/csv"}), "text/csv", b"ab"),
        (np.arange(3), "application/x-npy", b"\x93NUMPY"),
    ]
    where = None if path is None else str(tmp_path / path)

    def app() -> Potassium:
        app = Potassium("test", jobs=Jobs(path=where))

        @app.background
        def handler(cache: Any, json_in: dict[str, int]) -> Any:
            return results[json_in["number"]][0]

        return app

    async def check(http: httpx.AsyncClient, urls: list[str]) -> None:
        for url, (_, kind, content) in zip(urls, results, strict=True):
            got = await http.get(url)
            assert (got.headers["content-type"], got.content[: len(content) or None]) == (
                kind,
                content,
            )

    asks = {"Accept": "application/x-npy"}
    async with client(app()) as http:
        jobs = [await submit(http, "/", {"number": n}, **asks) for n in range(len(results))]
        urls = [(await ended(http, job))["output_url"] for job in jobs]
        await check(http, urls)
    if where is not None:
        async with client(app()) as http:
            await check(http, urls)


async def test_an_output_of_starlettes_is_limited() -> None:
    """As any other is, before all of it is there: it may have no end."""
    app = Potassium("test", jobs=Jobs(path=None, max_output=10))

    @app.background
    def handler(cache: Any, json_in: Any) -> StreamingResponse:
        return StreamingResponse(itertools.repeat("x"))

    async with client(app) as http:
        document = await ended(http, await submit(http, "/", {}))
    assert document["error"]["code"] == "unserializable_output"


async def test_a_webhook_gets_a_link_in_place_of_a_large_output(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    """The document as the server shows it; a result that is not JSON is not posted alone."""
    monkeypatch.setattr(model, "LARGEST_SHOWN", 10)
    options = Webhooks(client_urls=True, allow=["127.0.0.1"])
    app = Potassium("test", jobs=Jobs(path=None), webhooks=options)
    async with receiving() as receiver:
        app.background("/digits")(app.result_webhook(receiver.url)(digits))
        app.background("/text")(text)
        async with client(app) as http:
            for path in ("/digits", "/text"):
                asks = {"Webhook-Url": receiver.url}
                job = await submit(http, path, {"size": 20}, **asks)
                document = await ended(http, job)
                assert json.loads((await receiver.next()).body) == document
                assert document["output_url"] == f"/jobs/{job['id']}/output"
            await asyncio.sleep(0)
    assert "did not return JSON: nothing is posted to its webhook" in caplog.text
