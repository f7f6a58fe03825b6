"""What an error says, whatever was answered."""

import pickle
import weakref
from typing import Any

import httpx
import pytest
from support.flows import Script, options, problem

from potassium import Potassium, testing
from potassium.client import (
    AsyncClient,
    CallFailed,
    Client,
    ConnectionFailed,
    DeadlineExceeded,
    InvalidInput,
    NotFound,
    Refused,
    ServerFailed,
    Unauthorized,
)
from potassium.client.calls import call


def raised(answer: httpx.Response) -> CallFailed:
    script = Script(answer)
    with pytest.raises(CallFailed) as caught:
        script.run(call(script.settings(retries=0), "/", {}, None, options()))
    return caught.value


def test_an_error_has_all_that_the_problem_document_says() -> None:
    """Members become attributes; the response is there, too."""
    faults = [{"loc": ["top"], "msg": "too small", "type": "greater_than"}]
    answer = problem(422, "invalid_input", request_id="r-1", errors=faults)
    error = raised(answer)
    assert (error.status, error.code) == (422, "invalid_input")
    assert (error.title, error.detail) == ("A title", "A detail.")
    assert error.request_id == "r-1"
    assert error.errors == faults
    assert error.retry_after is None
    assert error.response is answer
    assert str(error) == "422 invalid_input: A detail. top: too small (request r-1)"


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, InvalidInput),
        (401, Unauthorized),
        (404, NotFound),
        (409, CallFailed),
        (413, InvalidInput),
        (415, InvalidInput),
        (418, CallFailed),
        (422, InvalidInput),
        (429, Refused),
        (500, ServerFailed),
        (502, ServerFailed),
        (503, Refused),
        (504, DeadlineExceeded),
    ],
)
def test_the_class_of_an_error_tells_what_to_do(status: int, kind: type[CallFailed]) -> None:
    """A class for each kind of failure; the code tells more."""
    assert type(raised(problem(status, "some_code"))) is kind


@pytest.mark.parametrize(
    ("answer", "code", "told"),
    [
        (
            httpx.Response(502, html="<h1>502  Bad\nGateway</h1>"),
            "bad_gateway",
            "<h1>502 Bad Gatew",
        ),
        (httpx.Response(504), "gateway_timeout", "The answer is empty."),
        (httpx.Response(301, headers={"location": "/x"}), "moved_permanently", "redirects to /x"),
        (httpx.Response(599, text="?"), "status_599", "text/plain"),
        (
            httpx.Response(
                500, content=b"oops", headers={"content-type": "application/problem+json"}
            ),
            "internal_server_error",
            "oops",
        ),
        (
            httpx.Response(
                500, content=b"[1]", headers={"content-type": "application/problem+json"}
            ),
            "internal_server_error",
            "[1]",
        ),
    ],
)
def test_an_answer_that_is_no_problem_document_still_makes_sense(
    answer: httpx.Response, code: str, told: str
) -> None:
    """A proxy answers in HTML, or with nothing: the status gives the code."""
    error = raised(answer)
    assert (error.status, error.code) == (answer.status_code, code)
    assert told in error.detail


def test_an_answer_in_the_form_of_fastapi_is_understood() -> None:
    """A parent app's dependencies refuse calls in it."""
    error = raised(httpx.Response(401, json={"detail": "no such token"}))
    assert str(error) == "401 unauthorized: no such token"
    faults = [{"loc": ["body", "top"], "msg": "too small", "type": "greater_than"}]
    error = raised(httpx.Response(422, json={"detail": faults}))
    assert error.errors == faults
    assert "body.top: too small" in str(error)


@pytest.mark.parametrize("answer", [{"detail": 1}, {"error": "oops"}, ["oops"], "oops"])
def test_any_other_json_is_shown(answer: Any) -> None:
    """As the beginning of an answer that is no problem document."""
    assert "application/json" in raised(httpx.Response(400, json=answer)).detail


def test_a_long_answer_is_not_repeated() -> None:
    """A page of a proxy may be long."""
    assert len(raised(httpx.Response(502, text="x" * 100_000)).detail) < 400


@pytest.mark.parametrize(
    "errors", [["oops"], "oops", [{"msg": "oops"}], [{"loc": 1, "msg": "oops"}]]
)
def test_errors_may_be_of_any_form(errors: Any) -> None:
    """Another server has a form of its own."""
    assert str(raised(problem(422, "invalid", errors=errors))).startswith("422 invalid: A detail.")


def test_a_detail_may_be_json() -> None:
    """An app's ``HTTPException`` may have a detail that is an object."""
    error = raised(problem(409, "conflict", detail={"have": 1}))
    assert error.detail == '{"have":1}'


def test_the_id_of_the_request_is_in_the_head_of_any_answer() -> None:
    """Also where the body does not say it."""
    error = raised(httpx.Response(500, headers={"x-request-id": "r-2"}))
    assert error.request_id == "r-2"


def test_errors_can_be_sent_between_processes() -> None:
    """Pools of processes pickle what their tasks raise."""
    error = raised(problem(422, "invalid_input", request_id="r-1"))
    copy = pickle.loads(pickle.dumps(error))  # noqa: S301 - our own
    assert (type(copy), str(copy), copy.code) == (type(error), str(error), error.code)


async def test_the_failure_of_another_server_is_not_the_answer_of_this_one(
    app: Potassium,
) -> None:
    """A handler that lets a client's error through has failed: 500, not what the other said."""

    def other(request: httpx.Request) -> httpx.Response:
        return problem(401, "unauthorized")

    @app.handler("/proxy")
    async def proxy(cache: dict[str, Any], json_in: dict[str, Any]) -> Any:
        async with AsyncClient("http://other", transport=httpx.MockTransport(other)) as client:
            return await client.call("/")

    async with testing.client(app) as http:
        response = await http.post("/proxy", json={})
    assert (response.status_code, response.json()["code"]) == (500, "handler_error")


@pytest.mark.parametrize("connects", [True, False])
async def test_an_error_that_was_handled_is_freed(connects: bool) -> None:
    """Without the garbage collector: an item may be large."""

    class Item(dict[str, int]):
        pass

    def respond(request: httpx.Request) -> httpx.Response:
        if not connects:
            raise httpx.ConnectError("refused")
        return httpx.Response(500)

    item = Item(a=1)
    gone = weakref.ref(item)
    transport = httpx.MockTransport(respond)
    with Client("http://app", transport=transport, retries=0) as client:
        with pytest.raises(CallFailed) as caught:
            client.call("/", item)
        del item, caught
        assert gone() is None
    item = Item(a=1)
    gone = weakref.ref(item)
    async with AsyncClient("http://app", transport=transport, retries=0) as other:
        with pytest.raises(CallFailed) as caught:
            await other.call("/", item)
        del item, caught
        assert gone() is None


async def test_a_server_that_is_not_there_is_a_failed_connection(free_port: int) -> None:
    """The error says so, without a status."""
    async with AsyncClient(f"http://127.0.0.1:{free_port}", retries=0) as client:
        with pytest.raises(ConnectionFailed) as caught:
            await client.call("/")
    assert caught.value.status is None
    assert caught.value.response is None
