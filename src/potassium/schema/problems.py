"""Problem documents: which errors an operation is answered with, by status."""

import inspect
from collections.abc import Iterable
from http import HTTPStatus
from itertools import groupby

from potassium.errors import (
    HeadTooLarge,
    InvalidInput,
    MalformedRequest,
    PotassiumError,
    RangeNotSatisfiable,
    TooManyConnections,
    Unauthorized,
    Unavailable,
    UnsupportedEncoding,
    UnsupportedMediaType,
)
from potassium.http.problem import code_of_status
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components
from potassium.schema.headers import shown

__all__ = ["COMMON", "Errors", "Problems"]

Errors = Iterable[type[PotassiumError]]

MEDIA_TYPE = "application/problem+json"

# Any request may be answered with these: by the connection, or because the server is at fault.
COMMON: Errors = (MalformedRequest, HeadTooLarge, TooManyConnections, PotassiumError)

HEADERS: dict[type[PotassiumError], str] = {
    Unauthorized: "WWW-Authenticate",
    UnsupportedMediaType: "Accept",
    UnsupportedEncoding: "Accept-Encoding",
    RangeNotSatisfiable: "Content-Range",
    Unavailable: "Retry-After",
}
FAULT: Json = {
    "type": "object",
    "properties": {
        "loc": {"type": "array", "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]}},
        "msg": {"type": "string"},
        "type": {"type": "string"},
    },
}


class Problems:
    """The responses to what fails, and the schemas of their documents.

    There is one schema for each status. It has the codes of all operations that were asked for.
    """

    def __init__(self, components: Components) -> None:
        self._components = components

    def responses(self, errors: Errors, *, may_raise: bool = False) -> dict[str, Json]:
        """Return the responses to ``errors``, by status.

        ``may_raise`` says whether an app's own code may raise Starlette's ``HTTPException``.
        """
        found = {}
        ordered = sorted(set(errors), key=lambda error: (error.status, error.code))
        for status, group in groupby(ordered, key=lambda error: error.status):
            kinds = list(group)
            texts = {error.code: _text(error) for error in kinds}
            if may_raise:
                texts.setdefault(code_of_status(status), "The handler says so.")
            found[str(status)] = self._response(status, texts, kinds)
        return found

    def other(self) -> Json:
        """Return the response to what the app's own code refuses with a status of its choice."""
        return _answer("The handler refuses the call, with a status of its own.", self.reference())

    def reference(self) -> Json:
        """Return a reference to the schema of a document with any status."""
        return self._components.add("Problem", _document(None))

    def _response(self, status: int, texts: dict[str, str], errors: Errors) -> Json:
        name = f"Problem{status}"
        reference = self._components.add(name, _document(status))
        known = self._components.added(name)["properties"]["code"].setdefault("enum", [])
        known += sorted(set(texts) - set(known))
        text = "\n".join(f"- `{code}`: {text}" for code, text in sorted(texts.items()))
        headers = {HEADERS[kind] for kind in HEADERS for error in errors if issubclass(error, kind)}
        return _answer(text, reference, *sorted(headers))


def _answer(text: str, schema: Json, *headers: str) -> Json:
    return {
        "description": text,
        "headers": shown(*headers),
        "content": {MEDIA_TYPE: {"schema": schema}},
    }


def _text(error: type[PotassiumError]) -> str:
    if error is PotassiumError:
        return "The server failed."
    return " ".join((inspect.getdoc(error) or error.code).partition("\n\n")[0].split())


def _document(status: int | None) -> Json:
    """Return the schema of a problem document (RFC 9457)."""
    properties: Json = {
        "type": {"type": "string"},
        "title": {"type": "string"},
        "status": {"type": "integer"},
        "detail": {**ANYTHING, "description": "What is wrong; text, unless the app sends JSON."},
        "code": {"type": "string", "description": "Stable, for programs."},
        "request_id": {"type": "string"},
    }
    required = list(properties)
    if status in (None, InvalidInput.status):
        properties["errors"] = {"type": "array", "items": FAULT}
    return {
        "type": "object",
        "description": f"{_phrase(status)} (RFC 9457).",
        "properties": properties,
        "required": required,
    }


def _phrase(status: int | None) -> str:
    if status is None:
        return "A problem"
    return HTTPStatus(status).phrase if status in set(HTTPStatus) else f"Status {status}"
