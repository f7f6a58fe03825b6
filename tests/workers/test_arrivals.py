"""The calls that a worker process has: it keeps none that is over."""

import socket
from collections.abc import Iterator
from typing import Any

import pytest

from potassium import Potassium
from potassium.errors import ClientLeft
from potassium.http.message import Message
from potassium.workers.arrivals import Arrivals
from potassium.workers.calls import Call, encode_call, encode_group
from potassium.workers.link import WorkerLink

HEADERS = [(b"content-type", b"application/json")]


@pytest.fixture
def arrivals(app: Potassium) -> Iterator[Arrivals]:
    @app.handler("/a", prepare=_prepare)
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
        return json_in

    ours, its = socket.socketpair()
    unused: Any = None
    with ours, its:
        yield Arrivals(app._parts.plan.handlers, WorkerLink(its), unused)


def _prepare(json_in: dict[str, Any]) -> dict[str, Any]:
    return json_in


def payload(number: int) -> bytes:
    call = Call(number, 0, 0, None, 1.0, Message("id", HEADERS, b"{}"), {}, {})
    return b"".join(encode_group(0, [encode_call(call)]))


def test_a_prepared_call_that_is_called_off_is_forgotten(arrivals: Arrivals) -> None:
    """It waits in the front, and nothing else comes of it here."""
    _, (job,) = arrivals.group(payload(1))
    job.group, job.is_unprepared = None, False
    arrivals.call_off(1, ClientLeft())
    assert not arrivals._jobs


def test_a_call_that_is_called_off_as_it_is_prepared_is_kept(arrivals: Arrivals) -> None:
    """Until the front is told that it is done."""
    _, (job,) = arrivals.group(payload(1))
    job.group = None
    assert job.is_unprepared
    arrivals.call_off(1, ClientLeft())
    assert job.called_off is not None
    arrivals.forget(job)
    assert not arrivals._jobs


def test_a_call_of_a_group_that_is_called_off_is_kept(arrivals: Arrivals) -> None:
    """Until its turn comes."""
    _, (job,) = arrivals.group(payload(1))
    job.is_unprepared = False
    arrivals.call_off(1, ClientLeft())
    assert arrivals._jobs == {1: job}
