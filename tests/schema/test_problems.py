"""Errors, as the schema shows them: by status, with their stable codes."""

import importlib
from typing import Any

import pytest
from support.kitchen import app as kitchen
from support.schemas import answer, check, operation

from potassium import HTTPException, InvalidInput, Potassium, errors
from potassium.testing import client

PROBLEM = "application/problem+json"

# Never sent to a client, or without a status of a path that exists.
NOT_ANSWERED = {"UsageError", "Unavailable", "StreamBroken", "ClientLeft"}


def refuse(cache: dict[str, Any], json_in: dict[str, Any]) -> dict[str, Any]:
    if "status" in json_in:
        raise HTTPException(json_in["status"], json_in.get("detail"))
    if "invalid" in json_in:
        raise InvalidInput("No.", [{"loc": ["a", 1], "msg": "why", "type": "t"}])
    if "raise" in json_in:
        raise KeyError
    return {"set": {object()}} if "odd" in json_in else {}


def codes(app: Potassium, status: int) -> list[str]:
    schema = app.openapi()["components"]["schemas"][f"Problem{status}"]
    found: list[str] = schema["properties"]["code"]["enum"]
    return found


def test_every_error_is_in_the_schema() -> None:
    """Each that a client may get has its code at its status, somewhere."""
    importlib.import_module("potassium.store")  # whose errors are shown where it is used
    app = Potassium(api_keys=["a"])
    app.background("/")(refuse)
    app.handler("/direct")(refuse)
    missing = [
        name
        for name in set(errors.__all__) - NOT_ANSWERED
        if getattr(errors, name).code not in codes(app, getattr(errors, name).status)
    ]
    assert missing == []


@pytest.mark.parametrize(
    ("sent", "status", "code"),
    [
        (b"{", 400, "malformed_json"),
        (b"[]", 422, "invalid_input"),
        (b'{"invalid": 1}', 422, "invalid_input"),
        (b'{"status": 422, "detail": {"a": 1}}', 422, "invalid_input"),
        (b'{"status": 503}', 503, "service_unavailable"),
        (b'{"status": 400}', 400, "bad_request"),
        (b'{"raise": 1}', 500, "handler_error"),
        (b'{"odd": 1}', 500, "unserializable_output"),
    ],
)
async def test_what_fails_is_answered_as_the_schema_says(
    app: Potassium, sent: bytes, status: int, code: str
) -> None:
    """The status is shown with a document that has this code."""
    app.handler(refuse)
    async with client(app) as http:
        failed = await http.post("/", content=sent, headers={"Content-Type": "application/json"})
    assert (failed.status_code, failed.json()["code"]) == (status, code)
    check(app, answer(app, "/", str(status))[PROBLEM], failed.json())


async def test_any_other_status_has_a_problem_document_too(app: Potassium) -> None:
    """A handler may refuse with any status, and with a code that nobody else knows."""
    app.handler(refuse)
    async with client(app) as http:
        failed = await http.post("/", json={"status": 418})
    assert "418" not in operation(app)["responses"]
    check(app, answer(app, "/", "default")[PROBLEM], failed.json())


def test_an_operation_lists_only_its_own_codes() -> None:
    """The schema of a status has those of all of them; descriptions have those of one."""
    listed = {
        path: operation(kitchen, path)["responses"]["503"]["description"]
        for path in ("/order", "/cook")
    }
    assert "`queue_full`" in listed["/order"]
    assert "`queue_full`" not in listed["/cook"]
    assert "416" not in operation(kitchen, "/order")["responses"]
    assert "416" in operation(kitchen, "/jobs/{id}/output", "get")["responses"]
    assert "415" in operation(kitchen, "/photo")["responses"]
    raw = operation(kitchen, "/photo")["responses"]["415"]["description"]
    assert "`unsupported_encoding`" in raw
    assert "The content type" not in raw


@pytest.mark.parametrize(
    ("status", "header"), [("503", "Retry-After"), ("415", "Accept"), ("401", "WWW-Authenticate")]
)
def test_headers_of_responses_are_shown(status: str, header: str) -> None:
    """Those of errors, and the request's id, which all responses have."""
    app = Potassium(api_keys=["a"])
    app.handler(refuse)
    responses = operation(app)["responses"]
    assert header in responses[status]["headers"]
    assert all("X-Request-Id" in one["headers"] for one in responses.values())
