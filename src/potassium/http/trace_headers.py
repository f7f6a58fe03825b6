"""The headers that continue a trace elsewhere: in a webhook's receiver, or in a background job."""

from collections.abc import Collection, Sequence
from typing import Protocol

__all__ = ["NO_TRACE", "Headers", "TraceHeaders"]

Headers = Sequence[tuple[str, str]]


class TraceHeaders(Protocol):
    """Writes headers that continue the current trace, such as ``traceparent`` (W3C Trace Context).

    Its methods never raise. They may be called in any context.
    """

    def names(self) -> Collection[str]:
        """Return the names that such headers may have, in lower case."""

    def current(self, *, for_stranger: bool = False) -> Headers:
        """Return the headers, names in lower case; none outside of a trace.

        For a stranger, what the app's own code has attached to the trace is left out.
        """

    def submitted(self, job_id: str) -> None:
        """Note in the current trace that it has submitted a background job."""


class _NoTrace:
    """Writes none."""

    def names(self) -> Collection[str]:
        return ()

    def current(self, *, for_stranger: bool = False) -> Headers:  # noqa: ARG002
        return ()

    def submitted(self, job_id: str) -> None:
        pass


NO_TRACE: TraceHeaders = _NoTrace()
