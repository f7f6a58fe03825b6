"""How long a call is wanted, and how urgently: by the server and by the client."""

import re
import time

from starlette.types import Scope

from potassium.engine import Priority

__all__ = ["deadline_of", "priority_of", "wait_of", "wants_job"]

# delta-seconds of the "wait" preference (RFC 7240, section 4.3), fractions allowed.
WAIT = re.compile(
    rb"(?:^|,)\s*wait\s*=\s*\"?(\d{1,9}(?:\.\d{1,9})?)\"?\s*(?:[,;]|$)", re.IGNORECASE
)

# The "respond-async" preference (section 4.1).
RESPOND_ASYNC = re.compile(rb"(?:^|,)\s*respond-async\s*(?:[,;=]|$)", re.IGNORECASE)

PRIORITIES = {priority.name.lower().encode(): priority for priority in Priority}


def deadline_of(scope: Scope, timeout: float | None) -> float | None:
    """Return the deadline of a request that has just come, in monotonic seconds, or None.

    ``Prefer: wait=SECONDS`` may shorten the handler's ``timeout``, never lengthen it. What is no
    number of seconds is ignored, as RFC 7240 wants of preferences that are not understood.
    """
    wait = wait_of(scope)
    if wait is not None:
        timeout = wait if timeout is None else min(timeout, wait)
    return None if timeout is None else time.monotonic() + timeout


def wait_of(scope: Scope) -> float | None:
    """Return for how many seconds the client wants to wait, or None where it does not say."""
    wait = None
    for name, value in scope["headers"]:
        if name == b"prefer" and (match := WAIT.search(value)):
            wait = float(match[1]) if wait is None else min(wait, float(match[1]))
    return wait


def wants_job(scope: Scope) -> bool:
    """Return whether the client would rather have the call run in the background."""
    return any(
        name == b"prefer" and RESPOND_ASYNC.search(value) for name, value in scope["headers"]
    )


def priority_of(scope: Scope) -> Priority:
    """Return what ``X-Priority`` asks for: normal where it asks for nothing that there is."""
    for name, value in scope["headers"]:
        if name == b"x-priority":
            return PRIORITIES.get(value.strip().lower(), Priority.NORMAL)
    return Priority.NORMAL
