"""A call's deadline, priority and other client preferences, read from the request headers."""

import re
import time
from collections.abc import Mapping
from typing import Any

from starlette.types import Scope

from potassium.engine import Priority

__all__ = ["deadline_of", "priority_of", "wait_of", "wants_job"]

# delta-seconds of the "wait" preference (RFC 7240, section 4.3); fractions are allowed.
WAIT = re.compile(
    rb"(?:^|,)\s*wait\s*=\s*\"?(\d{1,9}(?:\.\d{1,9})?)\"?\s*(?:[,;]|$)", re.IGNORECASE
)

# The "respond-async" preference (section 4.1).
RESPOND_ASYNC = re.compile(rb"(?:^|,)\s*respond-async\s*(?:[,;=]|$)", re.IGNORECASE)

PRIORITIES = {priority.name.lower().encode(): priority for priority in Priority}


def deadline_of(scope: Scope, timeout: float | None) -> float | None:
    """Return the deadline of a request that has just arrived, in monotonic seconds, or None.

    ``Prefer: wait=SECONDS`` can shorten the handler's ``timeout``, but not extend it. A value that
    is not a number of seconds is ignored, as RFC 7240 requires of unrecognized preferences.
    """
    wait = wait_of(scope)
    if wait is not None:
        timeout = wait if timeout is None else min(timeout, wait)
    return None if timeout is None else time.monotonic() + timeout


def wait_of(scope: Scope) -> float | None:
    """Return how many seconds the client wants to wait, or None if it does not say."""
    wait = None
    for name, value in scope["headers"]:
        if name == b"prefer" and (match := WAIT.search(value)):
            wait = float(match[1]) if wait is None else min(wait, float(match[1]))
    return wait


def wants_job(scope: Mapping[str, Any]) -> bool:
    """Return whether the client prefers the call to run in the background."""
    return any(
        name == b"prefer" and RESPOND_ASYNC.search(value) for name, value in scope["headers"]
    )


def priority_of(scope: Scope) -> Priority:
    """Return the priority in ``X-Priority``; normal if it is missing or unknown."""
    for name, value in scope["headers"]:
        if name == b"x-priority":
            return PRIORITIES.get(value.strip().lower(), Priority.NORMAL)
    return Priority.NORMAL
