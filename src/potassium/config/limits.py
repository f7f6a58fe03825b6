"""How much work one server accepts."""

from dataclasses import dataclass

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much work one server accepts, and for how long.

    Attributes:
        queue_size: maximum number of jobs that wait for the GPU thread, and the same for each async
            handler; more are refused with 503 ``queue_full``.
        connections: maximum number of connections; beyond it, idle ones are closed, and without any
            a new one is refused with 503. None for what the limit on open files allows.
        head_size: maximum bytes in a request's target and headers; more are refused with 431.
        head_timeout: maximum seconds for a request's head to arrive, and for a new connection to
            be silent; after that the connection is closed.
        body_size: maximum bytes in a request's body; a longer one is refused with 413.
        body_memory: maximum bytes that the bodies of all requests take together, from their first
            byte to the end of the call, with what is parsed of them; more are refused with 503
            ``overloaded``. Bodies of up to 8 KiB are not counted.
        json_values: maximum number of values in a JSON body, as a measure of the time that it takes
            to parse: an array or an object counts as four, and if it is validated, each field that
            it may have as two more. A body with more is refused with 413.
        body_timeout: maximum seconds from a request's headers to the end of its body; a slower
            one is refused with 408.
        timeout: maximum seconds for waiting in the queue and running together, after which the
            caller gets 504; None for no limit. ``@app.handler(timeout=...)`` overrides it.
        grace_period: seconds that open calls have to finish once the server is asked to stop; the
            rest then get 503.
        hang_timeout: seconds after which a call that has not returned means that its thread is
            stuck for good: the server fails, and so does its liveness check. None for never.
        stream_stall_timeout: seconds within which a client must read some of its response; after
            that the response is cut off.
        responses_size: maximum bytes of responses, all together, that clients have yet to read;
            beyond it, the largest are cut off.
        send_buffer: bytes that ``request.send`` may be ahead of a client before it waits.
        send_memory: the same for all clients together; each may be 1 MiB behind in any case.
        send_timeout: maximum seconds that it may wait in one call, in all, as the GPU thread waits
            with it; after that the stream is cut off.
        priorities: let clients send ``X-Priority: low``, ``normal`` or ``high``. Only a bounded
            number of other jobs can overtake a job, so none starves.
        fair: refuse a call if its client has as many calls in the queue as there are free places,
            so that nobody who floods the server shuts others out. Clients are told apart by their
            API key or, without keys, by their address.

    Raises:
        UsageError: a value is invalid.

    """

    queue_size: int = 256
    connections: int | None = None
    head_size: int = 64 * 1024
    head_timeout: float = 10.0
    body_size: int = 10 * 1024 * 1024
    body_memory: int = 192 * 1024 * 1024
    json_values: int = 1_000_000
    body_timeout: float = 30.0
    timeout: float | None = None
    grace_period: float = 30.0
    hang_timeout: float | None = None
    stream_stall_timeout: float = 30.0
    responses_size: int = 256 * 1024 * 1024
    send_buffer: int = 16 * 1024 * 1024
    send_memory: int = 128 * 1024 * 1024
    send_timeout: float = 2.0
    priorities: bool = False
    fair: bool = False

    def __post_init__(self) -> None:
        """Check every value."""
        check_count("queue_size", self.queue_size)
        if self.connections is not None:
            check_count("connections", self.connections)
        check_count("head_size", self.head_size)
        check_seconds("head_timeout", self.head_timeout)
        check_count("responses_size", self.responses_size)
        check_count("body_size", self.body_size)
        check_count("body_memory", self.body_memory)
        check_count("json_values", self.json_values)
        check_seconds("body_timeout", self.body_timeout)
        check_seconds("grace_period", self.grace_period)
        check_seconds("stream_stall_timeout", self.stream_stall_timeout)
        check_count("send_buffer", self.send_buffer)
        check_count("send_memory", self.send_memory)
        check_seconds("send_timeout", self.send_timeout)
        if self.timeout is not None:
            check_seconds("timeout", self.timeout)
        if self.hang_timeout is not None:
            check_seconds("hang_timeout", self.hang_timeout)
        for name, value in (("priorities", self.priorities), ("fair", self.fair)):
            if type(value) is not bool:
                raise UsageError(f"{name}={value!r} must be True or False.")
