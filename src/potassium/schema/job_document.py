"""The schemas of what clients see of background jobs."""

from typing import Any

from potassium.jobs.model import Status
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components
from potassium.schema.events import ALL, NUMBER, encoded
from potassium.schema.problems import Problems

__all__ = ["ENDED", "STATUS", "deliveries", "job_document", "job_event", "job_page"]

STATUS: Json = {"type": "string", "enum": [status.value for status in Status]}
ENDED: Json = {"type": "string", "enum": [one.value for one in Status if one.is_final]}


def job_document(components: Components, problems: Problems) -> Json:
    """Return a reference to the schema of the document of a job."""
    properties = {
        "id": {"type": "string"},
        "handler": {"type": "string", "description": "The path of the handler."},
        "status": STATUS,
        "created_at": {"type": "string", "format": "date-time"},
        "started_at": _optional("string", format="date-time"),
        "finished_at": _optional("string", format="date-time"),
        "attempts": {"type": "integer"},
        "progress": _optional("number", minimum=0, maximum=1),
        "message": _optional("string"),
    }
    required = list(properties)
    properties["position"] = {
        "type": "integer",
        "description": "In the queue of the handler, from 1.",
    }
    properties["output"] = {**ANYTHING, "description": "What the handler returned."}
    properties["output_url"] = {
        "type": "string",
        "description": "Where the output is, if it is large or not JSON.",
    }
    properties["output_type"] = {"type": "string", "description": "Its content type."}
    properties["output_size"] = {"type": "integer", "description": "Its size in bytes."}
    properties["error"] = problems.reference()
    text = "A background job."
    return components.add("Job", _object(properties, required, text))


def job_page(components: Components, problems: Problems) -> Json:
    """Return the schema of a list of jobs."""
    properties = {
        "jobs": {"type": "array", "items": job_document(components, problems)},
        "next": {**_optional("string"), "description": "The `after` of the following page."},
    }
    text = "Background jobs, without their outputs, newest first."
    return components.add("JobPage", _object(properties, list(properties), text))


def job_event(components: Components) -> Json:
    """Return the schema of one event of a job."""
    kinds = {"type": "string", "enum": ["status", "progress", "chunk"]}
    properties = {"id": NUMBER, "event": kinds, "data": encoded(ANYTHING)}
    event = components.add("JobEvent", _object(properties, list(properties), "One event of a job."))
    return {"description": "One event.", "anyOf": [event, ALL]}


def deliveries(components: Components) -> Json:
    """Return the schema of the attempts to post a job to webhooks."""
    properties = {
        "number": {"type": "integer"},
        "at": {"type": "string", "format": "date-time"},
        "duration": {"type": "number", "description": "In seconds."},
        "status": _optional("integer"),
        "error": _optional("string"),
        "next_at": _optional("string", format="date-time"),
    }
    text = "An attempt to post to a webhook."
    attempt = components.add("DeliveryAttempt", _object(properties, list(properties), text))
    properties = {
        "id": {"type": "string"},
        "url": {"type": "string"},
        "attempts": {"type": "array", "items": attempt},
    }
    delivery = components.add("Delivery", _object(properties, list(properties), "A webhook."))
    properties = {"deliveries": {"type": "array", "items": delivery}}
    text = "Webhooks about a job."
    return components.add("DeliveryList", _object(properties, list(properties), text))


def _optional(kind: str, **more: Any) -> Json:
    return {"anyOf": [{"type": kind, **more}, {"type": "null"}]}


def _object(properties: Json, required: list[str], description: str) -> Json:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": required,
    }
