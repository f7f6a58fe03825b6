"""The trace of a call, which goes on in the worker: spans that handlers make are its children."""

import sys
from collections.abc import Mapping
from contextlib import suppress
from contextvars import Context

__all__ = ["attach", "continued", "trace_of"]

USED = "opentelemetry.trace"  # imported by whoever makes spans


def trace_of(context: Context | None = None) -> dict[str, str]:
    """Return the headers that continue the trace of a context, or of the current one.

    They are written by the propagator that the process has configured; there are none outside of a
    trace, or if nothing in the process has imported OpenTelemetry.
    """
    headers: dict[str, str] = {}
    if USED in sys.modules:
        from opentelemetry import propagate  # noqa: PLC0415 - only where it is used

        with suppress(Exception):  # propagators may be anybody's
            if context is None:
                propagate.inject(headers)
            else:
                context.run(propagate.inject, headers)
    return headers


def continued(context: Context, headers: Mapping[str, str]) -> Context:
    """Return ``context``, in which the trace that the headers name goes on."""
    if headers:
        context.run(attach, headers)
    return context


def attach(headers: Mapping[str, str]) -> None:
    """Go on with the trace that the headers name, in the current context."""
    if headers and USED in sys.modules:
        from opentelemetry import context as contexts  # noqa: PLC0415 - only where it is used
        from opentelemetry import propagate  # noqa: PLC0415

        with suppress(Exception):  # as above
            contexts.attach(propagate.extract(headers))
