"""What has no type in the schema is filled in as JSON."""

import json
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from e2e.server import Start
from playwright.sync_api import Page, expect

APP = """
from typing import Annotated, Any

from pydantic import BaseModel, Field, WithJsonSchema

from potassium import Potassium, Request

app = Potassium("Untyped")
Free = Annotated[Any, WithJsonSchema({})]
Odd = Annotated[Any, WithJsonSchema({"type": ["string", "integer"], "title": "Odd"})]
Never = Annotated[Any, WithJsonSchema({"not": {}})]


class Item(BaseModel):
    value: Any
    free: Free = None
    odd: Odd = None
    never: Never = None
    nothing: None = None
    several: list[Any] = []
    named: dict[str, Any] = {}
    pair: tuple[Any, Free] | None = None
    either: Free | list[int] = None
    other: dict[str, Free] = {}


@app.handler("/request")
def request(cache, request: Request) -> dict:
    return {"got": request.json}


@app.handler("/any")
def anything(cache, item: Any) -> dict:
    return {"got": item}


@app.handler("/free")
def free(cache, item: Free) -> dict:
    return {"got": item}


@app.handler("/odd")
def odd(cache, item: Odd) -> dict:
    return {"got": item}


@app.handler("/list")
def several(cache, item: list[Any]) -> dict:
    return {"got": item}


@app.handler("/json")
def json_in(cache, json_in: dict) -> dict:
    return {"got": json_in}


@app.handler("/item")
def item(cache, item: Item) -> dict:
    return {"got": item.model_dump(exclude_unset=True)}


app.serve()
"""


def got(page: Page) -> Any:
    with page.expect_response(lambda one: one.request.method == "POST") as answer:
        page.locator("article button[type=submit]").click()
    return answer.value.json()["got"]


def no_faults(page: Page) -> None:
    expect(page.get_by_text("Unknown field")).to_have_count(0)
    assert [one["id"] for one in Axe().run(page).response["violations"]] == []


@pytest.mark.parametrize(
    ("handler", "value"),
    [
        ("request", {"a": [1]}),
        ("anything", [1, "a"]),
        ("free", {"a": None}),
        ("odd", "a"),
        ("several", [1, {"a": 2}]),
        ("json_in", {"a": 1}),
    ],
)
def test_an_input_without_a_type_is_json(
    start: Start, page: Page, handler: str, value: Any
) -> None:
    page.goto(f"{start(APP).url}/docs#{handler}")
    field = page.locator("article form textarea.json")
    field.fill("[")
    # The message appears above the button, which moves: a click that is too early would miss it.
    expect(page.locator("article form")).to_contain_text("Line 1, column 2")
    page.locator("article button[type=submit]").click()
    expect(page.get_by_role("alert")).to_contain_text("Line 1, column 2")
    no_faults(page)
    field.fill(json.dumps(value))
    assert got(page) == value
    no_faults(page)


def test_a_field_without_a_type_is_json(start: Start, page: Page) -> None:
    page.goto(f"{start(APP).url}/docs#item")
    form = page.locator("article form")
    values = {"value": [1], "free": [1], "odd": "a", "several": [1], "named": {"a": 1}}
    for name, value in values.items():
        form.get_by_label(name.capitalize()).first.fill(json.dumps(value))
    no_faults(page)
    assert values.items() <= got(page).items()
    no_faults(page)
    form.get_by_label("Odd").fill("[]")
    expect(form).to_contain_text("Must be text or a whole number")
