"""Reads and writes the headers by which traces go from one process to another."""

from collections.abc import Collection, Iterable, Mapping

from opentelemetry import propagate
from opentelemetry.context import Context
from opentelemetry.propagators.textmap import Getter
from opentelemetry.trace import get_current_span

from potassium.http.trace_headers import Headers
from potassium.observe.tracing.attributes import MESSAGE
from potassium.observe.tracing.spans import Spans, harmless

__all__ = ["CurrentTrace", "continued", "written"]

# What is stored with each delivery is small: a trace context is 55 bytes long, and a list of states
# need not be passed on beyond this (https://www.w3.org/TR/trace-context/#tracestate-limits).
LONGEST = 512  # characters
BAGGAGE = "baggage"  # https://www.w3.org/TR/baggage/

Wire = Iterable[tuple[bytes, bytes]]


class _OnWire(Getter[Wire]):
    """Reads the headers of an ASGI scope."""

    def get(self, carrier: Wire, key: str) -> list[str] | None:
        wanted = key.lower().encode()
        return [value.decode("latin-1") for name, value in carrier if name == wanted] or None

    def keys(self, carrier: Wire) -> list[str]:
        return [name.decode("latin-1") for name, _ in carrier]


ON_WIRE = _OnWire()


def continued(headers: Wire | Mapping[str, str], context: Context) -> Context:
    """Return ``context`` with the trace and the baggage that a client's or a job's headers name.

    They are read by the propagator that the process has configured; by default, they are
    ``traceparent``, ``tracestate`` and ``baggage``.
    """
    if isinstance(headers, Mapping):
        return propagate.extract(headers, context)
    return propagate.extract(headers, context, ON_WIRE)


def written(context: Context | None = None) -> Headers:
    """Return the headers, names in lower case, that continue the trace of a context, or of this."""
    headers: dict[str, str] = {}
    propagate.inject(headers, context)
    return [(name.lower(), value) for name, value in headers.items() if len(value) <= LONGEST]


class CurrentTrace:
    """Writes the headers that continue the current trace, with the propagator of the process.

    Longer ones than ``LONGEST`` are left out. Strangers, such as the webhook URL that a client
    has given, get no baggage: the app's own code may have put something into it.
    """

    def __init__(self, spans: Spans) -> None:
        self.spans = spans

    def names(self) -> Collection[str]:
        """Return the names that such headers may have, in lower case."""
        try:
            return {name.lower() for name in propagate.get_global_textmap().fields}
        except Exception:  # noqa: BLE001 - propagators may be anybody's
            self.spans.failed()
            return ()

    def current(self, *, for_stranger: bool = False) -> Headers:
        """Return the headers, names in lower case; none outside of a trace."""
        try:
            headers = written()
        except Exception:  # noqa: BLE001 - as above
            self.spans.failed()
            return ()
        return [one for one in headers if not (for_stranger and one[0] == BAGGAGE)]

    @harmless
    def submitted(self, job_id: str) -> None:
        """Note in the current trace that it has submitted a background job."""
        get_current_span().set_attribute(MESSAGE, job_id)
