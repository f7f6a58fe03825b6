"""What a call wants done, one step after the other; how it is done is for the clients to know.

A flow is a generator: it yields steps, gets back what each resulted in, or has thrown into it what
it raised, and returns its result. All that the clients decide is in flows: when to try again, what
a stream means, when a job has ended. They never wait and never touch a socket, so there is one of
each, for ``Client`` and ``AsyncClient`` alike.

Steps that reach the network raise ``httpx.RequestError``, or ``TimeoutError`` once ``deadline``, in
monotonic seconds, has passed.
"""

from collections.abc import Generator
from dataclasses import dataclass
from typing import Any, TypeAlias, TypeVar

import httpx

__all__ = ["Emit", "Flow", "Load", "Read", "Send", "Sleep", "Step"]

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Send:
    """Send a request. Results in the response, of which only the head has arrived.

    It is closed when the next request is sent, or when the flow ends.
    """

    request: httpx.Request
    deadline: float | None


@dataclass(frozen=True, slots=True)
class Load:
    """Read all of the body of the last response."""

    deadline: float | None


@dataclass(frozen=True, slots=True)
class Read:
    """Read on in the body of the last response. Results in some bytes, or in none at its end."""

    deadline: float | None


@dataclass(frozen=True, slots=True)
class Sleep:
    """Let ``seconds`` pass."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Emit:
    """Give the user an item of a stream."""

    item: Any


Step: TypeAlias = Send | Load | Read | Sleep | Emit
Flow: TypeAlias = Generator[Step, Any, T]
