"""What schemathesis sends: loaded by its command, not by tests."""

import json
from collections.abc import Mapping
from itertools import count
from typing import Any

import schemathesis

NUMBERS = count()

# Models of the examples take their time: numbers of that name are at most this large, texts and
# lists at most this long.
MOST: Mapping[str, int] = {
    "max_tokens": 2,
    "max_completion_tokens": 2,
    "epochs": 3,
    "messages": 2,
    "content": 20,
}
INVALID = 4_001  # characters: they are refused, and remain as they are


@schemathesis.hook  # type: ignore[untyped-decorator] # not installed for type checking
def before_call(context: Any, case: Any, kwargs: dict[str, Any]) -> None:
    """Keep what one case sends from deciding about another one, and calls short."""
    headers = case.headers or {}
    if "Idempotency-Key" in headers:  # with another body, it would be refused
        headers["Idempotency-Key"] = f"{headers['Idempotency-Key'][:200]}{next(NUMBERS)}"
    if "Prefer" in headers:  # a machine with much else to do needs more than an example says
        headers["Prefer"] = headers["Prefer"].replace("wait=10", "wait=500")
    headers.pop("Webhook-Url", None)  # its host does not exist
    headers.pop("Range", None)  # a part of JSON is not JSON
    if isinstance(case.body, dict):
        case.body.update(shortened(case.body))
        is_text = "messages" in case.body or {"model", "prompt"} <= case.body.keys()
        if is_text and case.body.get("max_tokens") is None:
            case.body["max_tokens"] = MOST["max_tokens"]


@schemathesis.deserializer("application/x-ndjson")  # type: ignore[untyped-decorator] # the same
def first_line(context: Any, response: Any) -> Any:
    """Return one line, which is what a schema describes."""
    return json.loads(response.content.split(b"\n")[0])


def shortened(value: Any) -> Any:
    """Return a value whose valid parts take less time."""
    if isinstance(value, list):
        return [shortened(item) for item in value]
    if not isinstance(value, dict):
        return value
    short = {name: shortened(part) for name, part in value.items()}
    for name, most in MOST.items():
        part = short.get(name)
        if type(part) is int:
            short[name] = min(part, most)
        elif isinstance(part, str | list) and len(part) < INVALID:
            short[name] = part[:most]
    return short
