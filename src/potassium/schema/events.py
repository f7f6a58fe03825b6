"""Server-sent events, one of which is what the schema of their content type describes."""

from potassium.schema.annotations import Json
from potassium.schema.components import Components
from potassium.schema.problems import Problems

__all__ = ["event_of", "stream_event"]

NUMBER: Json = {"type": "string", "pattern": "^[0-9]+$"}

# A client that reads the whole response at once gets neither of the events but their text.
ALL: Json = {"type": "string", "description": "All events, as they were sent."}


def stream_event(chunk: Json | None, components: Components, problems: Problems) -> Json:
    """Return the schema of one event of a handler's stream (WHATWG HTML, section 9.2).

    ``chunk`` is the schema of a chunk that is sent as JSON, or None if it is sent as text.
    """
    number = {"id": NUMBER}
    end = event_of("end", {"type": "string"})
    error = event_of("error", encoded(problems.reference()))
    return {
        "description": "One event.",
        "anyOf": [
            event_of("message", {"type": "string"} if chunk is None else encoded(chunk), **number),
            components.add("StreamEnd", {**end, "description": "The stream is complete."}),
            components.add("StreamError", {**error, "description": "The call has failed."}),
            ALL,
        ],
    }


def event_of(kind: str, data: Json, **more: Json) -> Json:
    """Return the schema of an event of one kind."""
    return {
        "type": "object",
        "properties": {**more, "event": {"type": "string", "enum": [kind]}, "data": data},
        "required": [*more, "data"],
    }


def encoded(schema: Json) -> Json:
    """Return the schema of a text that is the JSON of a value."""
    return {"type": "string", "contentMediaType": "application/json", "contentSchema": schema}
