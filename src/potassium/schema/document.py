"""The OpenAPI document of an app."""

from collections.abc import Iterable
from typing import Any

from potassium.errors import Unauthorized
from potassium.handlers.handler import Handler
from potassium.schema.annotations import Json, Use, schemas_of
from potassium.schema.calls import Call, call_operations
from potassium.schema.components import Components
from potassium.schema.headers import RESPONSE_HEADERS, Features
from potassium.schema.health import OPEN, health_operations
from potassium.schema.job_routes import job_operations
from potassium.schema.names import OperationIds, name_of
from potassium.schema.outputs import output_of
from potassium.schema.problems import Problems
from potassium.serving.api_keys import ApiKeys
from potassium.serving.plan import Plan
from potassium.serving.slashes import without_slash

__all__ = ["openapi_document"]

VERSION = "3.1.0"
# OpenAPI wants one; apps have none. Tools that generate clients take it for that of the client.
INFO_VERSION = "0.1.0"

SCHEMES: Json = {
    "bearer": {"type": "http", "scheme": "bearer"},
    "apiKey": {"type": "apiKey", "in": "header", "name": "X-Api-Key"},
    "legacyApiKey": {"type": "apiKey", "in": "header", "name": "X-Banana-Api-Key"},
}


def openapi_document(name: str, plan: Plan, keys: ApiKeys | None) -> Json:
    """Return the OpenAPI document of an app.

    Args:
        name: the app's name, the title of the document.
        plan: its parts.
        keys: its API keys; None if anybody may call.

    """
    features = Features.of(plan)
    calls, definitions = _calls(plan.handlers.values())
    components = Components(definitions)
    problems = Problems(components)
    ids = OperationIds()
    paths: dict[str, dict[str, Json]] = {}
    for call in calls:
        path, function = call.handler.path, name_of(call.handler.function)
        paths[path] = {}
        for method, operation in call_operations(call, features, components, problems).items():
            named = f"{method}_{function}" if paths[path] else function
            paths[path][method] = {"operationId": ids.of(named, path), **operation}
    ours = job_operations(components, problems) if features.has_jobs else {}
    for path, methods in {**ours, **health_operations(components, problems)}.items():
        for method, operation in methods.items():
            is_open = operation["operationId"] in OPEN
            operation["operationId"] = ids.of(operation["operationId"], path)
            if keys is not None and is_open:
                operation["security"] = []
            paths.setdefault(path, {})[method] = operation
    document: Json = {
        "openapi": VERSION,
        "info": {"title": name, "version": INFO_VERSION},
        "paths": paths,
        "components": {"schemas": components.schemas, "headers": RESPONSE_HEADERS},
    }
    if keys is not None:
        _protect(document, keys, problems)
    return document


def _calls(handlers: Iterable[Handler]) -> tuple[list[Call], dict[str, Json]]:
    """Return the handlers with their types, and the schemas that these share."""
    adapters: dict[Use, Any] = {}
    outputs = [(handler, output_of(handler)) for handler in handlers]
    for handler, output in outputs:
        if handler.bind.adapter is not None:
            adapters[handler.path, "validation"] = handler.bind.adapter
        if output.adapter is not None:
            adapters[handler.path, "serialization"] = output.adapter
    schemas, definitions = schemas_of(adapters)
    calls = [
        Call(
            handler=handler,
            output=output,
            takes=schemas.get((handler.path, "validation")),
            returns=schemas.get((handler.path, "serialization")),
        )
        for handler, output in outputs
    ]
    return calls, definitions


def _protect(document: Json, keys: ApiKeys, problems: Problems) -> None:
    """Add the API keys: how they are sent, where they are not required, and what is refused."""
    document["components"]["securitySchemes"] = SCHEMES
    document["security"] = [{scheme: []} for scheme in SCHEMES]
    open_paths = {without_slash(path) for path in keys.open_paths}
    for path, methods in document["paths"].items():
        for operation in methods.values():
            if path in open_paths:
                operation["security"] = []
            if operation.get("security") != []:
                operation["responses"] |= problems.responses([Unauthorized])
