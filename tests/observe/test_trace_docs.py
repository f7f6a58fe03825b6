"""docs/traces.md says what spans there are, and what they say."""

import asyncio
import logging
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan
from opentelemetry.trace import SpanKind
from support.posts import Post, delivery
from support.traces import PARENT, Recorded, id_of

from potassium import Batch, Jobs, Potassium
from potassium.observe.tracing.posts import TracedPosting
from potassium.observe.tracing.spans import Spans
from potassium.testing import client

TEXT = (Path(__file__).parents[2] / "docs" / "traces.md").read_text("utf-8")

Value = dict[str, Any]


def rows(heading: str) -> list[list[str]]:
    """Return the cells of each row of the table below a heading."""
    section = TEXT.partition(f"## {heading}\n")[2].partition("\n## ")[0]
    lines = [line for line in section.splitlines() if line.startswith("|")][2:]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines]


def names(cell: str) -> list[str]:
    return re.findall(r"`([^`]+)`", cell)


def kind_of(span: ReadableSpan) -> str:
    """Return the word that the table of attributes has for a span."""
    first = span.name.partition(" ")[0]
    if span.kind is SpanKind.CLIENT:
        return "webhook"
    return "request" if first.isupper() else first


async def use_all() -> None:
    """Make a span of every kind, with every attribute."""
    app = Potassium("test", traces=True, jobs=Jobs(path=None))

    def fails(value: Any) -> Any:
        raise ValueError

    @app.handler("/embed", batch=Batch(max_size=2), prepare=lambda item: item)
    def embed(cache: Value, items: list[Any]) -> list[Any]:
        return [ValueError() if item.get("fails") else item for item in items]

    @app.handler("/chat")
    def chat(cache: Value, json_in: Value) -> Iterator[str]:
        yield "a"

    app.handler("/prepare", prepare=fails)(lambda cache, item: item)
    app.handler("/finish", finish=fails)(lambda cache, item: item)

    @app.background("/train", attempts=1)
    def train(cache: Value, json_in: Value) -> None:
        raise ValueError

    async with client(app) as http:
        headers = {"traceparent": PARENT, "host": "models.test:80"}
        await http.post("/embed", json={}, headers=headers)
        await http.request("BREW", "/embed")
        for path in ("/embed", "/prepare", "/finish"):
            await http.post(path, json={"fails": True})
        await http.post("/chat", json={})
        waits = {"Prefer": "wait=5, respond-async"}
        await http.post("/chat", json={}, headers=waits)
        await http.post("/train", json={}, headers=waits)
        await app.submit("/train", {})
        await app.call("/embed", {})
        await app.call("/chat", {})
        await asyncio.gather(app.call("/embed", {"fails": True}), return_exceptions=True)
        await TracedPosting(Post(500), Spans())(delivery(attempts=1, job_id="j-1"))


async def test_the_table_of_spans_is_what_there_is(spans: Recorded) -> None:
    """Names, kinds and parents."""
    await use_all()
    await spans.wait_for("process /train", 2)
    told = {names(row[0])[0]: (row[1], row[2].partition(";")[0]) for row in rows("Spans")}
    made = {id_of(span): span for span in spans.all()}
    shown = {"POST /embed", "call /embed", "submit /train", "process /train", "batch /embed"}
    seen = set()
    for span in spans.all():
        name = span.name if " " not in span.name or span.name in shown else None
        if name is None:
            continue
        seen.add(name)
        kind, parent = told[name]
        assert span.kind.name == kind
        above = None if span.parent is None else made.get(span.parent.span_id)
        if parent == "the call":
            assert above is not None
            assert kind_of(above) in ("request", "call", "process")
        else:
            assert above is None
            assert span.parent is None or parent != "none"
    assert seen == told.keys()


async def test_the_table_of_attributes_is_what_there_is(spans: Recorded) -> None:
    """On each kind of span."""
    await use_all()
    await spans.wait_for("process /train", 2)
    told = {
        (attribute, kind)
        for row in rows("Attributes")
        for attribute in names(row[0])
        for kind in row[1].split(", ")
    }
    seen = {
        (attribute, kind_of(span)) for span in spans.all() for attribute in span.attributes or ()
    }
    assert seen == told


async def test_log_lines_of_handlers_can_have_the_id_of_the_trace(
    spans: Recorded, caplog: pytest.LogCaptureFixture
) -> None:
    """With the filter that the page shows."""
    (shown,) = re.findall(r"```python\n(class WithTrace.*?)```", TEXT, re.DOTALL)
    made: dict[str, Any] = {"logging": logging, "trace": trace}
    exec(shown, made)  # noqa: S102 - the page's own code
    app = Potassium("test", traces=True)

    @app.handler("/embed")
    def embed(cache: Value, json_in: Value) -> None:
        logging.getLogger("app").warning("slow")

    with caplog.filtering(made["WithTrace"]()):
        async with client(app) as http:
            await http.post("/embed", json={}, headers={"traceparent": PARENT})
    (record,) = [one for one in caplog.records if one.name == "app"]
    assert record.trace_id == PARENT.split("-")[1]  # type: ignore[attr-defined]
