"""Responses to calls that succeed."""

from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components
from potassium.schema.events import stream_event
from potassium.schema.headers import Features, optional, shown
from potassium.schema.inputs import BINARY, is_parsed
from potassium.schema.job_document import job_document
from potassium.schema.outputs import Kind, Output
from potassium.schema.problems import Problems

__all__ = ["answers"]

JSON = "application/json"
LINES = "application/x-ndjson"
EVENTS = "text/event-stream"
PARTS = "multipart/x-mixed-replace"
BYTES = "application/octet-stream"
TEXT = "text/plain"
ANY_TYPE = "*/*"

STRING: Json = {"type": "string"}


def answers(  # noqa: PLR0913 - what decides about them
    output: Output,
    schema: Json,
    *,
    features: Features,
    is_background: bool,
    components: Components,
    problems: Problems,
) -> dict[str, Json]:
    """Return the responses to a call that succeeds, by status.

    Args:
        output: what the handler returns.
        schema: that of the value or, if it streams, of each chunk.
        features: whether the call may become a job.
        is_background: whether it always becomes one.
        components: get the schemas that are shared.
        problems: describe what fails.

    """
    if not output.is_stream:
        contents = _value(output, schema)
    else:
        contents = {} if is_background else _stream(output, schema, components, problems)
        if features.has_jobs:  # and the client waits for the result of one
            contents.setdefault(JSON, {"schema": {"type": "array", "items": schema}})
    text = "What the handler returns."
    if is_background:
        text = "What the job returned, if the client has waited for it."
    found = {"200": _answer(text, contents)}
    if features.has_jobs:
        headers = ("Location", "Preference-Applied")
        accepted = {JSON: {"schema": job_document(components, problems)}}
        found["202"] = _answer("The call is stored as a background job.", accepted, *headers)
        found["200"]["headers"] |= optional(*headers)
    return found


def _value(output: Output, schema: Json) -> Json:
    if output.media_types:
        return {
            kind: {"schema": schema if is_parsed(kind) else BINARY} for kind in output.media_types
        }
    if output.kind is Kind.UNKNOWN:
        return {JSON: {"schema": ANYTHING}, ANY_TYPE: {"schema": ANYTHING}}
    if output.kind is Kind.BYTES:
        return {BYTES: {"schema": BINARY}}
    return {JSON: {"schema": schema}}


def _stream(output: Output, schema: Json, components: Components, problems: Problems) -> Json:
    """Return the forms of a stream; what a client gets that does not choose comes first."""
    files = [kind for kind in output.media_types if not is_parsed(kind)]
    raw: Json = {
        Kind.TEXT: {TEXT: {"schema": STRING}},
        Kind.BYTES: {kind: {"schema": BINARY} for kind in files or [BYTES]},
        Kind.JSON: {},
        Kind.UNKNOWN: {ANY_TYPE: {"schema": ANYTHING}},
    }[output.kind]
    line = {**(STRING if output.kind is Kind.BYTES else schema), "description": "One line."}
    chunk = schema if output.kind is Kind.JSON else None  # others are, or may be, text
    event = stream_event(chunk, components, problems)
    shown = {**raw, LINES: {"schema": line}, EVENTS: {"schema": event}}
    if ANY_TYPE not in shown:
        shown.setdefault(BYTES, {"schema": BINARY})  # what a raw stream without chunks is sent as
    return {**shown, PARTS: {"schema": BINARY}}


def _answer(text: str, contents: Json, *headers: str) -> Json:
    return {"description": text, "headers": shown(*headers), "content": contents}
