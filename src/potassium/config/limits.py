"""How much work one server accepts."""

from dataclasses import dataclass

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = ["Limits"]


@dataclass(frozen=True, kw_only=True)
class Limits:
    """How much work one server accepts, and for how long.

    Attributes:
        queue_size: maximum number of calls that wait for the GPU thread; each ``async def`` handler
            has its own queue with the same maximum. More are refused with 503 ``queue_full``.
        connections: maximum number of connections; beyond it, idle ones are closed to make room,
            and if none is idle, a new one is refused with 503 ``too_many_connections``. None for
            as many as the limit on open files allows.
        head_size: maximum bytes in the target and headers of a request; a larger head is refused
            with 431.
        head_timeout: maximum seconds for a request head to arrive, and for a new connection to
            send nothing; after that, the connection is closed.
        body_size: maximum bytes in a request body, as it is sent and once it is decompressed; a
            larger one is refused with 413. ``@app.handler(body_size=...)`` overrides it.
        body_memory: maximum bytes of memory for all request bodies together, including the values
            parsed from them, from a body's first byte to the end of its call; beyond it, bodies are
            refused with 503 ``overloaded``. A body of up to 8 KiB is always accepted, and so is one
            that is alone.
        body_disk: maximum bytes on disk for all request bodies together, in the same way. A body
            goes to disk if it is larger than 1 MiB and its handler does not need it in memory, or
            if it is larger than ``body_size`` and its handler allows that. ``TMPDIR`` names the
            folder.
        json_values: maximum number of values in a JSON body, an estimate of the work of parsing it:
            an array or an object counts as four values. If pydantic validates the body, a number or
            a string counts as two, and an array or an object as six plus three for each field of
            the model. A body with more is refused with 413.
        body_timeout: seconds within which a body must arrive, or another 1 MiB of it; a slower one
            is refused with 408.
        timeout: maximum seconds for waiting in the queue and running together, after which the
            caller gets 504; None for no limit. ``@app.handler(timeout=...)`` overrides it.
        grace_period: seconds that open calls have to finish once the server is asked to stop; the
            rest then get 503.
        hang_timeout: seconds after which a call that has not returned means that its thread is
            stuck for good: the server fails, and so does its liveness check. None for never.
        stream_stall_timeout: seconds within which a client must read some of its response; after
            that, the connection is closed.
        responses_size: maximum bytes of responses that all clients together have yet to read;
            beyond it, the connections with the largest unread responses are closed.
        send_buffer: maximum bytes that ``request.send`` may be ahead of one client; beyond it,
            ``send`` blocks.
        send_memory: maximum bytes that ``request.send`` may be ahead of all clients together;
            beyond it, ``send`` blocks for every client that has at least 1 MiB left to read.
        send_timeout: maximum seconds in total for which ``request.send`` may block during one call
            to a handler, because the GPU thread waits with it; after that, the client loses its
            stream.
        priorities: let clients send ``X-Priority: low``, ``normal`` or ``high``. Only a bounded
            number of other calls can overtake a call, so none starves.
        fair: refuse a call if its client already has as many calls in the queue as there are free
            places, so that a client that floods the server does not shut others out. Clients are
            identified by their API key or, without keys, by their address.

    Raises:
        UsageError: a value is invalid.

    """

    queue_size: int = 256
    connections: int | None = None
    head_size: int = 64 * 1024
    head_timeout: float = 10.0
    body_size: int = 10 * 1024 * 1024
    body_memory: int = 192 * 1024 * 1024
    body_disk: int = 16 * 1024 * 1024 * 1024
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
        check_count("body_disk", self.body_disk)
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
