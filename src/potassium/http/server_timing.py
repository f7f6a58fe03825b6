"""``Server-Timing``: how long a call has waited, and how long it has run.

See https://www.w3.org/TR/server-timing/. Clients ask for it with ``X-Timing: 1``.
"""

import time
from typing import Protocol

from starlette.types import Message, Scope, Send

__all__ = ["Timed", "timed"]


class Timed(Protocol):
    """A call whose time is measured.

    Attributes:
        began_at: when it began to run, in monotonic seconds; None until then.

    """

    began_at: float | None


def timed(send: Send, scope: Scope, call: Timed) -> Send:
    """Return what sends the response of a call that was just admitted, with its times if wanted.

    A stream's head is sent with its first chunk.
    """
    for name, value in scope["headers"]:  # a loop: any() takes twice as long, for each call
        if name == b"x-timing" and value.strip() == b"1":
            return _timed(send, call, time.monotonic())
    return send


def _timed(send: Send, call: Timed, admitted_at: float) -> Send:
    async def send_timed(message: Message) -> None:
        if message["type"] == "http.response.start":
            header = (b"server-timing", _shown(call.began_at, admitted_at))
            message = {**message, "headers": [*message["headers"], header]}
        await send(message)

    return send_timed


def _shown(began_at: float | None, admitted_at: float) -> bytes:
    now = time.monotonic()
    # A thread may have begun before its admission was timed.
    waited = max((now if began_at is None else began_at) - admitted_at, 0)
    shown = b"queue;dur=%.3f" % (waited * 1000)
    return shown if began_at is None else b"%b, run;dur=%.3f" % (shown, (now - began_at) * 1000)
