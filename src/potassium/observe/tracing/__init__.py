"""Traces of calls, by OpenTelemetry's API; the app's own set-up says where they go."""

try:
    import opentelemetry.trace  # noqa: F401
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'Traces need opentelemetry-api: pip install "potassium[otel]"'
    ) from error
import logging
from contextlib import AbstractContextManager
from typing import TYPE_CHECKING

from potassium.config import Traces
from potassium.jobs.outcome import Work
from potassium.observe.tracing.headers import CurrentTrace
from potassium.observe.tracing.in_process import Traced, call_of, submit_of
from potassium.observe.tracing.jobs import JobSpans
from potassium.observe.tracing.posts import TracedPosting
from potassium.observe.tracing.requests import RequestSpans
from potassium.observe.tracing.spans import Spans
from potassium.observe.tracing.work import TracedWork

if TYPE_CHECKING:
    from potassium.webhooks.deliverer import Posting  # imports httpx

__all__ = ["AppTraces"]

logger = logging.getLogger("potassium.traces")


class AppTraces:
    """The traces of one app. Nothing of this raises, whatever an exporter does.

    Attributes:
        requests: makes a span for each request.
        jobs: makes spans for the steps of calls, and for batches.
        headers: pass traces on to webhooks and background jobs.

    """

    def __init__(self, options: Traces, spans: Spans | None = None) -> None:
        self._spans = spans or Spans()
        self.requests = RequestSpans(self._spans, options)
        self.jobs = JobSpans(self._spans)
        self.headers = CurrentTrace(self._spans)

    def ready(self) -> None:
        """Say it if no spans are made: the app has started, and the process is set up."""
        if not self._spans.may_record:
            logger.warning(
                "traces are on, but this process makes no spans: set up OpenTelemetry's SDK with "
                "trace.set_tracer_provider(...), or start the process with opentelemetry-instrument"
            )

    def calling(self, path: str) -> AbstractContextManager[object]:
        """Return a context for making a call in the process, whose span ends with the call."""
        return Traced(self._spans, call_of(path))

    def submitting(self, path: str) -> AbstractContextManager[object]:
        """Return a context for submitting a background job in the process."""
        return Traced(self._spans, submit_of(path))

    def work(self, work: Work) -> Work:
        """Return what runs background jobs, each attempt in a trace of its own."""
        return TracedWork(work, self._spans)

    def posting(self, post: "Posting") -> "Posting":
        """Return what posts webhooks, each attempt in a span of its own."""
        return TracedPosting(post, self._spans)
