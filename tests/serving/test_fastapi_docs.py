"""How an app appears in the documentation of a FastAPI parent."""

import json
from collections.abc import Iterator
from functools import cache
from typing import Annotated, Any, Literal

import pydantic
import pytest
from fastapi import Depends, FastAPI
from fastapi.security import HTTPBearer
from openapi_spec_validator import validate

from potassium import Batch, Jobs, Potassium, Request
from potassium.serving.fastapi_docs import inlined


class Word(pydantic.BaseModel):
    """A word."""

    text: str = pydantic.Field(alias="$text", description="as it is written")


class Cat(pydantic.BaseModel):
    kind: Literal["cat"]


class Dog(pydantic.BaseModel):
    kind: Literal["dog"]
    words: list[Word]


class Tree(pydantic.BaseModel):
    discriminator: Annotated[Cat | Dog, pydantic.Field(discriminator="kind")]
    children: "list[Tree]" = []
    default: Word | None = None
    named: dict[str, Word] = {}


class Unknown:
    """Not known to JSON schema."""


def dump(model: Potassium, *dependencies: Any, prefixes: tuple[str, ...] = ("/model",)) -> Any:
    """Return the OpenAPI document of a parent that includes ``model``, validated."""
    parent = FastAPI()
    for prefix in prefixes:
        parent.include_router(model.router_for_fastapi(dependencies=dependencies), prefix=prefix)
    text = json.dumps(parent.openapi())
    check(text)
    return json.loads(text)


@cache
def check(text: str) -> None:
    """Fail unless a document is valid; each one is looked at once, for it takes a second."""
    validate(json.loads(text))


def body_of(document: Any, path: str, kind: str = "application/json") -> Any:
    return document["paths"][path]["post"]["requestBody"]["content"][kind]["schema"]


@pytest.fixture
def model() -> Potassium:
    """Return an app with a handler of each kind."""
    app = Potassium("model", jobs=Jobs(path=None))

    @app.handler("/tree")
    def tree(cache: dict[str, Any], item: Tree) -> Any:
        """Measure a tree.

        It may be high.
        """

    @app.handler("/words", batch=Batch())
    def words(cache: dict[str, Any], items: list[Word]) -> Any: ...

    @app.handler("/prepared", prepare=lambda item: item)
    def prepared(cache: dict[str, Any], value: int) -> Any: ...

    @app.handler
    def plain(cache: dict[str, Any], item: dict[str, Any]) -> Any: ...

    @app.handler("/raw")
    def raw(cache: dict[str, Any], body: bytes) -> Any: ...

    @app.handler("/full")
    def full(cache: dict[str, Any], request: Request) -> Any: ...

    @app.handler("/chat")
    def chat(cache: dict[str, Any], item: dict[str, Any]) -> Iterator[str]:
        yield ""

    @app.background("/train")
    def train(cache: dict[str, Any], item: Word) -> Any: ...

    return app


def test_the_document_of_the_parent_is_valid(model: Potassium) -> None:
    """All routes, under several prefixes and behind a security scheme, make a valid document."""
    document = dump(model, Depends(HTTPBearer()), prefixes=("/v1", "/v2"))
    ids = [one["operationId"] for path in document["paths"].values() for one in path.values()]
    assert len(ids) == len(set(ids)) == 2 * (8 + 8)
    assert "tree_v1_tree_post" in ids
    assert document["paths"]["/v1/tree"]["post"]["security"] == [{"HTTPBearer": []}]


def test_a_handler_is_described_by_its_docstring(model: Potassium) -> None:
    """The first line is the summary, and the rest the description."""
    operation = dump(model)["paths"]["/model/tree"]["post"]
    assert operation["summary"] == "Measure a tree."
    assert operation["description"] == "It may be high."


def test_what_a_handler_takes_is_described_by_its_annotation(model: Potassium) -> None:
    """By aliases, and for batched handlers and those with ``prepare=`` that of one request."""
    document = dump(model)
    word = body_of(document, "/model/words")
    assert word["properties"]["$text"]["description"] == "as it is written"
    assert word["required"] == ["$text"]
    assert body_of(document, "/model/train") == word
    assert body_of(document, "/model/prepared")["type"] == "object"
    assert body_of(document, "/model/")["type"] == "object"
    assert body_of(document, "/model/full", "*/*") == {}
    assert body_of(document, "/model/raw", "application/octet-stream")["format"] == "binary"


def test_what_a_handler_answers_is_what_its_own_schema_says(model: Potassium) -> None:
    """Streams, background jobs, and problem documents with their codes for all errors."""
    paths = dump(model)["paths"]
    responses = {path: one["post"]["responses"] for path, one in paths.items() if "post" in one}
    assert {"text/event-stream", "application/x-ndjson"} < set(
        responses["/model/chat"]["200"]["content"]
    )
    assert "application/json" in responses["/model/"]["200"]["content"]
    assert "202" in responses["/model/train"]
    own = model.openapi()
    assert responses["/model/tree"].keys() == own["paths"]["/tree"]["post"]["responses"].keys()
    full = responses["/model/tree"]["503"]["content"]["application/problem+json"]["schema"]
    assert "overloaded" in json.dumps(full)


def test_the_page_of_metrics_is_not_shown() -> None:
    """It is not JSON, and for Prometheus alone; nor is it in the app's own document."""
    app = Potassium("model", metrics=True)
    app.handler("/a")(lambda cache, json_in: json_in)
    assert list(dump(app)["paths"]) == ["/model/a"]
    assert "/metrics" not in app.openapi()["paths"]


def test_routes_of_jobs_are_shown_and_those_of_health_are_not(model: Potassium) -> None:
    """Nor is the second form of each handler's path."""
    paths = dump(model)["paths"]
    assert set(paths["/model/jobs/{id}"]) == {"get", "delete"}
    parameters = paths["/model/jobs/{id}"]["get"]["parameters"]
    assert [one["name"] for one in parameters if one["in"] == "path"] == ["id"]
    assert "/model/readyz" not in paths
    assert "/model/tree/" not in paths


def test_models_inside_of_models_are_described_in_place(model: Potassium) -> None:
    """No reference is left that would have to be valid in the parent's document."""
    tree = body_of(dump(model), "/model/tree")
    assert "$ref" not in json.dumps(tree)
    assert "$defs" not in json.dumps(tree)
    properties = tree["properties"]
    assert properties["named"]["additionalProperties"]["description"] == "A word."
    assert properties["default"]["anyOf"][0]["title"] == "Word"
    kinds = properties["discriminator"]["oneOf"]
    assert [kind["properties"]["kind"]["const"] for kind in kinds] == ["cat", "dog"]
    assert kinds[1]["properties"]["words"]["items"]["title"] == "Word"


def test_a_model_inside_of_itself_is_described_once(model: Potassium) -> None:
    """Below that, the document allows anything."""
    tree = body_of(dump(model), "/model/tree")
    assert tree["properties"]["children"]["items"] == {"title": "Tree"}


def test_models_that_contain_each_other_in_many_ways_are_cut_off() -> None:
    """Nine of a kind do so in a million ways; of ever more, the outer ones are shown."""
    names = [f"Node{number}" for number in range(9)]
    references = [{"$ref": f"#/components/schemas/{name}"} for name in names]
    node = {"type": "object", "properties": {"next": {"anyOf": references}}}
    document = {"components": {"schemas": dict.fromkeys(names, node)}}
    shown = inlined(references[0], document)
    inner = shown["properties"]["next"]["anyOf"]
    assert inner[0] == {"title": "Node0"}  # itself
    assert {one["type"] for one in inner[1:]} == {"object"}
    assert len(json.dumps(shown)) < 100_000


def test_values_in_a_schema_are_left_alone() -> None:
    """What looks like a reference in a default or an example stays as it is."""
    value = {"$ref": "#/$defs/Word", "discriminator": 1}
    schema = {"default": value, "examples": [value], "enum": [value], "const": value}
    assert inlined(schema, {}) == schema


def test_what_json_schema_cannot_describe_may_be_anything(model: Potassium) -> None:
    """An annotation of the app's own kind does not break the documentation of the rest."""

    def handler(cache: dict[str, Any], item: Any) -> None: ...

    handler.__annotations__["item"] = pydantic.InstanceOf[Unknown]
    model.handler("/unknown")(handler)
    assert body_of(dump(model), "/model/unknown") == {}
