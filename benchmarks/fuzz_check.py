"""Check what every answer must satisfy, whatever the request was."""

from typing import Any

import orjson
from fuzz_app import PATHS
from fuzz_input import Header, Input, Message

SUCCESS = range(200, 300)
ERRORS = range(400, 600)
EMPTY = (204, 304)
INTERNAL = 500
DEEPEST_OUT = 250  # levels; the actual limit is a few more
MEMBERS = {"type", "title", "status", "detail", "code", "request_id"}

VISIBLE = frozenset(range(0x21, 0x7F))


def faults(given: Input, sent: list[Message]) -> str | None:
    """Return what is wrong with the app's answer, or None."""
    if not sent:
        return None if given.leaves else "no answer"
    start, parts = sent[0], sent[1:]
    kinds = [message["type"] for message in sent]
    more = [part.get("more_body", False) for part in parts]
    if kinds != ["http.response.start"] + ["http.response.body"] * max(1, len(parts)):
        return f"not an answer: {kinds}"
    if more != [True] * (len(parts) - 1) + [False]:
        return f"more_body is {more}"
    body = b"".join(part.get("body", b"") for part in parts)
    headers: list[Header] = list(start["headers"])
    status: int = start["status"]
    fault = _request_id(given, headers) or _length(given, status, dict(headers), body)
    if fault is None and status in ERRORS:
        fault = _problem(given, status, dict(headers), body)
    if fault is None and status in SUCCESS:
        fault = _echo(given, body)
    return fault


def _request_id(given: Input, headers: list[Header]) -> str | None:
    answered = [value for name, value in headers if name == b"x-request-id"]
    if len(answered) != 1 or not _is_id(answered[0]):
        return f"X-Request-Id is {answered}"
    sent = [value for name, value in given.scope["headers"] if name == b"x-request-id"]
    if len(sent) == 1 and _is_id(sent[0]) and answered != sent:
        return f"X-Request-Id {sent} became {answered}"
    return None


def _is_id(value: bytes) -> bool:
    return 1 <= len(value) <= 128 and VISIBLE.issuperset(value)  # noqa: PLR2004 - the contract's


def _length(given: Input, status: int, headers: dict[bytes, bytes], body: bytes) -> str | None:
    if status in EMPTY or given.scope["method"] == "HEAD":
        return None
    length = headers.get(b"content-length")
    if length != b"%d" % len(body):
        return f"Content-Length is {length!r}, of {len(body)} bytes"
    return None


def _problem(given: Input, status: int, headers: dict[bytes, bytes], body: bytes) -> str | None:
    """Check an error's document (RFC 9457)."""
    if given.scope["path"].endswith("/readyz"):
        return None  # 503 while the queue is full, in a format of its own
    media_type = headers.get(b"content-type")
    if media_type != b"application/problem+json":
        return f"an error of type {media_type!r}"
    document: dict[str, Any] = orjson.loads(body)
    fault = None
    if missing := MEMBERS - document.keys():
        fault = f"the problem lacks {missing}"
    elif document["status"] != status:
        fault = f"the problem says {document['status']}, the answer {status}"
    elif document["request_id"].encode() != headers[b"x-request-id"]:
        fault = "the problem has another request's id"
    elif b"Traceback" in body or b'.py\\", line' in body:
        fault = "the problem shows the inside"
    elif status == INTERNAL and not _is_too_deep(given, document["code"]):
        fault = f"500 {document['code']}"
    return fault


def _is_too_deep(given: Input, code: str) -> bool:
    """Return whether a handler could not echo its input because of its nesting, as documented.

    Incoming JSON may be nested more deeply than outgoing JSON.
    """
    nested = given.body.count(b"[") + given.body.count(b"{")
    return code == "unserializable_output" and nested > DEEPEST_OUT


def _echo(given: Input, body: bytes) -> str | None:
    """Compare the answer of a handler that echoes its input with that input."""
    path = given.scope["path"].removeprefix("/model")
    if given.scope["method"] != "POST" or path not in PATHS:
        return None
    fault = None
    if not given.complete:
        fault = "an answer to half a body"
    elif path == "/raw" and body != given.body:
        fault = "the bytes have changed"
    elif path in ("/", "/loop") and orjson.loads(body) != orjson.loads(given.body):
        fault = "the object has changed"
    return fault
