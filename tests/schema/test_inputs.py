"""What a handler takes, as the schema shows it."""

import json
from collections.abc import Sequence
from typing import Annotated, Any, Literal

import pytest
from pydantic import BaseModel, ConfigDict, Field, RootModel, WithJsonSchema
from starlette.datastructures import UploadFile
from support.schemas import JSON, body, check, operation, query, valid

from potassium import Batch, File, Potassium, Request, UsageError
from potassium.media.from_file import FromFile
from potassium.testing import client

FORM, FIELDS = "multipart/form-data", "application/x-www-form-urlencoded"


class Item(BaseModel):
    text: str = Field(min_length=1)


class Job(BaseModel):
    """A name that the schema has, too."""

    title: str


Picture = Annotated[bytes, FromFile(File.read, ("image/*", "application/pdf"))]


class WithFiles(BaseModel):
    model_config = ConfigDict(arbitrary_types_allowed=True)
    file: File
    upload: UploadFile
    several: list[File] = []
    named: dict[str, File] = {}
    picture: Picture | None = Field(None, description="A photo.")


class Cat(BaseModel):
    kind: Literal["cat"]
    lives: int = 9


class Dog(BaseModel):
    kind: Literal["dog"]
    name: str


Pet = Annotated[Cat | Dog, Field(discriminator="kind")]


class Search(BaseModel):
    text: str
    tags: list[str] = []
    pet: Cat | None = None
    pets: list[Cat] = []
    counts: dict[str, int] = {}
    note: str | Cat = ""


def of_files(cache: dict[str, Any], item: WithFiles) -> None: ...
def of_item(cache: dict[str, Any], item: Item) -> None: ...
def of_bytes(cache: dict[str, Any], raw: bytes) -> None: ...
def of_request(cache: dict[str, Any], request: Request) -> None: ...
def of_object(cache: dict[str, Any], json_in: dict[str, Any]) -> None: ...
def of_list(cache: dict[str, Any], items: list[Item]) -> Any: ...
def of_anything(cache: dict[str, Any], json_in: Any) -> None: ...
def of_search(cache: dict[str, Any], item: Search) -> None: ...


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


def test_files_are_files_in_forms_and_text_in_json(app: Potassium) -> None:
    """So are uploads of Starlette's; a form says which types they should have."""
    app.handler(of_files)
    whole, form = body(app)[JSON]["properties"], body(app)[FORM]["properties"]
    assert set(body(app)) == {FORM, JSON}
    assert operation(app)["requestBody"]["content"][FORM]["encoding"] == {
        "picture": {"contentType": "image/*, application/pdf"}
    }
    text = {"type": "string", "contentEncoding": "base64"}
    binary = {"type": "string", "format": "binary"}
    for name in ("file", "upload"):
        assert whole[name] == {**text, "title": name.title()}
        assert form[name] == {**binary, "title": name.title()}
    assert whole["several"]["items"] == text
    assert form["several"]["items"] == binary
    assert whole["picture"]["description"] == form["picture"]["description"] == "A photo."
    assert form["picture"]["anyOf"] == [binary, {"type": "null"}]
    types = {"media_types": ["image/*", "application/pdf"]}
    assert whole["picture"]["anyOf"][0]["x-potassium"] == types
    for fields in (whole, form):  # what is within an object is JSON
        assert fields["named"]["additionalProperties"] == text
    valid(app)


async def test_a_form_that_the_schema_describes_is_accepted(app: Potassium) -> None:
    """Files as they are; objects as JSON, with files as text."""

    @app.handler
    def lengths(cache: dict[str, Any], item: WithFiles) -> dict[str, int]:
        files = {"file": item.file, "first": item.several[0], **item.named}
        return {name: len(file.read()) for name, file in files.items()}

    sent = [
        ("file", ("a", b"a")),
        ("upload", ("b", b"b")),
        ("several", ("c", b"ccc")),
        ("named", (None, b'{"d": "ZGRkZA=="}')),
    ]
    async with client(app) as http:
        answer = await http.post("/", files=sent)
    assert answer.json() == {"file": 1, "first": 3, "d": 4}


def test_forms_without_files_are_url_encoded(app: Potassium) -> None:
    """One encoding is enough, and generators of clients need one type for each."""
    app.handler("/", methods=["GET", "POST"])(of_item)
    contents = operation(app)["requestBody"]["content"]
    assert set(contents) == {JSON, FIELDS}
    assert contents[FIELDS] == {"schema": {"$ref": "#/components/schemas/ItemForm"}}
    assert body(app)[FIELDS]["properties"] == body(app)[JSON]["properties"]


def test_a_body_that_is_a_file_has_its_types(app: Potassium) -> None:
    """In a form, its field may have any name."""

    @app.handler
    def take(cache: dict[str, Any], picture: Picture) -> None: ...

    binary = {"type": "string", "format": "binary"}
    assert body(app)["image/*"] == body(app)["application/pdf"] == binary
    form = {"type": "object", "additionalProperties": binary}
    assert body(app)[FORM] == {**form, "minProperties": 1, "maxProperties": 1}
    assert operation(app)["requestBody"]["required"]


@pytest.mark.parametrize("annotation", [list[File], Sequence[File] | None])
def test_a_form_may_have_any_number_of_files(app: Potassium, annotation: Any) -> None:
    """In fields of any names."""

    def take(cache: dict[str, Any], files: Any) -> None: ...

    take.__annotations__["files"] = annotation
    app.handler(take)
    binary = {"type": "string", "format": "binary"}
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
    app.handler("/search", methods=["GET", "POST"])(of_item)
    get, post = operation(app, "/search", "get"), operation(app, "/search")
    assert [post["operationId"], get["operationId"]] == ["of_item", "get_of_item"]
    text = query(app, "/search")["text"]
    assert (text["required"], text["schema"]["minLength"]) == (True, 1)
    assert "requestBody" not in get
    assert not [one for one in post["parameters"] if one["in"] == "query"]
    valid(app)


@pytest.mark.parametrize("annotation", [Cat | Dog, Pet, RootModel[Cat | Dog], Cat | Dog | None])
def test_a_query_or_a_form_has_the_fields_of_each_member_of_a_union(
    app: Potassium, annotation: Any
) -> None:
    """A query requires what all of them require; a form is one of them."""

    def take(cache: dict[str, Any], item: Any) -> None: ...

    take.__annotations__["item"] = annotation
    app.handler("/", methods=["GET", "POST"])(take)
    shown = query(app)
    assert {name: one["required"] for name, one in shown.items()} == {
        "kind": True,
        "lives": False,
        "name": False,
    }
    assert [one["const"] for one in shown["kind"]["schema"]["anyOf"]] == ["cat", "dog"]
    forms = operation(app)["requestBody"]["content"][FIELDS]["schema"]["anyOf"]
    names = [form["$ref"].rpartition("/")[2] for form in forms]
    assert names == ["CatForm", "DogForm"]
    valid(app)


def test_a_field_may_have_several_types(app: Potassium) -> None:
    """Which the app's own JSON Schema lists."""

    class Odd(BaseModel):
        one: Annotated[Any, WithJsonSchema({"type": ["object", "null"]})]
        other: Annotated[Any, WithJsonSchema({"type": ["string", "object"]})]

    def take(cache: dict[str, Any], item: Odd) -> None: ...

    take.__annotations__["item"] = Odd
    app.handler("/", methods=["GET", "POST"])(take)
    shown = query(app)
    assert shown["one"]["schema"]["contentMediaType"] == JSON
    assert "contentMediaType" not in shown["other"]["schema"]
    valid(app)


async def test_a_query_that_the_schema_describes_is_accepted(app: Potassium) -> None:
    """Objects in it are JSON, also within lists, unless they may be text. A form is the same."""

    @app.handler("/", methods=["GET", "POST"])
    def echo(cache: dict[str, Any], item: Search) -> Search:
        return item

    shown = {name: one["schema"] for name, one in query(app).items()}
    as_json = {name for name in shown if shown[name].get("contentMediaType") == JSON}
    assert as_json == {"pet", "pets", "counts"}
    assert shown["tags"]["items"] == {"type": "string"}
    cat = {"kind": "cat", "lives": 3}
    sent = {"text": "a", "tags": ["b", "c"], "pet": cat, "pets": [cat, cat], "counts": {"d": 1}}
    for name, value in sent.items():
        check(app, shown[name].get("contentSchema", shown[name]), value)
    coded: dict[str, Any] = {
        name: json.dumps(sent[name]) if name in as_json else sent[name] for name in sent
    }
    async with client(app) as http:
        answers = [await http.get("/", params=coded), await http.post("/", data=coded)]
    assert [one.json() for one in answers] == [{**sent, "note": ""}] * 2
    assert body(app)[FIELDS]["properties"] == shown


def test_examples_are_shown_in_a_query_and_in_a_form(app: Potassium) -> None:
    """As they are sent there."""
    example = Search(text="a", pet=Cat(kind="cat"))
    app.handler("/", methods=["GET", "POST"], examples={"one": example})(of_search)
    assert query(app)["text"]["examples"] == {"one": {"value": "a"}}
    assert query(app)["pet"]["examples"] == {"one": {"value": '{"kind":"cat","lives":9}'}}
    contents = operation(app)["requestBody"]["content"]
    pets = [contents[kind]["examples"]["one"]["value"]["pet"] for kind in (JSON, FIELDS)]
    assert pets == [{"kind": "cat", "lives": 9}, '{"kind":"cat","lives":9}']
    valid(app)


def test_an_example_without_fields_is_in_neither(app: Potassium) -> None:
    """And what is not a field is sent as it is."""

    def take(cache: dict[str, Any], item: int | Cat) -> None: ...

    examples = {"number": 1, "more": {"kind": "cat", "extra": [1]}}
    app.handler("/", methods=["GET", "POST"], examples=examples)(take)
    assert query(app)["kind"]["examples"] == {"more": {"value": "cat"}}
    contents = operation(app)["requestBody"]["content"]
    assert contents[FIELDS]["examples"] == {"more": {"value": examples["more"]}}
    assert contents[JSON]["examples"]["number"] == {"value": 1}
