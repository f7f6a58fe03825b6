"""Reads an OpenAPI document as its readers do."""

from typing import Any

from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from potassium import Potassium

JSON = "application/json"

Document = dict[str, Any]


def valid(app: Potassium) -> Document:
    """Return the document of an app, which must be valid."""
    document = app.openapi()
    validate(document)
    return document


def operation(app: Potassium, path: str = "/", method: str = "post") -> Document:
    """Return one operation of the document."""
    found: Document = app.openapi()["paths"][path][method]
    return found


def body(app: Potassium, path: str = "/") -> Document:
    """Return the contents that a handler takes, with what they refer to in place."""
    contents: Document = operation(app, path)["requestBody"]["content"]
    return {kind: resolved(app, content["schema"]) for kind, content in contents.items()}


def query(app: Potassium, path: str = "/") -> Document:
    """Return the parameters of the query of a GET, by name."""
    shown = operation(app, path, "get")["parameters"]
    return {one["name"]: one for one in shown if one["in"] == "query"}


def answer(app: Potassium, path: str = "/", status: str = "200", method: str = "post") -> Document:
    """Return the contents of a response, with what they refer to in place."""
    contents: Document = operation(app, path, method)["responses"][status].get("content", {})
    return {kind: resolved(app, content["schema"]) for kind, content in contents.items()}


def resolved(app: Potassium, schema: Document) -> Document:
    """Return a schema, or the one that it refers to."""
    name = schema.get("$ref", "").rpartition("/")[2]
    found: Document = app.openapi()["components"]["schemas"][name] if name else schema
    return found


def check(app: Potassium, schema: Document, value: Any) -> None:
    """Fail unless a schema of the document allows a value."""
    whole = {**schema, "components": app.openapi()["components"]}
    Draft202012Validator(whole).validate(value)
