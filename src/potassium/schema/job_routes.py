"""The operations on background jobs."""

from potassium.errors import (
    Draining,
    InvalidInput,
    JobHasEnded,
    JobNotFound,
    RangeNotSatisfiable,
    Starting,
    StoreFailed,
    TooManyWatchers,
    WorkerFailed,
)
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.components import Components
from potassium.schema.headers import header, request_id, shown
from potassium.schema.inputs import ANY_TYPE
from potassium.schema.job_document import (
    ENDED,
    STATUS,
    deliveries,
    job_document,
    job_event,
    job_page,
)
from potassium.schema.problems import COMMON, Errors, Problems

__all__ = ["job_operations"]

JSON = "application/json"
ALL: Errors = (*COMMON, Draining, Starting, StoreFailed, WorkerFailed)
OF_ONE: Errors = (*ALL, JobNotFound)
NOT_ENDED: Errors = (*OF_ONE, JobHasEnded)
OF_OUTPUT: Errors = (*OF_ONE, RangeNotSatisfiable)
WATCHED: Errors = (*OF_ONE, InvalidInput, TooManyWatchers)

SENT_WITH = ("ETag", "Accept-Ranges")

JOB_ID: Json = {"name": "id", "in": "path", "required": True, "schema": {"type": "string"}}
WAIT = header("Prefer", "`wait=SECONDS` answers once the job has ended (RFC 7240).", "wait=10")
LAST_EVENT: Json = {
    "name": "Last-Event-ID",
    "in": "header",
    "required": False,
    "description": "The number of the last event that the client has seen.",
    "schema": {"type": "integer", "minimum": 0, "maximum": 2**63 - 1},
}
IN_PART = (
    header("Range", "The part of the output to send (RFC 9110, section 14.2).", "bytes=0-1023"),
    header("If-Range", "Sends the part only if the output has this `ETag`, otherwise all of it."),
    header("If-None-Match", "The `ETag` of the output that the client has."),
)
FILTERS: list[Json] = [
    {"name": "status", "in": "query", "required": False, "schema": STATUS},
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": 500, "default": 50},
    },
    {
        "name": "after",
        "in": "query",
        "required": False,
        "description": "The `next` of the page before.",
        "schema": {"type": "string", "pattern": "^[0-9A-Za-z]+$"},
    },
]
PURGED: list[Json] = [
    {"name": "status", "in": "query", "required": True, "schema": ENDED},
    {
        "name": "older_than",
        "in": "query",
        "required": False,
        "description": "Seconds since their end, at least.",
        "schema": {"type": "integer", "minimum": 0, "maximum": 10**12 - 1, "default": 0},
    },
    {
        "name": "limit",
        "in": "query",
        "required": False,
        "schema": {"type": "integer", "minimum": 1, "maximum": 500, "default": 500},
    },
]
DELETED: Json = {
    "type": "object",
    "properties": {"deleted": {"type": "integer", "minimum": 0}},
    "required": ["deleted"],
}


def job_operations(components: Components, problems: Problems) -> dict[str, dict[str, Json]]:
    """Return the operations by path and method, with their ids."""
    document = job_document(components, problems)
    page = {"200": _json("Jobs.", job_page(components, problems))}
    waited = {"200": {**_json("The job.", document), "headers": shown("Preference-Applied")}}
    cancelled = {
        "200": _json("The job is cancelled.", document),
        "202": _json("The job is running, and its handler is told.", document),
    }
    retried = {"202": _json("The job is queued again.", document)}
    purged = {"200": _json("How many were deleted; 0 once none is left.", DELETED)}
    posted = {"200": _json("The webhooks.", deliveries(components))}
    events = {"text/event-stream": {"schema": job_event(components)}}
    followed = {
        "200": {**_answer("The events of the job, as they happen."), "content": events},
        "204": _answer("The client has seen all events of a job that has ended."),
    }

    def operation(name: str, text: str, answers: Json, errors: Errors, *more: Json) -> Json:
        return {
            "operationId": name,
            "summary": text,
            "tags": ["jobs"],
            "parameters": [*([JOB_ID] if JobNotFound in errors else []), *more, request_id()],
            "responses": {**answers, **problems.responses(errors)},
        }

    find = operation("list_jobs", "List jobs.", page, (*ALL, InvalidInput), *FILTERS)
    purge = operation("purge_jobs", "Delete jobs.", purged, (*ALL, InvalidInput), *PURGED)
    get = operation("get_job", "Show a job.", waited, OF_ONE, WAIT)
    cancel = operation("cancel_job", "Cancel a job.", cancelled, NOT_ENDED)
    retry = operation("retry_job", "Queue a failed job again.", retried, NOT_ENDED)
    follow = operation("follow_job", "Follow a job.", followed, WATCHED, LAST_EVENT)
    load = operation("get_job_output", "Load the output of a job.", _sent(), OF_OUTPUT, *IN_PART)
    attempts = operation("list_deliveries", "Show the webhooks about a job.", posted, OF_ONE)
    return {
        "/jobs": {"get": find, "delete": purge},
        "/jobs/{id}": {"get": get, "delete": cancel},
        "/jobs/{id}/retry": {"post": retry},
        "/jobs/{id}/output": {"get": load},
        "/jobs/{id}/events": {"get": follow},
        "/jobs/{id}/deliveries": {"get": attempts},
    }


def _sent() -> Json:
    content = {"content": {ANY_TYPE: {"schema": ANYTHING}}}
    whole = _answer("The output, in the content type of the document.", *SENT_WITH)
    part = _answer("The part of the output that was asked for.", *SENT_WITH, "Content-Range")
    return {
        "200": {**whole, **content},
        "206": {**part, **content},
        "304": _answer("The client has the output already.", *SENT_WITH),
    }


def _answer(text: str, *headers: str) -> Json:
    return {"description": text, "headers": shown(*headers)}


def _json(text: str, schema: Json) -> Json:
    return {**_answer(text), "content": {JSON: {"schema": schema}}}
