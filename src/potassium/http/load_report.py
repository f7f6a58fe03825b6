"""``endpoint-load-metrics``: the load of a server, in the response to a balancer that asks (ORCA).

The names are those of the load report of xDS, ``xds.data.orca.v3.OrcaLoadReport``:
https://github.com/cncf/xds/blob/main/xds/data/orca/v3/orca_load_report.proto. The forms are those
that Envoy reads: https://github.com/envoyproxy/envoy/issues/6614.
"""

from collections.abc import Mapping
from dataclasses import dataclass

from potassium.http.codec import encode

__all__ = ["ASKS_FOR_LOAD", "Load", "load_report"]

ASKS_FOR_LOAD = b"endpoint-load-metrics-format"


@dataclass(frozen=True, slots=True, kw_only=True)
class Load:
    """The load of a server.

    Attributes:
        application_utilization: 0 if it has nothing to do; from 1 on, calls have to wait.
        rps_fractional: calls that ended or were refused, per second.
        eps: those of them that failed or were refused, per second.
        named_metrics: further figures, by name.

    """

    application_utilization: float
    rps_fractional: float
    eps: float
    named_metrics: Mapping[str, float]


def load_report(form: bytes, load: Load) -> bytes | None:
    """Return the value of the header in a form, ``TEXT`` or ``JSON``; None if it is unknown."""
    figures = {
        "application_utilization": round(load.application_utilization, 4),
        "rps_fractional": round(load.rps_fractional, 3),
        "eps": round(load.eps, 3),
    }
    named = {name: round(value, 4) for name, value in load.named_metrics.items()}
    match form.strip().upper():
        case b"TEXT":
            figures |= {f"named_metrics.{name}": value for name, value in named.items()}
            return f"TEXT {', '.join(f'{name}={figures[name]}' for name in figures)}".encode()
        case b"JSON":
            return b"JSON " + encode({**figures, "named_metrics": named})
    return None
