"""The line of each call, and of each attempt at a background job."""

import asyncio
import logging
import re
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from starlette.requests import Request as StarletteRequest
from starlette.responses import PlainTextResponse
from starlette.routing import Route
from support.asgi import EVENTS, Exchange, scope
from support.calls import until

from potassium import Batch, Jobs, Limits, Potassium, UsageError
from potassium.errors import QueueFull
from potassium.observe.logs.access import LONGEST_PATH
from potassium.testing import client

TRACE = "0af7651916cd43dd8448eb211c80319c"
DOCS = Path(__file__).parents[2] / "docs" / "access-logs.md"


@pytest.fixture(autouse=True)
def _access_log_is_on(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("POTASSIUM_LOG", "json")
    caplog.set_level(logging.INFO, "potassium.access")


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> "Lines":
    return Lines(caplog)


class Lines:
    """The lines of calls that were logged."""

    def __init__(self, caplog: pytest.LogCaptureFixture) -> None:
        self._caplog = caplog

    def __call__(self) -> list[dict[str, Any]]:
        """Return the fields of each line, with its text as ``message``."""
        of_calls = [one for one in self._caplog.records if one.name == "potassium.access"]
        known = {*vars(logging.makeLogRecord({})), "asctime"} - {"message"}
        return [
            {name: value for name, value in vars(one).items() if name not in known}
            for one in of_calls
        ]

    def one(self) -> dict[str, Any]:
        (line,) = self()
        return line

    async def wait(self, count: int) -> list[dict[str, Any]]:
        await until(lambda: len(self()) >= count)
        return self()


def echo(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    if json_in.get("wait"):
        threading.Event().wait(0.02)
    if json_in.get("fail"):
        raise ValueError(json_in)
    return json_in


def letters(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
    for letter in "abc":
        threading.Event().wait(0.01)
        yield letter


def both(cache: dict[str, Any], items: list[dict[str, Any]]) -> list[Any]:
    return items


def new_app(**options: Any) -> Potassium:
    app = Potassium("test", **options)
    app.handler(echo)
    app.handler("/letters")(letters)
    app.handler("/both", batch=Batch(max_size=2, max_delay=5))(both)
    app.handler("/steps", prepare=lambda value: value, finish=lambda value: value)(echo)
    return app


async def test_a_call_has_one_line(lines: Lines) -> None:
    """It says who called what, what came of it, where the time went, and how much was sent."""
    async with client(new_app()) as http:
        headers = {"X-Request-Id": "r-1", "traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
        response = await http.post("/", json={"wait": True}, headers=headers)
    line = lines.one()
    times = {name: line.pop(name) for name in ("queue_ms", "run_ms", "total_ms")}
    assert 20 <= times["run_ms"] <= times["total_ms"]
    assert 0 <= times["queue_ms"] <= times["total_ms"]
    message = line.pop("message")
    assert line == {
        "request_id": "r-1",
        "trace_id": TRACE,
        "client": "127.0.0.1:123",  # httpx's
        "method": "POST",
        "path": "/",
        "handler": "/",
        "status": 200,
        "bytes_in": len(b'{"wait":true}'),
        "bytes_out": len(response.content),
    }
    assert re.fullmatch(
        r"POST / 200 in [\d.]+ ms \(queue [\d.]+, run [\d.]+\) from 127.0.0.1:123", message
    )


async def test_a_batch_and_the_steps_around_a_handler_are_told(lines: Lines) -> None:
    """A call in a batch has its size; ``prepare=`` and ``finish=`` have times of their own."""
    async with client(new_app()) as http:
        await asyncio.gather(*(http.post("/both", json={"a": 1}) for _ in range(2)))
        await http.post("/steps", json={})
    *batched, steps = lines()
    assert [line["batch_size"] for line in batched] == [2, 2]
    assert "batch_size" not in steps
    assert steps["prepare_ms"] >= 0
    assert steps["finish_ms"] >= 0


async def test_a_stream_has_its_line_at_its_end(lines: Lines) -> None:
    """It has the time to the first chunk, the number of chunks, and all that was sent."""
    app = new_app()
    async with app.lifespan():
        exchange = Exchange(app, path="/letters", accept=EVENTS)
        await exchange.next()
        await exchange.body()
        assert lines() == []
        await exchange.rest()
    line = lines.one()
    assert (line["chunks"], line["status"]) == (3, 200)
    assert 10 <= line["first_chunk_ms"] < line["run_ms"] <= line["total_ms"]
    assert line["bytes_out"] > 3


async def test_a_client_that_leaves_a_stream_is_told(lines: Lines) -> None:
    """The status is what was sent, and the code says what happened."""
    app = new_app()
    release = threading.Event()

    @app.handler("/held")
    def held(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
        yield "a"
        release.wait(10)
        yield "b"

    async with app.lifespan():
        exchange = Exchange(app, path="/held")
        await exchange.next()
        await exchange.body()
        exchange.leave()
        await lines.wait(1)
        release.set()
    line = lines.one()
    assert (line["status"], line["code"], line["chunks"]) == (200, "client_left", 1)


async def test_a_client_that_leaves_before_its_response_is_told(lines: Lines) -> None:
    """Whether its call waits or runs; 499 is what the log says if nobody was there to send to."""
    app = new_app()
    begun, release = threading.Event(), threading.Event()

    @app.handler("/held")
    def held(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        begun.set()
        release.wait(10)

    async with app.lifespan():
        first, second = Exchange(app, path="/held"), Exchange(app, path="/held")
        await asyncio.to_thread(begun.wait)
        first.leave()
        second.leave()
        await lines.wait(2)
        release.set()
    assert [(line["status"], line["code"]) for line in lines()] == [(499, "client_left")] * 2
    assert all("run_ms" not in line and line["queue_ms"] >= 0 for line in lines())
    assert [line["bytes_out"] for line in lines()] == [0, 0]


async def test_a_client_that_leaves_before_its_body_is_sent_is_told(lines: Lines) -> None:
    """Nothing is answered then, and yet there is a line."""
    app = new_app()

    async def receive() -> dict[str, Any]:
        return {"type": "http.disconnect"}

    async def send(_: Any) -> None:
        raise AssertionError

    async with app.lifespan():
        await app(scope(), receive, send)
    line = lines.one()
    assert (line["status"], line["code"], line["handler"]) == (499, "client_left", "/")
    assert "bytes_in" not in line


@pytest.mark.parametrize(
    ("call", "status", "code", "handler"),
    [
        ({"path": "/", "x_api_key": "wrong"}, 401, "unauthorized", "/"),
        ({"path": "/nowhere"}, 404, "not_found", None),
        ({"path": "/", "method": "DELETE"}, 405, "method_not_allowed", "/"),
        ({"path": "/", "body": b"[" * 99}, 413, "body_too_large", "/"),
        ({"path": "/", "body": b"{"}, 400, "malformed_json", "/"),
    ],
)
async def test_what_is_refused_before_a_handler_has_a_line(
    lines: Lines, call: dict[str, Any], status: int, code: str, handler: str | None
) -> None:
    """Keys, paths, methods, sizes and bodies that are wrong: with the code of the answer."""
    app = new_app(api_keys=["key"], limits=Limits(body_size=10))
    async with app.lifespan():
        exchange = Exchange(app, **{"x_api_key": "key", **call})
        assert (await exchange.next())["status"] == status
        await exchange.rest()
    line = lines.one()
    assert (line["status"], line["code"], line.get("handler")) == (status, code, handler)


@pytest.mark.parametrize(
    ("call", "size"),
    [
        ({"body": b"{"}, 1),
        ({"body": b"[1, 2]", "path": "/typed"}, 6),
        ({"body": b"", "path": "/typed"}, 0),
        ({"body": b"{", "content_encoding": "gzip"}, None),
        ({"body": b"{}", "content_length": "11"}, None),
        ({"path": "/nowhere"}, None),
    ],
)
async def test_the_line_of_a_refused_body_has_its_size(
    lines: Lines, call: dict[str, Any], size: int | None
) -> None:
    """If it was read: what is wrong with it may be its size."""
    app = new_app(limits=Limits(body_size=10))

    @app.handler("/typed")
    def typed(cache: dict[str, Any], item: list[str]) -> None: ...

    async with app.lifespan():
        await Exchange(app, **call).rest_of_response()
    line = lines.one()
    assert 400 <= line["status"] < 500
    assert line.get("bytes_in") == size


async def test_a_call_that_is_not_admitted_has_a_line(
    lines: Lines, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without times of a run; the reason is its code."""
    app = new_app()
    async with client(app) as http:
        services = app._runtime.services
        assert services is not None

        def refuse(*_: Any, **__: Any) -> None:
            raise QueueFull("No.", retry_after=1)

        monkeypatch.setattr(services.engine, "admit", refuse)
        assert (await http.post("/", json={})).status_code == 503
    line = lines.one()
    assert (line["status"], line["code"]) == (503, "queue_full")
    assert "queue_ms" not in line


async def test_a_call_that_fails_has_a_line(lines: Lines) -> None:
    """With the status and code that the client gets."""
    async with client(new_app()) as http:
        await http.post("/", json={"fail": True})
    line = lines.one()
    assert (line["status"], line["code"]) == (500, "handler_error")


async def test_what_ends_an_apps_own_route_has_a_line(lines: Lines) -> None:
    """An exception that nobody answers is a 500 in the log, as the server makes it one."""

    async def broken(request: StarletteRequest) -> PlainTextResponse:
        raise KeyboardInterrupt

    app = new_app(routes=[Route("/own", broken)])
    async with app.lifespan():
        with pytest.raises(KeyboardInterrupt):
            await app(scope("/own", "GET"), lambda: None, lambda _: None)  # type: ignore[arg-type,return-value]
    line = lines.one()
    assert (line["status"], line["code"]) == (500, "internal_error")


@pytest.mark.parametrize(
    "path", ["/healthz", "/readyz", "/_k/status", "/_k/warmup", "/metrics", "/docs/assets/a.js"]
)
async def test_probes_scrapes_and_the_pages_files_have_no_lines(lines: Lines, path: str) -> None:
    """They come again and again, and would bury all others; ``access_log="all"`` has them too."""
    app = new_app(metrics=True)
    async with client(app) as http:
        await http.get(path)
        assert lines() == []
    app = new_app(metrics=True)
    app._parts.observation.log("json", access="all")
    async with client(app) as http:
        await http.get(path)
    assert lines.one()["path"] == path


async def test_a_handler_at_a_path_of_probes_has_lines(lines: Lines) -> None:
    """What is called is a handler then."""
    app = new_app()
    app.handler("/ping")(echo)
    async with client(app) as http:
        await http.post("/ping", json={})
    assert lines.one()["handler"] == "/ping"


@pytest.mark.parametrize("access", [None, True, "all"])
async def test_a_call_has_one_line_whatever_turns_it_on(lines: Lines, access: Any) -> None:
    """Both ``log=`` and ``access_log=`` do, and together they do it once."""
    app = new_app()
    app._parts.observation.log(None, access=access)
    async with client(app) as http:
        await http.post("/", json={})
    assert len(lines()) == 1


@pytest.mark.parametrize(
    ("handlers", "root", "ours", "is_told"),
    [
        (False, logging.INFO, logging.NOTSET, True),  # as under uvicorn
        (True, logging.WARNING, logging.NOTSET, True),  # as after basicConfig()
        (True, logging.WARNING, logging.WARNING, False),  # as with log_level="warning"
        (True, logging.INFO, logging.NOTSET, False),
    ],
)
async def test_a_start_says_it_if_nothing_writes_the_lines(
    monkeypatch: pytest.MonkeyPatch,
    handlers: bool,
    root: int,
    ours: int,
    is_told: bool,
) -> None:
    """They were asked for, and would be missed when it is too late."""
    said: list[str] = []
    potassium = logging.getLogger("potassium")
    monkeypatch.setattr(logging.getLogger("potassium.access"), "level", logging.NOTSET)
    monkeypatch.setattr(potassium, "level", ours)
    monkeypatch.setattr(logging.getLogger(), "level", root)
    if not handlers:
        monkeypatch.setattr(logging.getLogger(), "handlers", [])
    monkeypatch.setattr(potassium, "warning", lambda text, *_: said.append(text))
    for one in (potassium, logging.getLogger("potassium.access")):
        one._cache.clear()  # type: ignore[attr-defined] # of what is enabled
    async with new_app().lifespan():
        pass
    assert any("nothing writes them" in one for one in said) is is_told


async def test_the_access_log_can_be_off(lines: Lines) -> None:
    """``access_log=False`` turns it off although the log has a format."""
    app = new_app()
    assert app._parts.observation.log("json", access=False) == "json"
    async with client(app) as http:
        await http.post("/", json={})
    assert lines() == []


async def test_off_means_that_nobody_looks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Without ``log=``, no middleware measures anything."""
    monkeypatch.delenv("POTASSIUM_LOG")
    app = new_app()
    assert app._parts.observation.exchanges == []
    assert app._parts.observation.of_attempts is None


async def test_a_level_above_info_turns_lines_off(
    lines: Lines, caplog: pytest.LogCaptureFixture
) -> None:
    """``log_level="warning"`` leaves warnings and errors."""
    caplog.set_level(logging.WARNING, "potassium.access")
    async with client(new_app(jobs=Jobs(path=None))) as http:
        await http.post("/", json={}, headers={"Prefer": "respond-async"})
        await http.post("/", json={})
    assert lines() == []


@pytest.mark.parametrize("given", ["yaml", "JSON", True, 1, ""])
def test_a_format_that_does_not_exist_is_an_error(given: Any) -> None:
    """The message names those that there are."""
    with pytest.raises(UsageError, match=r'log=.*"json" or "text"'):
        new_app().serve(log=given)


def test_an_access_log_that_does_not_exist_is_an_error() -> None:
    """The message names those that there are."""
    with pytest.raises(UsageError, match=r'access_log=.*True, False or "all"'):
        new_app().serve(access_log="some")  # type: ignore[arg-type]


def test_a_typo_in_the_environment_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    """``POTASSIUM_LOG`` names the format, whoever runs the app."""
    monkeypatch.setenv("POTASSIUM_LOG", "jsn")
    with pytest.raises(UsageError, match="POTASSIUM_LOG='jsn' must be json or text"):
        Potassium("test")


def test_an_empty_variable_is_none(monkeypatch: pytest.MonkeyPatch) -> None:
    """As with all variables of ours."""
    monkeypatch.setenv("POTASSIUM_LOG", "")
    assert Potassium("test")._parts.observation.exchanges == []


@pytest.mark.parametrize(
    ("path", "shown"),
    [
        ("/a\nPOST /b 200", "/a%0APOST%20/b%20200"),
        ("/\x1b[31mred", "/%1B%5B31mred"),
        ("/\u202eevil", "/%E2%80%AEevil"),
        ("/caf\u00e9 a%b", "/caf\u00e9 a%b"),
        ("/" + "x" * 9999, "/" + "x" * (LONGEST_PATH - 1) + "..."),
    ],
)
async def test_a_path_cannot_break_a_line(lines: Lines, path: str, shown: str) -> None:
    """What is not visible is escaped as in a URL, and a path without end is cut."""
    app = new_app()
    async with app.lifespan():
        await Exchange(app, path=path).rest_of_response()
    line = lines.one()
    assert line["path"] == shown
    assert line["message"].isprintable()


@pytest.mark.parametrize("name", ["x_request_id", "traceparent", "user_agent"])
async def test_a_header_cannot_break_a_line(lines: Lines, name: str) -> None:
    """Ids that are not visible ASCII are not taken; other headers are not in the line."""
    app = new_app()
    async with app.lifespan():
        headers: dict[str, Any] = {name: "a\n\x1b[31mb" * 99}
        await Exchange(app, **headers).rest_of_response()
    line = lines.one()
    assert re.fullmatch(r"[\w-]{36}", line["request_id"])
    assert "trace_id" not in line
    assert "[31m" not in str(line)


async def test_queries_are_left_out(lines: Lines) -> None:
    """They may hold secrets."""
    async with client(new_app()) as http:
        await http.post("/?token=secret", json={})
        await http.get("/nowhere?token=secret")
    assert "secret" not in str(lines())


@pytest.mark.parametrize(
    ("given", "shown"),
    [
        (("1.2.3.4", 5), "1.2.3.4:5"),
        (("::1", 5), "[::1]:5"),
        (("2001:db8::1", 0), "2001:db8::1"),  # as X-Forwarded-For has it
        (("evil\n", 0), "evil%0A"),
        (None, None),  # over a Unix socket
        (("", 0), None),
    ],
)
async def test_a_client_is_shown_by_its_address(
    lines: Lines, given: tuple[str, int] | None, shown: str | None
) -> None:
    """With its port if that is known; there is none over a Unix socket."""
    app = new_app()

    async def receive() -> dict[str, Any]:
        return {"type": "http.request", "body": b"{}"}

    async def send(_: Any) -> None:
        pass

    async with app.lifespan():
        await app({**scope(), "client": given}, receive, send)
    assert lines.one().get("client") == shown


async def test_the_trace_that_tracing_knows_comes_first(lines: Lines) -> None:
    """What a tracer notes counts, whenever it does, and whatever the client has sent."""

    class Tracer:
        def began(self, exchange: Any) -> None:
            pass

        def ended(self, exchange: Any) -> None:
            exchange.trace_id = "f" * 32

    app = new_app()
    app._parts.observation.exchanges.append(Tracer())
    app._parts.observation.log("json", access=True)
    async with client(app) as http:
        await http.post("/", json={}, headers={"traceparent": f"00-{TRACE}-{'b' * 16}-01"})
    assert lines.one()["trace_id"] == "f" * 32


async def test_a_jobs_lines_carry_its_id(lines: Lines) -> None:
    """The line of its submit, and one at the end of each attempt, with the submit's other ids."""
    app = new_app(jobs=Jobs(path=None))
    trace = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    headers = {"Prefer": "respond-async", "X-Request-Id": "r-1", **trace}
    async with client(app) as http:
        job = (await http.post("/", json={"wait": True}, headers=headers)).json()
        submit, attempt = await lines.wait(2)
    assert (submit["status"], submit["job_id"], submit["bytes_in"]) == (202, job["id"], 13)
    assert job["id"] in submit["message"]
    assert {"queue_ms", "run_ms"}.isdisjoint(submit)
    assert attempt.pop("run_ms") >= 20
    assert attempt.pop("queue_ms") >= 0
    message = attempt.pop("message")
    assert attempt == {
        "request_id": "r-1",
        "trace_id": TRACE,
        "job_id": job["id"],
        "handler": "/",
        "job_status": "succeeded",
        "attempt": 1,
        "attempts_limit": 1,
    }
    assert message.startswith(f"job {job['id']} of / succeeded after attempt 1 of 1 (queue ")


async def test_each_attempt_at_a_job_has_a_line(lines: Lines) -> None:
    """A job that is tried again is queued, and at last it has failed; the code says why."""
    app = new_app(jobs=Jobs(path=None, attempts=2, backoff=0.001))
    async with client(app) as http:
        await http.post("/", json={"fail": True}, headers={"Prefer": "respond-async"})
        attempts = (await lines.wait(3))[1:]
    assert [(one["attempt"], one["job_status"]) for one in attempts] == [
        (1, "queued"),
        (2, "failed"),
    ]
    assert {one["code"] for one in attempts} == {"handler_error"}


async def test_a_job_that_is_cancelled_has_a_line(lines: Lines) -> None:
    """Once it has begun."""
    app = new_app(jobs=Jobs(path=None))
    begun = threading.Event()

    @app.background("/held")
    async def held(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        begun.set()
        await asyncio.Event().wait()

    async with client(app) as http:
        job = (await http.post("/held", json={})).json()
        await asyncio.to_thread(begun.wait)
        await http.delete(f"/jobs/{job['id']}")
        await lines.wait(3)
    (line,) = [line for line in lines() if "attempt" in line]
    assert (line["job_status"], line["code"]) == ("cancelled", "job_cancelled")


async def test_every_field_is_in_the_documentation(lines: Lines) -> None:
    """The table has each field that a line of any kind has, and no other."""
    app = new_app(jobs=Jobs(path=None))
    traced = {"traceparent": f"00-{TRACE}-b7ad6b7169203331-01"}
    async with client(app) as http:
        await http.post("/", json={}, headers={**traced, "Prefer": "respond-async"})
        await http.post("/letters", json={})
        await http.post("/steps", json={})
        await asyncio.gather(*(http.post("/both", json={"a": 1}) for _ in range(2)))
        await http.get("/nowhere")
        await lines.wait(7)
    table = DOCS.read_text("utf-8").partition("## Fields")[2].partition("\n## ")[0]
    shown = set(re.findall(r"^\| `(\w+)`", table, re.MULTILINE))
    of_all = {"time", "level", "logger", "message", "exception", "stack", "worker"}
    assert {name for line in lines() for name in line} | of_all == shown
