"""When a call is sent again, and for how long."""

from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from typing import Any

import httpx
import pytest
from support.flows import Script, ok, options, problem

from potassium.client import (
    CallFailed,
    ConnectionFailed,
    DeadlineExceeded,
    Refused,
    ServerFailed,
)
from potassium.client.calls import call, submission

REQUEST = httpx.Request("POST", "http://server/")
NEVER_SENT = [httpx.ConnectError("no"), httpx.ConnectTimeout("no"), httpx.PoolTimeout("no")]
MAY_HAVE_RUN = [
    httpx.ReadError("broken"),
    httpx.ReadTimeout("silent"),
    httpx.RemoteProtocolError("cut"),
    httpx.WriteError("broken"),
]


def run(script: Script, *, client: dict[str, Any] | None = None, **given: Any) -> Any:
    return script.run(call(script.settings(**client or {}), "/", {}, None, options(**given)))


@pytest.mark.parametrize("code", ["queue_full", "overloaded", "starting", "draining"])
def test_a_refusal_is_sent_again_after_what_the_server_asks_for(code: str) -> None:
    """The wait is ``Retry-After``, and something on top so that not all clients come at once."""
    script = Script(problem(503, code, retry_after="7"), ok("result"))
    assert run(script) == "result"
    assert script.sleeps == [7.5]


def test_too_many_requests_are_a_refusal_too() -> None:
    """429 is what gateways answer with."""
    script = Script(httpx.Response(429, headers={"retry-after": "2"}), ok())
    run(script)
    assert script.sleeps == [2.5]


def test_the_waits_grow() -> None:
    """What is added to ``Retry-After`` doubles, up to 8 s."""
    refusals = [problem(503, "queue_full", retry_after="1")] * 7
    script = Script(*refusals, ok())
    run(script, client={"retries": 7})
    assert script.sleeps == [1.5, 2, 3, 5, 9, 9, 9]


def test_retry_after_may_be_a_date() -> None:
    """RFC 9110, section 10.2.3."""
    when = format_datetime(datetime.now(UTC) + timedelta(seconds=30), usegmt=True)
    script = Script(problem(503, "draining", retry_after=when), ok())
    run(script)
    assert 28 < script.sleeps[0] < 31


def test_who_asks_for_an_hour_is_not_waited_for() -> None:
    """A call that seems to hang for an hour helps nobody."""
    script = Script(problem(503, "queue_full", retry_after="3600"))
    with pytest.raises(Refused) as caught:
        run(script)
    assert caught.value.retry_after == 3600


def test_a_retry_after_that_means_nothing_is_ignored() -> None:
    """It may come from anywhere."""
    script = Script(problem(503, "queue_full", retry_after="soon"))
    with pytest.raises(Refused) as caught:
        run(script)
    assert caught.value.retry_after is None


def test_retries_are_counted() -> None:
    """After ``retries`` more attempts, the last refusal is raised."""
    script = Script(*[problem(503, "queue_full", retry_after="1")] * 3)
    with pytest.raises(Refused, match="503 queue_full: A detail"):
        run(script, client={"retries": 2})
    assert len(script.requests) == 3


@pytest.mark.parametrize("answer", [problem(503, "queue_full", retry_after="1"), *NEVER_SENT])
def test_retries_can_be_turned_off(answer: Any) -> None:
    """``retries=False`` is one attempt."""
    script = Script(answer)
    with pytest.raises(CallFailed):
        run(script, client={"retries": False})
    assert len(script.requests) == 1


@pytest.mark.parametrize("error", NEVER_SENT, ids=lambda error: type(error).__name__)
def test_a_connection_that_never_was_is_tried_again(error: Exception) -> None:
    """Nothing was sent, so nothing can have run."""
    script = Script(error, ok("result"))
    assert run(script) == "result"


@pytest.mark.parametrize("error", MAY_HAVE_RUN, ids=lambda error: type(error).__name__)
def test_a_call_that_may_have_run_is_not_sent_again(error: Exception) -> None:
    """The connection broke after the call was sent, and nobody knows how far it got."""
    script = Script(error)
    with pytest.raises(ConnectionFailed) as caught:
        run(script)
    assert caught.value.code == "connection_failed"
    assert caught.value.__cause__ is error
    assert len(script.requests) == 1


@pytest.mark.parametrize("error", MAY_HAVE_RUN, ids=lambda error: type(error).__name__)
def test_an_idempotent_call_is_sent_again_in_any_case(error: Exception) -> None:
    """The caller says that it does no harm to run twice."""
    script = Script(error, ok("result"))
    assert run(script, idempotent=True) == "result"


@pytest.mark.parametrize("error", MAY_HAVE_RUN, ids=lambda error: type(error).__name__)
def test_a_submission_is_safe_to_send_again(error: Exception) -> None:
    """It has a key, the same in all attempts, that keeps it one job."""
    accepted = httpx.Response(202, json={})
    script = Script(error, accepted)
    settings = script.settings()
    assert script.run(submission(settings, "/train", {}, options())) is accepted
    keys = [request.headers["idempotency-key"] for request in script.requests]
    assert len(set(keys)) == 1

    script.answers = [accepted]
    script.run(submission(settings, "/train", {}, options()))
    assert script.requests[-1].headers["idempotency-key"] not in keys


def test_a_call_that_ran_out_of_memory_has_run() -> None:
    """503 without ``Retry-After`` says nothing about whether the call has run."""
    script = Script(problem(503, "out_of_memory"))
    with pytest.raises(Refused):
        run(script)
    assert len(script.requests) == 1


@pytest.mark.parametrize("status", [502, 503, 504])
def test_a_proxy_that_has_no_server_is_asked_again_about_idempotent_calls_only(status: int) -> None:
    """It does not say whether the server has had the call."""
    html = httpx.Response(status, html="<h1>Sorry</h1>")
    with pytest.raises(CallFailed):
        run(Script(html))
    assert run(Script(html, ok("result")), idempotent=True) == "result"


@pytest.mark.parametrize(
    ("status", "code"), [(422, "invalid_input"), (500, "handler_error"), (504, "deadline_exceeded")]
)
def test_what_would_fail_again_is_not_tried_again(status: int, code: str) -> None:
    """Not even an idempotent call."""
    script = Script(problem(status, code))
    with pytest.raises(CallFailed) as caught:
        run(script, idempotent=True)
    assert (caught.value.status, caught.value.code) == (status, code)


def test_all_attempts_and_waits_count_towards_the_deadline() -> None:
    """There is no wait that the deadline would end: the refusal is raised at once."""
    script = Script(*[problem(503, "queue_full", retry_after="5")] * 9, took=1.0)
    with pytest.raises(Refused):
        run(script, client={"retries": 9}, deadline=13)
    assert script.sleeps == [5.5]
    assert script.now == 100 + 1 + 5.5 + 1


def test_the_deadline_ends_an_attempt() -> None:
    """It is raised as a ``TimeoutError``, too."""
    script = Script(ok(), took=31)
    with pytest.raises(DeadlineExceeded) as caught:
        run(script, deadline=30, idempotent=True)
    assert isinstance(caught.value, TimeoutError)
    assert caught.value.code == "deadline_exceeded"


def test_a_call_has_its_own_deadline_or_the_clients() -> None:
    """The call's own deadline counts, if it has one."""
    script = Script(ok(), ok(), ok())
    settings = {"deadline": 60.0}
    run(script, client=settings)
    run(script, client=settings, deadline=5)
    run(script)
    sent = [request.headers.get("prefer") for request in script.requests]
    assert sent == ["wait=60.000", "wait=5.000", None]


def test_the_server_knows_how_much_time_is_left() -> None:
    """Each attempt says how long the client still waits."""
    script = Script(problem(503, "queue_full", retry_after="3"), ok(), took=2)
    run(script, deadline=30)
    assert [one.headers["prefer"] for one in script.requests] == ["wait=30.000", "wait=24.500"]


def test_a_failed_handler_is_no_timeout() -> None:
    """The classes of errors tell what happened."""
    with pytest.raises(ServerFailed) as caught:
        run(Script(problem(500, "handler_error")))
    assert not isinstance(caught.value, TimeoutError)
