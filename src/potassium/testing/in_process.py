"""Calls an app in the test's own process, without a socket, or only one of its functions."""

from collections.abc import AsyncIterator, Mapping
from contextlib import ExitStack, asynccontextmanager
from typing import Any

import httpx

from potassium.app import Potassium
from potassium.http.request import Request
from potassium.serving.composition import parts_of

__all__ = ["client", "request"]


@asynccontextmanager
async def client(app: Potassium, *, workers: bool = False) -> AsyncIterator[httpx.AsyncClient]:
    """Start ``app`` and yield an httpx client that calls it; stop the app on exit.

    ::

        async with client(app) as http:
            response = await http.post("/", json={"prompt": "Hello"})

    Args:
        app: the app.
        workers: whether its handlers run in worker processes, if it is created with
            ``workers=``. Otherwise they run in this process, where a test can replace what they
            use.

    Raises:
        BaseException: whatever ``init`` raised.

    """
    transport = httpx.ASGITransport(app)
    plan = parts_of(app).plan
    with ExitStack() as undo:
        if not workers:
            undo.callback(setattr, plan, "workers", plan.workers)
            plan.workers = None
        async with (
            app.lifespan(),
            httpx.AsyncClient(transport=transport, base_url="http://potassium") as http,
        ):
            yield http


def request(  # noqa: PLR0913 - what a client may send
    json: Any = None,
    *,
    body: bytes | str | None = None,
    data: Mapping[str, Any] | None = None,
    files: Any = None,
    query: Mapping[str, Any] | str | None = None,
    headers: Mapping[str, str] | None = None,
    path: str = "/",
    method: str = "POST",
) -> Request:
    """Return a request as a client would send it, for a unit test of a function that takes one.

    ::

        assert handler({"model": fake}, request(json={"prompt": "Hello"})) == ...

    It has no deadline, is never cancelled, and cannot send.

    Args:
        json: the value of a body of JSON.
        body: the raw body instead; set its ``Content-Type`` in ``headers``.
        data: the fields of a form instead.
        files: the files of a multipart form, as httpx takes them.
        query: the query, as a mapping or as it is sent.
        headers: the headers; the id of the request is its ``X-Request-Id``.
        path: the path.
        method: the method.

    """
    sent = httpx.Request(
        method,
        httpx.URL("http://potassium", path=path),
        json=json,
        content=body,
        data=data,
        files=files,
        params=query,
        headers=headers,
    )
    scope = {
        "type": "http",
        "method": sent.method,
        "path": path,
        "query_string": sent.url.query,
        "client": None,
    }
    names = [(name.lower(), value) for name, value in sent.headers.raw]
    return Request(sent.headers.get("x-request-id", "test"), names, sent.read(), scope)
