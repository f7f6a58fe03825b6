"""Spans as the SDK's in-memory exporter has them, and the parts of an app that make some."""

import asyncio
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from opentelemetry import trace
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

__all__ = [
    "CLIENT",
    "PARENT",
    "TRACE",
    "Recorded",
    "id_of",
    "link_ids",
    "mine",
    "provided",
    "recording",
]

TRACE, CLIENT = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{CLIENT}-01"  # a traceparent


class Recorded:
    """The spans that have ended so far."""

    def __init__(self) -> None:
        self.exporter = InMemorySpanExporter()

    def all(self) -> list[ReadableSpan]:
        return list(self.exporter.get_finished_spans())

    def named(self, name: str) -> list[ReadableSpan]:
        return [span for span in self.all() if span.name == name]

    def one(self, name: str) -> ReadableSpan:
        (span,) = self.named(name)
        return span

    async def wait_for(self, name: str, count: int = 1) -> list[ReadableSpan]:
        """Return the spans with a name, once there are ``count``."""
        async with asyncio.timeout(10):
            while len(self.named(name)) < count:  # noqa: ASYNC110 - exporters tell nobody
                await asyncio.sleep(0.001)
        return self.named(name)

    def children(self, of: ReadableSpan) -> list[str]:
        """Return the names of the children of a span, sorted."""
        return sorted(
            span.name
            for span in self.all()
            if span.parent is not None and span.parent.span_id == id_of(of)
        )


def id_of(span: ReadableSpan) -> int:
    assert span.context is not None
    return int(span.context.span_id)


def link_ids(span: ReadableSpan) -> Counter[int]:
    return Counter(link.context.span_id for link in span.links)


@contextmanager
def provided(provider: TracerProvider) -> Iterator[None]:
    """Let the process have this provider, and afterwards the one that it had before."""
    before = trace._TRACER_PROVIDER
    trace._TRACER_PROVIDER = provider
    try:
        yield
    finally:
        trace._TRACER_PROVIDER = before


@contextmanager
def recording(sampler: Sampler | None = None) -> Iterator[Recorded]:
    """Record the spans of apps that are created inside of the context."""
    recorded = Recorded()
    provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
    provider.add_span_processor(SimpleSpanProcessor(recorded.exporter))
    with provided(provider):
        yield recorded


def mine(name: str = "mine") -> Any:
    """Return a context with a span of the app's own code."""
    return trace.get_tracer("app").start_as_current_span(name)
