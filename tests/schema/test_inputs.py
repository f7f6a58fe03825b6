"""What a handler takes, as the schema shows it."""

from typing import Annotated, Any

import pytest
from pydantic import BaseModel, Field, WithJsonSchema
from support.schemas import JSON, body, operation, valid

from potassium import Batch, Potassium, Request, UsageError

FORM, FIELDS = "multipart/form-data", "application/x-www-form-urlencoded"


class Item(BaseModel):
    text: str = Field(min_length=1)


class Job(BaseModel):
    """A name that the schema has, too."""

    title: str


Base64 = Annotated[str, WithJsonSchema({"type": "string", "contentEncoding": "base64"})]


class WithFile(BaseModel):
    file: Base64


def of_item(cache: dict[str, Any], item: Item) -> None: ...
def of_bytes(cache: dict[str, Any], raw: bytes) -> None: ...
def of_request(cache: dict[str, Any], request: Request) -> None: ...
def of_object(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...
def of_list(cache: dict[str, Any], items: list[Item]) -> Any: ...
def of_anything(cache: dict[str, Any], json_in: Any) -> None: ...


def test_what_pydantic_validates_has_its_schema(app: Potassium) -> None:
    """The definition is shared by all handlers that take it."""
    app.handler("/a")(of_item)
    app.handler("/b")(of_item)
    contents = operation(app, "/a")["requestBody"]["content"]
    assert contents == operation(app, "/b")["requestBody"]["content"]
    assert contents[JSON] == {"schema": {"$ref": "#/components/schemas/Item"}}
    assert body(app, "/a")[JSON]["properties"]["text"]["minLength"] == 1
    assert operation(app, "/a")["requestBody"]["required"]


def test_a_batched_handler_takes_an_item(app: Potassium) -> None:
    """Clients do not see that calls are batched."""
    app.handler("/batch", batch=Batch(max_size=2))(of_list)
    app.handler("/list")(of_list)
    assert body(app, "/batch")[JSON]["required"] == ["text"]
    assert body(app, "/list")[JSON]["type"] == "array"


def test_a_prepared_handler_takes_what_its_prepare_step_takes(app: Potassium) -> None:
    """That is what a request is bound to."""

    def prepare(item: Item) -> int:
        return len(item.text)

    app.handler("/", prepare=prepare)(of_anything)
    assert body(app)[JSON]["required"] == ["text"]


def test_a_json_object_is_an_object(app: Potassium) -> None:
    """Any object, and nothing else."""
    app.handler(of_object)
    assert body(app) == {JSON: {"type": "object", "additionalProperties": True}}


def test_a_raw_body_is_binary(app: Potassium) -> None:
    """It may be of any type, or empty."""
    app.handler(of_bytes)
    binary = {"type": "string", "format": "binary"}
    assert body(app) == {"application/octet-stream": binary, "*/*": binary}
    assert not operation(app)["requestBody"]["required"]


def test_a_whole_request_has_any_body(app: Potassium) -> None:
    """Only the handler knows."""
    app.handler(of_request)
    assert body(app) == {JSON: {}, "*/*": {}}
    assert not operation(app)["requestBody"]["required"]


@pytest.mark.parametrize(
    ("kinds", "shown"), [((FORM, FIELDS, JSON), FORM), ((JSON, FIELDS, FORM), FIELDS)]
)
def test_forms_have_types_of_their_own(
    app: Potassium, monkeypatch: pytest.MonkeyPatch, kinds: tuple[str, ...], shown: str
) -> None:
    """Those with files are multipart, with files that are not encoded as text; others are not."""

    @app.handler
    def take(cache: dict[str, Any], item: WithFile) -> None: ...

    monkeypatch.setattr(app._parts.handlers["/"].bind, "media_types", kinds)
    contents = operation(app)["requestBody"]["content"]
    assert set(contents) == {shown, JSON}
    assert contents[shown]["schema"] == {"$ref": "#/components/schemas/WithFileForm"}
    assert body(app)[shown]["properties"]["file"] == {"type": "string", "format": "binary"}
    assert body(app)[JSON]["properties"]["file"]["contentEncoding"] == "base64"
    valid(app)


def test_a_body_that_is_a_file_has_its_types(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In a form, its field may have any name."""

    @app.handler
    def take(cache: dict[str, Any], file: Base64) -> None: ...

    monkeypatch.setattr(app._parts.handlers["/"].bind, "media_types", ("image/*", FORM, JSON))
    binary = {"type": "string", "format": "binary"}
    assert body(app)["image/*"] == binary
    assert body(app)[FORM] == {"type": "object", "additionalProperties": binary}


def test_names_of_the_apps_types_come_first(app: Potassium) -> None:
    """Our own schema of that name has another one then."""

    @app.background("/")
    def take(cache: dict[str, Any], job: Job) -> None: ...

    schemas = valid(app)["components"]["schemas"]
    assert schemas["Job"]["properties"].keys() == {"title"}
    accepted = operation(app)["responses"]["202"]["content"][JSON]["schema"]
    assert accepted == {"$ref": "#/components/schemas/Job_"}


@pytest.mark.parametrize(
    ("function", "options", "why"),
    [
        (of_item, {"example": {"text": ""}}, "text: String should have at least 1 character"),
        (of_item, {"example": "text"}, "Input should be an object"),
        (of_item, {"examples": {"good": {"text": "a"}, "bad": {}}}, r"examples\['bad'\].*required"),
        (of_object, {"example": [1]}, "example=.* is not a valid input: Input should be an object"),
        (of_object, {"example": {"a": object()}}, "must be JSON"),
        (of_object, {"example": {}, "examples": {}}, "give one of the two"),
        (of_object, {"examples": [{}]}, "write a dict"),
        (of_object, {"tags": "a"}, "write a list of names"),
        (of_object, {"deprecated": "yes"}, "True or False"),
        (of_object, {"output": {"a": 1}}, "write a type"),
    ],
)
def test_an_option_that_is_wrong_is_refused_when_it_is_given(
    app: Potassium, function: Any, options: dict[str, Any], why: str
) -> None:
    """The message says what is wrong, or what to write."""
    with pytest.raises(UsageError, match=why):
        app.handler("/", **options)(function)


def test_examples_that_are_valid_are_accepted(app: Potassium) -> None:
    """They are bound as if a client had sent them."""
    app.handler("/a", example={"text": "a"})(of_item)
    app.handler("/b", batch=Batch(max_size=2), example={"text": "a"})(of_list)
    app.handler("/c", example=[1, 2])(of_request)
    app.handler("/d", prepare=lambda item: item, example={"any": 1})(of_object)
    valid(app)


def test_a_query_has_the_fields_of_what_it_is_bound_to(app: Potassium) -> None:
    """Only a GET has one; each further method of a handler has an id of its own."""
    app.handler("/search")(of_item)
    handler = app._parts.handlers["/search"]

    class Reading(type(handler)):  # type: ignore[misc] # a handler of other methods
        methods = ("GET", "POST")

    fields = {name: getattr(handler, name) for name in handler.__dataclass_fields__}
    app._parts.handlers["/search"] = Reading(**fields)  # type: ignore[index] # which is a dict
    get, post = operation(app, "/search", "get"), operation(app, "/search")
    assert [post["operationId"], get["operationId"]] == ["of_item", "get_of_item"]
    [text] = [one for one in get["parameters"] if one["in"] == "query"]
    assert (text["name"], text["required"], text["schema"]["minLength"]) == ("text", True, 1)
    assert "requestBody" not in get
    assert not [one for one in post["parameters"] if one["in"] == "query"]
    valid(app)
