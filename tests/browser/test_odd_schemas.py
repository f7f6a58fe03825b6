"""Schemas as nobody would write them, and as some models have them: each has a form."""

import json
import re
from typing import Any

import pytest
from e2e.server import Server, Start
from playwright.sync_api import Locator, Page, Route, expect

APP = """
from typing import Annotated, Any, Literal, Optional, Union

from pydantic import BaseModel, Field, create_model
from typing_extensions import TypeAliasType

from potassium import Potassium

app = Potassium("Odd")
Tree = TypeAliasType("Tree", Union[str, list["Tree"], dict[str, "Tree"]])


class Leaf(BaseModel):
    kind: Literal["leaf"] = "leaf"
    value: int


class Add(BaseModel):
    kind: Literal["add"] = "add"
    left: "Term"
    right: "Term"


class Double(BaseModel):
    kind: Literal["double"] = "double"
    of: "Term"


Term = Annotated[Union[Add, Double, Leaf], Field(discriminator="kind")]
Add.model_rebuild()


class Endless(BaseModel):
    one: "Endless"
    other: "Endless"


class Breeding(BaseModel):
    children: list["Breeding"] = Field(min_length=20)


class Either(BaseModel):
    next: "Either | Other | int"


class Other(BaseModel):
    next: "Either | Other | int"


# Each has each: there are more ways through them than anybody could list.
NAMES = [f"N{number}" for number in range(12)]
NODES = {}
for name in NAMES:
    fields = {f"to_{other}": (Optional[other], None) for other in NAMES}
    NODES[name] = create_model(name, __module__=__name__, **fields)
for model in NODES.values():
    model.model_rebuild(_types_namespace=NODES)


class Patterns(BaseModel):
    bad: str = Field("a", pattern=r"^(a+)+$")
    words: str = Field("a", pattern=r"^(\\\\w+\\\\s?)*$")
    slug: str = Field("a", pattern=r"^[a-z]+(-[a-z]+)*$")


Names = create_model(
    "Names",
    **{
        "constructor": (Optional[str], None),
        "toString": (str, "x"),
        "hasOwnProperty": (dict[str, int], {}),
        "own": (int, Field(3, alias="__proto__")),
    },
)


@app.handler("/tree")
def tree(cache, item: Tree) -> Any:
    return item


@app.handler("/term")
def term(cache, item: Term) -> Any:
    return item.model_dump()


@app.handler("/endless")
def endless(cache, item: Endless) -> Any: ...


@app.handler("/breeding")
def breeding(cache, item: Breeding) -> Any: ...


@app.handler("/either")
def either(cache, item: Either) -> Any: ...


@app.handler("/web")
def web(cache, item: NODES["N0"]) -> Any: ...


@app.handler("/patterns")
def patterns(cache, item: Patterns) -> Any:
    return item.model_dump()


@app.handler("/names")
def names(cache, item: Names) -> Any:
    return item.model_dump(by_alias=True)


@app.handler("/any")
def anything(cache, item: dict[str, Any]) -> Any:
    return item


@app.handler("/v1:predict")
def predict(cache, item: int) -> int:
    return item + 1


app.serve()
"""


@pytest.fixture
def server(start: Start) -> Server:
    return start(APP.replace("\\\\", "\\"))


def show(page: Page, server: Server, handler: str) -> Locator:
    page.goto(f"{server.url}/docs#{handler}")
    expect(page.get_by_role("heading", level=2)).to_contain_text("/")
    expect(page.locator("article button[type=submit]")).to_be_visible()
    expect(page.get_by_text("This page cannot show")).to_have_count(0)
    return page.get_by_role("region", name="Answer")


def send(page: Page) -> None:
    page.locator("article button[type=submit]").click()


def type_json(page: Page, value: object) -> None:
    page.get_by_role("group", name="Input as").get_by_role("button", name="JSON").click()
    page.get_by_label("Input as JSON").fill(json.dumps(value))


def test_a_type_that_contains_itself_is_json_there(server: Server, page: Page) -> None:
    answer = show(page, server, "tree")
    page.locator("article form").get_by_role("combobox").first.select_option(index=1)
    page.get_by_role("button", name="Add").click()
    type_json(page, ["a", {"b": ["c"]}])
    send(page)
    expect(answer).to_contain_text('"c"')


def test_a_union_within_itself_is_chosen_step_by_step(server: Server, page: Page) -> None:
    """The first of its variants is filled in once, and not without end."""
    answer = show(page, server, "term")
    kinds = page.get_by_label(re.compile("^Type of"))
    assert [one.input_value() for one in kinds.all()] == ["0", "-1", "-1"]
    send(page)
    expect(page.locator("article")).to_contain_text("left: Required")
    for place in (1, 2):
        kinds.nth(place).select_option("Leaf")
    for place in (0, 1):
        page.get_by_label("Value *").nth(place).fill("2")
    send(page)
    expect(answer).to_contain_text("Status 200")


@pytest.mark.parametrize("handler", ["endless", "breeding", "either", "web"])
def test_models_without_an_end_have_a_form(server: Server, page: Page, handler: str) -> None:
    show(page, server, handler)
    page.get_by_text("Input fields").click()
    assert page.locator("article *").count() < 20_000


def test_json_that_fits_many_variants_is_checked_in_a_moment(server: Server, page: Page) -> None:
    show(page, server, "either")
    value: Any = 1.5
    for _ in range(60):
        value = {"next": value}
    type_json(page, value)
    expect(page.locator("#input-as-json-faults")).to_contain_text("next.next.next")


@pytest.mark.parametrize("field", ["Bad", "Words"])
def test_a_pattern_that_takes_forever_is_left_to_the_server(
    server: Server, page: Page, field: str
) -> None:
    answer = show(page, server, "patterns")
    page.get_by_label(field).fill("a" * 60 + "!")
    send(page)
    expect(answer).to_contain_text("Status 422")


@pytest.mark.parametrize("text", ["a-b-", "many-words-make-a-long-slug-"])
def test_other_patterns_are_checked_as_they_are_typed(
    server: Server, page: Page, text: str
) -> None:
    show(page, server, "patterns")
    page.get_by_label("Slug").fill(text)
    expect(page.locator("article")).to_contain_text("Must match ^[a-z]+(-[a-z]+)*$")


def test_members_may_be_called_what_every_object_has(server: Server, page: Page) -> None:
    """In JavaScript: "constructor" and the like. A form cannot tell that they are absent."""
    answer = show(page, server, "names")
    field = page.locator("article form textarea")
    field.fill('{"toString": "y"}')
    send(page)
    expect(answer).to_contain_text('toString: "y"')
    expect(answer).to_contain_text("constructor: null")
    expect(answer).to_contain_text("__proto__: 3")


def test_no_member_is_lost(server: Server, page: Page) -> None:
    answer = show(page, server, "anything")
    field = page.locator("article form textarea")
    field.fill('{"constructor": 1, "toString": 2, "__proto__": {"__proto__": 3}, "a.b": 4}')
    with page.expect_request("**/any") as sent:
        send(page)
    assert json.loads(sent.value.post_data or "") == {
        "constructor": 1,
        "toString": 2,
        "__proto__": {"__proto__": 3},
        "a.b": 4,
    }
    type_json(page, {"__proto__": "kept", "constructor": 1})
    send(page)
    expect(answer).to_contain_text('__proto__: "kept"')


def test_a_path_with_a_colon_is_called_here(server: Server, page: Page) -> None:
    """It is not the URL of some other scheme."""
    answer = show(page, server, "predict")
    page.get_by_label("Input *").fill("4")
    page.get_by_text("Call it from code").click()
    expect(page.get_by_label("The call as code")).to_contain_text(f"{server.url}/v1:predict")
    send(page)
    expect(answer).to_contain_text("Status 200")


MARKUP = "<img src=x onerror=alert(1)>"
ODD: list[Any] = [
    True,
    {},
    {"type": "constructor", "format": "constructor"},
    {"type": "string", "format": "constructor", "contentMediaType": "constructor/x"},
    {"type": "string", "format": MARKUP, "pattern": "(", "default": MARKUP},
    {"type": "string", "contentEncoding": "base64", "contentMediaType": "constructor/x"},
    {"enum": [MARKUP, 1, None, {"a": 1}, [1], MARKUP], "title": MARKUP},
    {"allOf": [{"$ref": "#/components/schemas/Loop"}, {"$ref": "#/components/schemas/Loop"}]},
    {"$ref": "#/components/schemas/Round"},
    {"$ref": "#/constructor/prototype"},
    {"$ref": "https://elsewhere.example/schema"},
    {"$ref": "#/%"},
    {"type": "array", "items": True},
    {"type": "array", "items": False, "minItems": 3},
    {"type": "array", "prefixItems": [True, {}], "default": ["a"]},
    {"type": ["string", "integer", "constructor"]},
    {"type": "object", "additionalProperties": {"$ref": "#/components/schemas/Loop"}},
    {"anyOf": []},
    {"anyOf": [True, {"type": "null"}]},
    {"oneOf": [{"const": {"a": 1}}, {"const": MARKUP}], "discriminator": {"propertyName": "x"}},
    {"type": "string", "format": "date-time", "default": "not a date"},
    {"type": "integer", "minimum": 1e300, "maximum": -1e300, "multipleOf": 0, "default": "x"},
]  # fmt: skip
COMPONENTS = {
    "Loop": {"allOf": [{"$ref": "#/components/schemas/Loop"}] * 2},
    "Round": {"$ref": "#/components/schemas/Round"},
}


@pytest.mark.parametrize("schema", ODD, ids=lambda one: re.sub(r"\W+", " ", str(one))[:50])
@pytest.mark.parametrize("place", ["whole", "member"])
def test_any_schema_leaves_a_way_to_call(
    server: Server, page: Page, place: str, schema: Any
) -> None:
    """A document may have been changed by hand."""

    def change(route: Route) -> None:
        document = route.fetch().json()
        inside = {"type": "object", "properties": {"x": schema, "y": schema}, "required": ["x"]}
        content = document["paths"]["/any"]["post"]["requestBody"]["content"]
        content["application/json"] = {"schema": schema if place == "whole" else inside}
        document["components"]["schemas"] |= COMPONENTS
        route.fulfill(json=document)

    page.route("**/openapi.json", change)
    answer = show(page, server, "anything")
    type_json(page, {"x": [1]})
    send(page)
    expect(answer).to_contain_text("Status 200")
    page.get_by_role("group", name="Input as").get_by_role("button", name="Form").click()
    expect(page.locator("article button[type=submit]")).to_be_visible()
