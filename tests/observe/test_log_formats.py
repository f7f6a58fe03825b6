"""Log records as JSON and as text."""

import asyncio
import json
import logging
import sys
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from io import StringIO
from typing import Any

import pytest
from opentelemetry import trace
from support.calls import until
from support.traces import mine, recording

from potassium import Jobs, Potassium
from potassium.http.request import CURRENT
from potassium.observe.logs.fields import CallIds
from potassium.observe.logs.json_lines import JsonLines
from potassium.observe.logs.text_lines import TextLines, wants_colours
from potassium.testing import client, request

HOSTILE = [
    "a\n2026-11-26 12:00:00,000 INFO:     fake",
    "\r\n\x00\x07",
    "\x1b[2J\x1b]0;title\x07",
    "\x9b31m",
    "\x7f",
    "\u2028\u2029\x85",
    "\u202egnp.exe",
    "\u200b\ufeff",
    "\ud800 half a pair",
]


def record(message: str, *arguments: Any, level: int = logging.INFO, **extra: Any) -> Any:
    name = extra.pop("name", "potassium")
    exc_info, stack = extra.pop("exc_info", None), extra.pop("sinfo", None)
    return logging.getLogger(name).makeRecord(
        name, level, "app.py", 7, message, arguments, exc_info, None, extra or None, stack
    )


def as_json(*arguments: Any, **extra: Any) -> dict[str, Any]:
    line = JsonLines().format(record(*arguments, **extra))
    assert line.isprintable()
    fields: dict[str, Any] = json.loads(line)
    return fields


def as_text(*arguments: Any, colours: bool = False, **extra: Any) -> str:
    return TextLines(colours=colours).format(record(*arguments, **extra))


def raised(message: str = "no") -> Any:
    def fail() -> None:
        raise ValueError(message)

    try:
        fail()
    except ValueError:
        return sys.exc_info()


def test_a_record_is_one_object() -> None:
    """With time, level, logger and message, in this order, and what was given as ``extra``."""
    fields = as_json("hello %s", "you", name="app.model", n=1, tags=["a"], none=None)
    at = datetime.fromisoformat(fields.pop("time"))
    assert at.tzname() == "UTC"
    assert list(fields.items()) == [
        ("level", "INFO"),
        ("logger", "app.model"),
        ("message", "hello you"),
        ("n", 1),
        ("tags", ["a"]),
        ("none", None),
    ]


def test_the_time_is_rfc_3339_with_milliseconds() -> None:
    """In UTC, so that lines of several machines sort."""
    one = record("x")
    one.created = 1.5
    assert json.loads(JsonLines().format(one))["time"] == "1970-01-01T00:00:01.500Z"


def test_a_traceback_is_one_field() -> None:
    """All of it, with line breaks as JSON has them."""
    fields = as_json("failed", exc_info=raised())
    assert fields["message"] == "failed"
    assert fields["exception"].startswith("Traceback (most recent call last):\n")
    assert fields["exception"].endswith("\nValueError: no")


def test_a_message_that_is_a_traceback_is_one_too() -> None:
    """Servers log a failed start like this: the message is its last line."""
    trace = "Traceback (most recent call last):\n  File ...\nRuntimeError: no such model\n"
    fields = as_json(trace)
    assert fields["message"] == "RuntimeError: no such model"
    assert fields["exception"] == trace.rstrip()
    text = as_text(trace)
    assert text.splitlines()[0].endswith(" INFO:     RuntimeError: no such model")
    assert text.splitlines()[1:] == [f"    {line}" for line in trace.splitlines()]


def test_a_stack_is_one_field() -> None:
    """That of ``stack_info=True``."""
    assert as_json("here", sinfo="Stack:\n  here")["stack"] == "Stack:\n  here"
    assert as_text("here", sinfo="Stack:\n  here").endswith("\n    Stack:\n      here")


def test_an_extra_field_does_not_hide_ours() -> None:
    """It gets a name of its own."""
    fields = as_json("x", level_=1, time="noon", logger=2)
    assert (fields["extra_time"], fields["extra_logger"], fields["level"]) == ("noon", 2, "INFO")


@dataclass
class Point:
    x: int


class Unshowable:
    def __repr__(self) -> str:
        raise RuntimeError


CIRCLE: list[Any] = []
CIRCLE.append(CIRCLE)


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (Point(1), {"x": 1}),
        ({1: 2}, {"1": 2}),
        (2**70, 2**70),
        (float("nan"), None),
        (ValueError("no"), "no"),
        ({"a"}, "{'a'}"),
        (b"a", "b'a'"),
        (Unshowable(), "<Unshowable whose repr() raised RuntimeError>"),
        (CIRCLE, "[[...]]"),
        ("\ud800", "\ud800"),
    ],
)
def test_every_value_can_be_logged(value: Any, shown: Any) -> None:
    """What JSON does not have is shown by its ``repr()``; the rest of the line is as ever."""
    fields = as_json("x", value=value, other=1)
    assert (fields["value"], fields["other"]) == (shown, 1)


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_value_breaks_a_line_of_json(hostile: str) -> None:
    """Neither a message nor a field nor a traceback: what was logged comes back as it was."""
    fields = as_json("%s", hostile, value=hostile, exc_info=raised(hostile))
    assert (fields["message"], fields["value"]) == (hostile, hostile)
    assert hostile.rstrip() in fields["exception"]


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_message_breaks_a_line_of_text(hostile: str) -> None:
    """It is shown with escapes."""
    line = as_text("got %s.", hostile, name="app", request_id=hostile)
    assert line.isprintable()
    assert "got " in line


@pytest.mark.parametrize("hostile", HOSTILE)
def test_no_traceback_looks_like_a_line_of_its_own(hostile: str) -> None:
    """All of it is indented, and no control character is left."""
    first, *rest = as_text("failed", exc_info=raised(hostile)).split("\n")
    assert first.endswith("failed")
    assert rest
    assert all(line.startswith("    ") and line.isprintable() for line in rest)


def test_a_line_of_text_has_time_level_and_message() -> None:
    """As plain lines have; loggers of the app's own are named."""
    assert as_text("hello")[23:] == " INFO:     hello"
    assert as_text("hello", name="uvicorn.error", level=30)[23:] == " WARNING:  hello"
    assert as_text("hello", name="app.model")[23:] == " INFO:     app.model: hello"


@pytest.mark.parametrize("job_id", ["", None])
def test_an_id_that_is_none_is_not_appended(job_id: str | None) -> None:
    """A webhook of a call, for one, has no job."""
    assert "job_id" not in as_text("hello", job_id=job_id)


def test_ids_are_appended_to_a_line_of_text() -> None:
    """Unless the message has them already."""
    ids: dict[str, Any] = {"request_id": "r-1", "job_id": "j-1"}
    assert as_text("hello", **ids).endswith(" hello request_id=r-1 job_id=j-1")
    assert as_text("hello (request r-1)", **ids).endswith(" hello (request r-1) job_id=j-1")


def test_colours_are_for_levels_and_for_calls_that_failed() -> None:
    """Yellow for what a client did wrong, red for what the server did."""
    assert as_text("hello", colours=True)[23:] == " \x1b[32mINFO\x1b[0m:     hello"
    assert as_text("call", colours=True, status=404).endswith("\x1b[33mcall\x1b[0m")
    assert as_text("call", colours=True, status=500).endswith("\x1b[31mcall\x1b[0m")
    assert as_text("call", colours=True, status=200).endswith(" call")


class Terminal(StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize(
    ("environment", "stream", "coloured"),
    [
        ({}, Terminal(), True),
        ({}, StringIO(), False),
        ({}, None, False),
        ({"TERM": "dumb"}, Terminal(), False),
        ({"NO_COLOR": "1"}, Terminal(), False),
        ({"NO_COLOR": ""}, Terminal(), True),
        ({"FORCE_COLOR": "1"}, StringIO(), True),
        ({"FORCE_COLOR": ""}, StringIO(), False),
        ({"FORCE_COLOR": "1", "NO_COLOR": "1"}, Terminal(), False),
    ],
)
def test_terminals_get_colours(
    monkeypatch: pytest.MonkeyPatch,
    environment: dict[str, str],
    stream: StringIO | None,
    coloured: bool,
) -> None:
    """``NO_COLOR`` and ``FORCE_COLOR`` decide, in this order, if they are set and not empty."""
    for name in ("NO_COLOR", "FORCE_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert wants_colours(stream) is coloured


def test_a_line_that_orjson_refuses_looks_like_all_others() -> None:
    """Whoever searches the log for ``"level":"INFO"`` finds it."""
    line = JsonLines().format(record("\ud800 half a pair"))
    assert '"level":"INFO","logger":"potassium","message":"\\ud800 half a pair"' in line


def test_a_line_inside_of_a_span_has_the_id_of_its_trace() -> None:
    """Unless it was given one; outside, it has none."""
    ids = CallIds()
    outside, inside, given = record("x"), record("x"), record("x", trace_id="mine")
    ids.filter(outside)
    with recording(), mine():
        ids.filter(inside)
        ids.filter(given)
        expected = trace.get_current_span().get_span_context().trace_id
    assert not hasattr(outside, "trace_id")
    assert (inside.trace_id, given.trace_id) == (f"{expected:032x}", "mine")


def test_opentelemetry_is_not_imported_for_log_lines(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where nobody uses it."""
    for name in [name for name in sys.modules if name.startswith("opentelemetry")]:
        monkeypatch.delitem(sys.modules, name)
    assert CallIds().filter(record("x"))
    assert not any(name.startswith("opentelemetry") for name in sys.modules)


def test_a_line_that_a_handler_logs_has_the_id_of_its_call() -> None:
    """Unless it was given one; a line from elsewhere has none."""
    ids = CallIds()
    outside, inside, given = record("x"), record("x"), record("x", request_id="mine")
    ids.filter(outside)
    token = CURRENT.set(request(headers={"X-Request-Id": "r-1"}))
    try:
        ids.filter(inside)
        ids.filter(given)
    finally:
        CURRENT.reset(token)
    assert not hasattr(outside, "request_id")
    assert (inside.request_id, given.request_id) == ("r-1", "mine")
    assert not hasattr(inside, "job_id")


def logs(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    logging.getLogger("model").info("hello")
    return json_in


async def logs_on_loop(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    return await asyncio.to_thread(logs, cache, json_in)


def logs_in_stream(cache: dict[str, Any], json_in: dict[str, Any]) -> Iterator[str]:
    yield "a"
    logs(cache, json_in)
    yield "b"


async def logs_in_stream_on_loop(cache: dict[str, Any], json_in: Any) -> AsyncIterator[str]:
    yield "a"
    logs(cache, json_in)


def logs_in_step(value: Any) -> Any:
    return logs({}, value)


@pytest.mark.parametrize(
    ("handler", "steps"),
    [
        (logs, {}),
        (logs_on_loop, {}),
        (logs_in_stream, {}),
        (logs_in_stream_on_loop, {}),
        (lambda cache, json_in: json_in, {"prepare": logs_in_step}),
        (lambda cache, json_in: json_in, {"finish": logs_in_step}),
    ],
)
@pytest.mark.parametrize("is_job", [False, True])
async def test_lines_of_every_step_have_the_ids_of_the_call(
    caplog: pytest.LogCaptureFixture, handler: Any, steps: dict[str, Any], is_job: bool
) -> None:
    """On the GPU thread, in the pool, on the loop, on a thread of the handler's own, in streams."""
    app = Potassium("test", jobs=Jobs(path=None))
    app.handler("/", **steps)(handler)
    caplog.set_level(logging.INFO, "model")
    ids = CallIds()
    caplog.handler.addFilter(ids)
    headers = {"X-Request-Id": "r-1", **({"Prefer": "respond-async"} if is_job else {})}
    try:
        async with client(app) as http:
            response = await http.post("/", json={}, headers=headers)
            await until(lambda: any(one.name == "model" for one in caplog.records))
    finally:
        caplog.handler.removeFilter(ids)
    (line,) = [one for one in caplog.records if one.name == "model"]
    expected = response.json()["id"] if is_job else None
    assert (line.request_id, getattr(line, "job_id", None)) == ("r-1", expected)  # type: ignore[attr-defined]
