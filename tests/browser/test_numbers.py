"""Whole numbers keep all their digits on the page, also those that a double cannot hold."""

import json
from pathlib import Path
from typing import Any

import pytest
from browser.calling import call, choose
from browser.test_snippets import LANGUAGES, run, snippet
from e2e.server import Server, Start
from playwright.sync_api import Page, expect

LARGE = 2**53 + 1  # the least that a double cannot hold
LONGER = 10**24 + 1
APP = """
from collections.abc import Iterator
from typing import Any, Literal

from pydantic import BaseModel, Field

from potassium import Jobs, Potassium

app = Potassium("Numbers", jobs=Jobs(path=None))


class Item(BaseModel):
    id: int = Field(9007199254740993, gt=9007199254740992, le=9223372036854775807)
    seeds: list[int] = []
    kind: Literal[9007199254740993, 9007199254740995] = 9007199254740995


def said(value):
    return {"said": repr(value)}


@app.handler("/item", example={"id": 9007199254740995, "seeds": [9007199254740997]})
def item(cache, item: Item) -> dict:
    return said([item.id, item.seeds, item.kind])


@app.handler("/number")
def number(cache, item: int) -> dict:
    return said(item)


@app.handler("/echo")
def echo(cache, item: Any) -> Any:
    return item


@app.handler("/any")
def anything(cache, item: Any) -> dict:
    return said(item)


@app.handler("/search", methods=["GET"])
def search(cache, item: Item) -> dict:
    return said(item.id)


@app.handler("/stream")
def stream(cache, item: int) -> Iterator[dict]:
    for more in range(3):
        yield {"id": item + more}


@app.handler("/numbers")
def numbers(cache, item: int) -> Iterator[int]:
    for more in range(3):
        yield item + more


@app.background("/job")
def job(cache, item: int) -> dict:
    return {"id": item}


@app.background("/job/stream")
def job_stream(cache, item: int) -> Iterator[dict]:
    yield {"id": item}


app.serve()
"""


def show(page: Page, server: Server, handler: str) -> None:
    page.goto(f"{server.url}/docs#{handler}")
    expect(page.get_by_role("heading", level=2)).to_be_visible()


def answer(page: Page) -> str:
    """Send the form and return what the handler has understood."""
    with page.expect_response(lambda one: one.request.method in ("POST", "GET")) as got:
        page.locator("article button[type=submit]").click()
    said: str = got.value.json()["said"]
    return said


@pytest.mark.parametrize("value", [{"id": LARGE, "more": [-LONGER]}, LARGE], ids=["inside", "all"])
def test_a_large_number_in_a_result_is_exact(start: Start, page: Page, value: Any) -> None:
    """In the tree and as JSON; also in what is sent of what was written as JSON."""
    region = call(page, start(APP), "/echo", value)
    expect(region).to_contain_text(str(LARGE))
    choose(page, "JSON")
    assert json.loads(region.locator("pre").inner_text()) == value


def test_a_large_number_in_a_form_is_exact(start: Start, page: Page) -> None:
    """As it is typed, as it is shown as JSON, and back in the form."""
    show(page, start(APP), "number")
    field = page.get_by_label("Input *")
    field.press_sequentially(str(LARGE))
    assert answer(page) == str(LARGE)
    shown = page.get_by_role("group", name="Input as")
    shown.get_by_role("button", name="JSON").click()
    written = page.get_by_label("Input as JSON")
    expect(written).to_have_value(str(LARGE))
    written.fill(str(LONGER))
    shown.get_by_role("button", name="Form").click()
    expect(field).to_have_value(str(LONGER))
    assert answer(page) == str(LONGER)
    field.fill("7")
    assert answer(page) == "7"


def test_a_number_stays_as_it_is_typed(start: Start, page: Page) -> None:
    show(page, start(APP), "number")
    field = page.get_by_label("Input *")
    for typed in ("-", "5.0", "1e3", ""):
        field.clear()
        field.press_sequentially(typed)
        expect(field).to_have_value("" if typed == "-" else typed)


def test_an_example_and_a_default_are_exact(start: Start, page: Page) -> None:
    """And so are choices."""
    server = start(APP)
    show(page, server, "item")
    expect(page.get_by_label("Id", exact=True)).to_have_value("9007199254740995")
    page.get_by_label("9007199254740993").check()
    assert answer(page) == "[9007199254740995, [9007199254740997], 9007199254740993]"
    page.get_by_label("Id", exact=True).clear()
    assert answer(page).startswith("[9007199254740993,")


def test_a_large_limit_is_said_and_checked_exactly(start: Start, page: Page) -> None:
    show(page, start(APP), "item")
    page.get_by_text("Input fields").click()
    table = page.get_by_role("region", name="Input fields")
    expect(table).to_contain_text("above 9,007,199,254,740,992")
    expect(table).to_contain_text("at most 9,223,372,036,854,775,807")
    field = page.get_by_label("Id", exact=True)
    form = page.locator("article form")
    field.fill("9223372036854775808")
    expect(form).to_contain_text("Must be at most 9,223,372,036,854,775,807")
    field.fill("9007199254740992")
    expect(form).to_contain_text("Must be above 9,007,199,254,740,992")
    field.fill("9007199254740993")
    expect(form).not_to_contain_text("Must be")


def test_a_large_number_in_a_query_is_exact(start: Start, page: Page) -> None:
    show(page, start(APP), "search")
    page.get_by_label("Id", exact=True).fill("9007199254740997")
    assert answer(page) == "9007199254740997"


@pytest.mark.parametrize("path", ["/stream", "/numbers"])
def test_large_numbers_in_a_stream_are_exact(start: Start, page: Page, path: str) -> None:
    region = call(page, start(APP), path, LARGE)
    for more in range(3):
        expect(region).to_contain_text(str(LARGE + more))


@pytest.mark.parametrize("handler", ["job", "job_stream"])
def test_large_numbers_in_a_job_are_exact(start: Start, page: Page, handler: str) -> None:
    """In its result, and in the chunks among its events."""
    show(page, start(APP), handler)
    page.get_by_label("Input *").fill(str(LARGE))
    page.get_by_role("button", name="Run in the background").click()
    job = page.get_by_role("region", name="Job", exact=True)
    expect(job.get_by_role("region", name="Result")).to_contain_text(str(LARGE))
    if handler == "job_stream":
        job.get_by_text("Events (").click()
        expect(job.get_by_role("list", name="Events")).to_contain_text(str(LARGE))


@pytest.mark.parametrize("language", LANGUAGES)
def test_large_numbers_in_code_are_exact(
    start: Start, page: Page, tmp_path: Path, language: str
) -> None:
    show(page, start(APP), "anything")
    page.get_by_role("button", name="JSON").click()
    value = {"id": LARGE, "it's": [-LONGER, 0.5]}
    page.get_by_label("Input as JSON").fill(json.dumps(value))
    page.get_by_text("Call it from code").click()
    printed = run(language, snippet(page, language), tmp_path)
    assert json.loads(printed) == {"said": repr(value)}


def test_a_browser_that_cannot_read_large_numbers_shows_them_as_it_can(
    start: Start, page: Page
) -> None:
    page.add_init_script("delete JSON.rawJSON")
    server = start(APP)
    region = call(page, server, "/echo", {"id": LARGE})
    expect(region).to_contain_text("9007199254740992")
    show(page, server, "item")
    page.get_by_label("Id", exact=True).fill("9007199254740995")
    assert answer(page).startswith("[9007199254740996,")
