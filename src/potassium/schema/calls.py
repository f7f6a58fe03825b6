"""The operations of a handler, one for each method that it answers."""

import sys
from dataclasses import dataclass

from potassium import errors
from potassium.handlers.arguments import RawBody
from potassium.handlers.handler import Handler
from potassium.schema.annotations import ANYTHING, Json
from potassium.schema.answers import answers
from potassium.schema.components import Components
from potassium.schema.headers import Features, parameters
from potassium.schema.inputs import examples_of, request_body
from potassium.schema.names import description_of
from potassium.schema.outputs import Kind, Output
from potassium.schema.problems import Errors, Problems
from potassium.schema.queries import query_parameters

__all__ = ["Call", "call_operations"]

READING = "get"  # the method that has a query instead of a body
EXTENSION = "x-potassium"  # OpenAPI 3.1, section 4.9

# Whatever is not here, any call may be answered with.
OF_OTHERS: Errors = (
    errors.ClientLeft,  # nobody is left to get it
    errors.JobHasEnded,
    errors.JobNotFound,
    errors.RangeNotSatisfiable,
    errors.StreamBroken,
    errors.TooManyWatchers,
    errors.Unauthorized,
    errors.Unavailable,
    errors.UsageError,
)
OF_JSON: Errors = (errors.MalformedJSON, errors.UnsupportedMediaType)
OF_JOBS: Errors = (
    errors.IdempotencyKeyReused,
    errors.Interrupted,
    errors.JobCancelled,
    errors.StoreFailed,
    errors.StoreFull,
    errors.WebhookUrlRefused,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A handler, and what is known of its types.

    Attributes:
        handler: the handler.
        output: what it returns.
        takes: the schema of what is validated; None if it is not known.
        returns: the schema of what it returns; None if it is not known.

    """

    handler: Handler
    output: Output
    takes: Json | None
    returns: Json | None


def call_operations(
    call: Call, features: Features, components: Components, problems: Problems
) -> dict[str, Json]:
    """Return the operations that call a handler by their methods, without their ids."""
    methods = (method.lower() for method in getattr(call.handler, "methods", ("POST",)))
    shared = _operation(call, features, components, problems)
    query = query_parameters(call.takes, examples_of(call.handler), components)
    found = {}
    for method in sorted(methods, key=lambda method: (method != "post", method)):
        operation = dict(shared)
        if method == READING:
            operation["parameters"] = [*query, *shared["parameters"]]
        else:
            operation["requestBody"] = request_body(call.handler, call.takes, components)
        found[method] = operation
    return found


def _operation(call: Call, features: Features, components: Components, problems: Problems) -> Json:
    handler, options = call.handler, call.handler.options
    failures = problems.responses(_errors(handler, features), may_raise=True)
    succeeds = answers(
        call.output,
        ANYTHING if call.returns is None else call.returns,
        features=features,
        is_background=handler.is_background,
        components=components,
        problems=problems,
    )
    other = problems.other()
    if call.output.kind is Kind.UNKNOWN and not call.output.is_stream:  # perhaps a Response
        other["description"] = "What the handler returns, with a status of its choice."
        other["content"]["*/*"] = {"schema": ANYTHING}
    shown: Json = {
        **description_of(handler.function),
        "parameters": parameters(features, is_background=handler.is_background),
        "responses": {**succeeds, **failures, "default": other},
    }
    shown["tags"] = list(options.get("tags") or ["handlers"])
    if options.get("deprecated"):
        shown["deprecated"] = True
    shown[EXTENSION] = {"background": handler.is_background, "stream": call.output.is_stream}
    return shown


def _errors(handler: Handler, features: Features) -> Errors:
    """Return what a call may be answered with, if it fails."""
    others = {
        *OF_OTHERS,
        *(OF_JSON if isinstance(handler.bind, RawBody) else ()),
        *(() if features.has_jobs else OF_JOBS),
        *((errors.QueueFull,) if handler.is_background else ()),
        *(() if "potassium.store" in sys.modules else (errors.StoreUnavailable,)),
    }
    return {getattr(errors, name) for name in errors.__all__} - others
