"""Calls that Python code makes in the front, in an async handler or in a worker."""

from collections.abc import Iterator
from typing import Any

import pytest
from e2e.jobs import document, end_of
from e2e.server import Server, error
from workers.modes import MODES, WORKERS, served

APP = '''
    import asyncio
    import os
    from contextvars import ContextVar

    import anyio
    import numpy
    import pydantic
    from PIL import Image
    from starlette.exceptions import HTTPException
    from starlette.responses import JSONResponse
    from starlette.routing import Route

    from potassium import Batch, Jobs, Potassium, Request, Response, current_request
    from potassium.errors import PotassiumError

    NAME = ContextVar("name", default="unset")


    class Text(pydantic.BaseModel):
        full_text: str = pydantic.Field(alias="fullText")


    async def route(request):
        """Call a handler, and tell what comes of it."""
        asked = await request.json()
        try:
            result = await app.call(**asked)
        except PotassiumError as raised:
            return JSONResponse({"raised": repr(raised), "cause": repr(raised.__cause__)})
        except HTTPException as raised:
            return JSONResponse({"status": raised.status_code})
        return JSONResponse({"result": repr(result)})


    async def typed(request):
        """Call handlers with what only Python has."""
        results = [
            await app.call("/text", Text(fullText="from a model")),
            await app.call("/text", {"fullText": "from a dict"}),
            await app.call("/bytes", b"\\xff"),
            await app.call("/request", {"a": [1]}),
            await app.call("/request", b"raw"),
            await app.call("/steps", {"n": 1}),
            await asyncio.gather(*(app.call("/batch", {"n": n}) for n in range(3))),
        ]
        response = await app.call("/response", {})
        kept = [response.status, response.json, dict(response.headers)["x-own"]]
        chunks = [chunk async for chunk in app.stream("/stream", {"n": 3})]
        return JSONResponse({"results": repr(results), "response": kept, "chunks": chunks})


    async def odd(request):
        """Call handlers whose results JSON does not have."""
        picture = await app.call("/picture", {})
        return JSONResponse([repr(await app.call("/array", {})), repr(picture)[:11]])


    app = Potassium(
        "calls",
        jobs=Jobs(path="jobs.db"),
        routes=[Route(f"/{one.__name__}", one, methods=["POST"]) for one in (route, typed, odd)],
    )


    @app.init
    def init():
        return {"pid": os.getpid()}


    @app.handler("/text")
    def text(cache, item: Text) -> str:
        return item.full_text


    app.handler("/steps", prepare=lambda item: item["n"] + 1, finish=lambda n: n * 10)(
        lambda cache, n: n
    )
    app.handler("/batch", batch=Batch())(lambda cache, items: [item["n"] for item in items])
    app.handler("/array")(lambda cache, item: numpy.ones(2))
    app.handler("/picture")(lambda cache, item: Image.new("RGB", (1, 1)))
    app.handler("/response")(
        lambda cache, item: Response(201, json={"a": 1}, headers={"x-own": "yes"})
    )


    @app.handler("/bytes")
    def raw(cache, body: bytes):
        return body


    @app.handler("/request")
    def request(cache, request: Request):
        is_raw = request.headers["content-type"].endswith("stream")
        return request.body if is_raw else request.json


    @app.handler("/stream")
    def stream(cache, item):
        for n in range(item["n"]):
            yield {"n": n}


    @app.handler("/raises")
    def raises(cache, item):
        raise ValueError("no")


    @app.handler("/teapot")
    def teapot(cache, item):
        raise HTTPException(418)


    @app.handler("/slow")
    def slow(cache, item):
        while True:
            current_request().raise_if_cancelled()


    @app.handler("/front")
    async def front(cache, item):
        if item.get("raises"):
            raise HTTPException(409, "no")
        return {"pid": os.getpid(), "name": NAME.get(), "id": current_request().id, "item": item}


    @app.handler("/from-worker")
    def from_worker(cache, item):
        NAME.set("a call's own")
        return anyio.from_thread.run(app.call, item.get("path", "/front"), item)


    def call_text(item):
        return anyio.from_thread.run(app.call, "/text", item)


    def call_steps(item):
        return anyio.from_thread.run(app.call, "/steps", item)


    app.handler("/from-prepare", prepare=call_text)(lambda cache, item: item)
    app.handler("/from-finish", finish=call_steps)(lambda cache, item: item)


    @app.handler("/gives-up")
    def gives_up(cache, item):
        async def wait():
            async with anyio.create_task_group() as group:
                group.start_soon(app.call, "/waits", {})
                await app.call("/begun", {})
                group.cancel_scope.cancel()

        anyio.from_thread.run(wait)


    BEGUN, CANCELLED = asyncio.Event(), asyncio.Event()


    @app.handler("/waits")
    async def waits(cache, item):
        BEGUN.set()
        try:
            await asyncio.Event().wait()
        finally:
            CANCELLED.set()


    @app.handler("/begun")
    async def begun(cache, item):
        await BEGUN.wait()


    @app.handler("/cancelled")
    async def cancelled(cache, item):
        await CANCELLED.wait()


    @app.handler("/circle")
    async def circle(cache, item):
        return await app.call("/from-worker", {"path": "/circle"})


    @app.handler("/around")
    async def around(cache, item):
        return await app.call("/text", item)


    @app.handler("/submits")
    def submits(cache, item):
        return anyio.from_thread.run(submit, item)


    async def submit(item):
        return await app.submit("/steps", item, idempotency_key="the same")


    @app.handler("/streams")
    def streams(cache, item):
        async def read():
            return [chunk async for chunk in app.stream("/waits", item)]

        return anyio.from_thread.run(read)


    @app.handler("/pid")
    def pid(cache, item):
        return cache["pid"]


    if __name__ == "__main__":
        app.serve()
'''


@pytest.fixture(scope="module", params=MODES)
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Server]:
    yield from served(APP, tmp_path_factory.mktemp("app"), request.param)


@pytest.fixture(scope="module")
def with_workers(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    yield from served(APP, tmp_path_factory.mktemp("app"), WORKERS)


def call(server: Server, path: str, item: Any, **options: Any) -> dict[str, Any]:
    """Return what comes of a call that a route makes."""
    found: dict[str, Any] = server.post("/route", {"path": path, "item": item, **options}).json()
    return found


def test_the_items_and_results_of_python_code_cross(server: Server) -> None:
    """Models, dicts and bytes in; JSON values, bytes, chunks and a ``Response`` out."""
    seen = server.post("/typed").json()
    assert "results" in seen, server.log()
    expected = [
        *("from a model", "from a dict", b"\xff", {"a": [1]}, b"raw", 20),
        [0, 1, 2],
    ]
    assert seen["results"] == repr(expected)
    assert seen["response"] == [201, {"a": 1}, "yes"]
    assert seen["chunks"] == [{"n": 0}, {"n": 1}, {"n": 2}]


def test_what_json_does_not_have_comes_back_as_over_http(with_workers: Server) -> None:
    """An array as a list, and a picture as its file."""
    array, picture = with_workers.post("/odd").json()
    assert array == "[1.0, 1.0]"
    assert picture.startswith(r"b'\x89PNG")


def test_an_item_is_validated_before_it_crosses(server: Server) -> None:
    """The caller gets the error that it would get in one process."""
    assert "InvalidInput" in call(server, "/text", {"text": "?"})["raised"]
    assert "InvalidInput" in call(server, "/array", [1])["raised"]


def test_what_a_handler_raises_is_raised_by_the_call(server: Server) -> None:
    """With its cause; an HTTPException as it is; a deadline that has passed."""
    raised = call(server, "/raises", {})
    assert raised["raised"].startswith("HandlerError")
    assert raised["cause"] == "ValueError('no')"
    assert call(server, "/teapot", {}) == {"status": 418}
    assert "DeadlineExceeded" in call(server, "/slow", {}, timeout=0.05)["raised"]


def test_a_stream_comes_back_as_a_list(server: Server) -> None:
    """As the chunks have been yielded."""
    assert call(server, "/stream", {"n": 2}) == {"result": "[{'n': 0}, {'n': 1}]"}


def test_a_handler_on_the_model_calls_an_async_one(server: Server) -> None:
    """That runs in the front, with the request id and the variables of the caller."""
    headers = {"X-Request-Id": "one-of-mine"}
    seen = server.post("/from-worker", {"a": 1}, headers=headers).json()
    assert seen["id"] == "one-of-mine"
    assert seen["item"] == {"a": 1}
    assert seen["pid"] == server.process.pid


def test_what_an_async_handler_raises_reaches_the_worker(server: Server) -> None:
    """It is the exception that it would be in one process."""
    assert error(server.post("/from-worker", {"raises": True}))[0] == 409


def test_a_handler_that_waits_for_the_model_on_its_thread_is_refused(server: Server) -> None:
    """Several of them would wait for each other; also if an async handler is between the two."""
    for path in ("/text", "/around"):
        item = {"path": path, "fullText": "a"}
        assert error(server.post("/from-worker", item)) == (500, "handler_error")
        assert "/text was called from /from-worker, which waits on the GPU thread" in server.log()


def test_a_circle_of_calls_through_a_worker_is_refused(server: Server) -> None:
    """An async handler would wait in its own only place."""
    assert error(server.post("/circle", {})) == (500, "handler_error")
    assert "/circle calls itself, and waits in all the places that it has" in server.log()


def test_a_step_calls_the_model_unless_both_need_the_pool(server: Server) -> None:
    """``prepare=`` waits on a thread of the pool, and not on that of the model."""
    assert server.post("/from-prepare", {"fullText": "a"}).json() == "a", server.log()
    assert error(server.post("/from-finish", {"n": 1})) == (500, "handler_error")
    assert "/steps was called from a prepare= or finish= step" in server.log()


def test_a_caller_in_a_worker_that_gives_up_calls_the_call_off(server: Server) -> None:
    """What runs in the front is cancelled."""
    assert server.post("/gives-up", {}).status_code == 200
    assert server.post("/cancelled", {}).status_code == 200


def test_a_worker_submits_a_background_job(server: Server) -> None:
    """It gets the job document, and with the same idempotency key the same job."""
    submitted = server.post("/submits", {"n": 1}).json()
    assert end_of(server, submitted)["output"] == 20
    assert server.post("/submits", {"n": 1}).json()["id"] == submitted["id"]
    assert document(server, submitted)["id"] == submitted["id"]


def test_streams_are_read_in_the_front(with_workers: Server) -> None:
    """In a worker, the error says what to write instead."""
    assert error(with_workers.post("/streams", {})) == (500, "handler_error")
    assert "app.stream() works in the front only" in with_workers.log()
    assert "anyio.from_thread.run(app.call, '/waits', item)" in with_workers.log()


INIT_CALLS = """
    import anyio

    from potassium import Potassium

    app = Potassium("init", workers=1)


    @app.init
    def init():
        try:
            anyio.from_thread.run(app.call, "/", {})
        except Exception as error:
            return {"raised": str(error)}


    @app.handler
    def handler(cache, item):
        return cache["raised"]


    if __name__ == "__main__":
        app.serve()
"""


def test_init_in_a_worker_calls_no_handler(start: Any) -> None:
    """It would wait for itself."""
    raised = start(INIT_CALLS).post("/", {}).json()
    assert raised == "init cannot call a handler, which runs once init is done."
