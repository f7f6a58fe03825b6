"""Probe a server's liveness repeatedly, on one connection or on a new one each time."""

import http.client
import time


def healthz(port: int, *, seconds: float, every: float = 0.02, anew: bool = False) -> list[float]:
    """Return how long each ``GET /healthz`` took, in seconds.

    Args:
        port: the server's port on 127.0.0.1.
        seconds: how long to probe.
        every: seconds from an answer to the next request.
        anew: open a connection for each request, as probes of orchestrators do.

    Raises:
        SystemExit: an answer was not 200.

    """
    latencies = []
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.connect()
    end = time.perf_counter() + seconds
    while (started := time.perf_counter()) < end:
        if anew:
            connection.close()  # the next request opens another one
        connection.request("GET", "/healthz")
        answer = connection.getresponse()
        answer.read()
        latencies.append(time.perf_counter() - started)
        if answer.status != http.HTTPStatus.OK:
            raise SystemExit(f"/healthz answered {answer.status}")
        time.sleep(every)
    connection.close()
    return latencies
