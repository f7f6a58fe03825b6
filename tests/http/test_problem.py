"""The response to a failed call, and what is logged."""

import json
import logging

import pytest
from starlette.exceptions import HTTPException

from potassium.errors import (
    DeadlineExceeded,
    HandlerError,
    InvalidInput,
    JobCancelled,
    PotassiumError,
    QueueFull,
    StreamBroken,
    UnserializableOutput,
)
from potassium.http.problem import failure_reply, internal
from potassium.http.reply import Reply


def answer(error: PotassiumError, *, debug: bool = False) -> Reply:
    return failure_reply(error, "/train", "r-1", debug=debug)


def caused(error: PotassiumError, cause: Exception) -> PotassiumError:
    error.__cause__ = cause
    return error


def test_what_nobody_expected_is_logged_with_its_cause(caplog: pytest.LogCaptureFixture) -> None:
    """The log has what the client must not see, and says which request it was."""
    cause = ValueError("the secret of the model")
    reply = answer(caused(HandlerError("The handler raised an exception."), cause))
    assert (reply.status, json.loads(reply.body)["code"]) == (500, "handler_error")
    assert b"secret" not in reply.body
    (record,) = caplog.records
    assert record.levelno == logging.ERROR
    assert record.getMessage() == "/train failed: handler_error (request r-1)"
    assert record.exc_info is not None
    assert record.exc_info[1] is cause
    assert (record.request_id, record.handler) == ("r-1", "/train")  # type: ignore[attr-defined]


def test_an_error_without_a_cause_is_logged_itself(caplog: pytest.LogCaptureFixture) -> None:
    """Every logged error has a traceback."""
    error = UnserializableOutput("no JSON")
    answer(error)
    assert caplog.records[0].exc_info is not None
    assert caplog.records[0].exc_info[1] is error


@pytest.mark.parametrize(
    ("error", "status"),
    [
        (QueueFull("full", retry_after=1), 503),
        (DeadlineExceeded(), 504),
        (StreamBroken("broken"), 500),
        (JobCancelled(), 499),
        (InvalidInput("no"), 422),
    ],
)
def test_what_is_to_be_expected_is_not_logged(
    error: PotassiumError, status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """Errors caused by load, deadlines or clients are no reason to wake anybody."""
    assert answer(error).status == status
    assert not caplog.records


@pytest.mark.parametrize("status", [200, 404, 503, 599])
def test_a_handler_answers_with_an_exception_of_starlettes(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The exception's status and detail are sent, and nothing is logged."""
    error = caused(HandlerError("raised"), HTTPException(status, "as it says"))
    reply = answer(error)
    assert (reply.status, json.loads(reply.body)["detail"]) == (status, "as it says")
    assert not caplog.records


@pytest.mark.parametrize("status", [100, 199, 600, 1000])
def test_a_status_that_cannot_be_sent_is_the_handlers_mistake(
    status: int, caplog: pytest.LogCaptureFixture
) -> None:
    """The client gets 500, and the error is logged."""
    assert answer(caused(HandlerError("raised"), HTTPException(status, "no"))).status == 500
    assert len(caplog.records) == 1


def test_a_traceback_is_for_development() -> None:
    """The traceback is in the response only with debug=True."""
    error = caused(HandlerError("raised"), ValueError("inside"))
    assert "traceback" not in json.loads(answer(error).body)
    assert "ValueError: inside" in json.loads(answer(error, debug=True).body)["traceback"]


def test_an_error_of_our_own_has_what_it_came_from() -> None:
    """An internal error keeps its cause, and the client is not told of it."""
    cause = KeyError("secret")
    error = internal(cause)
    assert error.__cause__ is cause
    reply = answer(error)
    assert reply.status == 500
    assert b"secret" not in reply.body
