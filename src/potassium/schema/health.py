"""The operations on the server itself: liveness, readiness, status and warm-up."""

from typing import Any

from potassium.engine import Activity, State
from potassium.errors import Draining, Starting, WorkerFailed
from potassium.schema.annotations import Json
from potassium.schema.components import Components
from potassium.schema.headers import request_id, shown
from potassium.schema.problems import COMMON, Errors, Problems

__all__ = ["OPEN", "health_operations"]

JSON = "application/json"
STATE: Json = {"type": "string", "enum": [state.value for state in State]}
HEARTBEAT: dict[str, Json] = {
    "activity": {"type": "string", "enum": [activity.value for activity in Activity]},
    "last_progress_seconds": {"type": "number"},
}

# The operations that need no key.
OPEN = ("get_liveness", "get_readiness", "get_warm_up", "warm_up")


def health_operations(components: Components, problems: Problems) -> dict[str, dict[str, Json]]:
    """Return the operations by path and method; the name of each is its id."""
    live = components.add(
        "Liveness", _object("Whether the server can recover.", state=STATE, **HEARTBEAT)
    )
    ready = components.add("Readiness", _readiness())
    status = components.add("Status", _status())
    warm = components.add("WarmUp", _object("The model is loaded.", warm={"type": "boolean"}))

    def operation(
        name: str, text: str, schema: Json, *errors: Any, also: str | None = None
    ) -> Json:
        answers = {"200": _answer(text, schema), **problems.responses((*COMMON, *errors))}
        if also is not None:
            answers["503"]["content"][JSON] = {"schema": schema}
            answers["503"]["description"] += f"\n\nOr {also}"
        return {
            "operationId": name,
            "summary": text,
            "tags": ["server"],
            "parameters": [request_id()],
            "responses": answers,
        }

    failed = "the state, if it has failed."
    refused = "the reason, if a call would be refused."
    starts: Errors = (Starting, Draining, WorkerFailed)
    warm_up = "Wait until the model is loaded."
    status_page = operation("get_status", "Show what the server is doing.", status)
    old_page = operation("get_legacy_status", "Show what the server is doing.", status)
    return {
        "/healthz": {
            "get": operation("get_liveness", "Whether the server is alive.", live, also=failed)
        },
        "/readyz": {
            "get": operation(
                "get_readiness", "Whether a call would be admitted.", ready, also=refused
            )
        },
        "/_k/status": {"get": status_page},
        "/__status__": {"get": {**old_page, "deprecated": True}},
        "/_k/warmup": {
            "get": operation("get_warm_up", warm_up, warm, *starts),
            "post": operation("warm_up", warm_up, warm, *starts),
        },
    }


def _answer(text: str, schema: Json) -> Json:
    return {
        "description": text,
        "headers": shown(),
        "content": {JSON: {"schema": schema}},
    }


def _readiness() -> Json:
    states = [state.value for state in State if state is not State.READY]
    reason = {"type": "string", "enum": [*states, "queue_full", "no_worker", "store_failed"]}
    schema = _object(
        "Whether a call would be admitted.",
        ready={"type": "boolean"},
        reason=reason,
        detail={"type": "string"},
        workers={"type": "object", "additionalProperties": {"type": "integer"}},
    )
    return {**schema, "required": ["ready"]}


def _status() -> Json:
    integer, number = {"type": "integer"}, {"type": "number"}
    limit = {"anyOf": [integer, {"type": "null"}]}
    queue = _object("Calls that wait.", length=integer, limit=limit)
    by_name = {"type": "object", "additionalProperties": integer}
    webhooks = _object("Deliveries.", waiting=limit, attempts=by_name, dropped=integer)
    running = _object("The handler that runs.", handler={"type": "string"}, **{"for": integer})
    return _object(
        "What the server is doing. Durations are in milliseconds, unless a name says seconds.",
        name={"type": "string"},
        state=STATE,
        **HEARTBEAT,
        oldest_step={"anyOf": [{"type": "string"}, {"type": "null"}]},
        queue=queue,
        lanes={"type": "object", "additionalProperties": queue},
        started_at={"anyOf": [{"type": "string", "format": "date-time"}, {"type": "null"}]},
        startup=_startup(),
        open_streams=integer,
        stalled_streams=integer,
        running={"anyOf": [running, {"type": "null"}]},
        counts={"type": "object", "additionalProperties": integer},
        service_time={"type": "object", "additionalProperties": number},
        estimated_wait={"type": "object", "additionalProperties": number},
        open_calls=integer,
        workers={"type": "array", "items": _worker()},
        jobs={"anyOf": [by_name, {"type": "null"}]},
        webhooks={"anyOf": [webhooks, {"type": "null"}]},
        gpu_available={"type": "boolean"},
        sequence_number=integer,
        idle_time=integer,
        inference_time=integer,
    )


def _worker() -> Json:
    string, integer, number = {"type": "string"}, {"type": "integer"}, {"type": "number"}
    null: Json = {"type": "null"}
    running = _object("The handler that runs.", handler=string, **{"for": integer})
    sizes = _object("Bytes.", allocated=number, reserved=number, total=number)
    activity = HEARTBEAT["activity"]
    return _object(
        "A device, and the worker process that serves it. Sizes are in bytes.",
        name=string,
        device=string,
        state=string,
        activity={"anyOf": [activity, null]},
        pid={"anyOf": [integer, null]},
        running={"anyOf": [running, null]},
        last_progress_seconds=number,
        calls=integer,
        groups=integer,
        open_streams=integer,
        finished=integer,
        busy_seconds=number,
        load_seconds={"anyOf": [number, null]},
        libraries={"type": "object", "additionalProperties": number},
        phases={"type": "object", "additionalProperties": number},
        memory={"anyOf": [integer, null]},
        device_memory={"type": "object", "additionalProperties": sizes},
        ends={"type": "object", "additionalProperties": integer},
        last_end={"anyOf": [string, null]},
    )


def _startup() -> Json:
    number = {"type": "number"}
    maybe = {"anyOf": [number, {"type": "null"}]}
    by_name: Json = {"type": "object", "additionalProperties": number}
    first = _object("The first call, and those after it.", seconds=number, later_seconds=maybe)
    return _object(
        "What the time until the server was ready went into, in seconds.",
        seconds=maybe,
        phases=by_name,
        libraries={"type": "object", "additionalProperties": by_name},
        workers=by_name,
        worker_phases={"type": "object", "additionalProperties": by_name},
        warmups=by_name,
        before_import=maybe,
        first_calls={"type": "object", "additionalProperties": first},
    )


def _object(description: str, **properties: Json) -> Json:
    return {
        "type": "object",
        "description": description,
        "properties": properties,
        "required": list(properties),
    }
