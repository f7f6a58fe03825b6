"""An app with API keys: the page asks for one, and keeps it in its tab only."""

import json
from pathlib import Path

from axe_playwright_python.sync_playwright import Axe
from e2e.server import Start, free_port
from playwright.sync_api import Page, expect

APP = """
from pydantic import BaseModel

from potassium import ApiKeys, HTTPException, Potassium

app = Potassium("Keys", api_keys={keys})


class Task(BaseModel):
    name: str = "a"


@app.handler("/echo")
def echo(cache, item: Task) -> dict:
    if item.name == "401":
        raise HTTPException(401, "You are nobody.")
    return {{"name": item.name}}


app.serve()
"""
LOCKED = APP.format(keys=["right"])


PARENT = """
from contextlib import asynccontextmanager

from starlette.applications import Starlette
from starlette.routing import Mount

other = Potassium("Other", api_keys=["right"])


@other.handler("/echo")
def other_echo(cache, item: Task) -> dict: ...


@asynccontextmanager
async def lifespan(parent):
    async with app.lifespan(parent), other.lifespan(parent):
        yield


parent = Starlette(routes=[Mount("/one", app), Mount("/two", other)], lifespan=lifespan)
"""


def enter(page: Page, key: str) -> None:
    page.get_by_label("API key", exact=True).fill(key)
    page.get_by_role("button", name="Continue").click()


def expect_asked(page: Page) -> None:
    expect(page.get_by_role("heading", name="This server requires an API key")).to_be_visible()


def expect_unlocked(page: Page) -> None:
    expect(page.get_by_role("main").get_by_role("heading", level=2)).to_contain_text("/echo")
    expect(page.get_by_label("API key", exact=True)).to_have_count(0)


def test_the_page_asks_for_a_key_and_calls_with_it(start: Start, page: Page) -> None:
    page.goto(start(LOCKED).url)
    expect_asked(page)
    assert Axe().run(page).response["violations"] == []
    enter(page, "right")
    expect_unlocked(page)
    page.locator("article button[type=submit]").click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("200")


def test_code_to_copy_says_where_the_key_goes(start: Start, page: Page) -> None:
    """The code does not contain the key itself."""
    page.goto(start(LOCKED).url)
    enter(page, "right")
    page.get_by_text("Call it from code").click()
    expect(page.get_by_text("Set API_KEY to your API key before you run this.")).to_be_visible()


def test_a_wrong_key_says_so(start: Start, page: Page) -> None:
    """Also a key that a header cannot carry. It is not kept."""
    page.goto(start(LOCKED).url)
    for key in ("wrong", "Schlüssel", "two words", "🗝"):
        enter(page, key)
        expect(page.get_by_role("alert")).to_have_text("The server does not accept this key.")
        page.get_by_label("API key", exact=True).clear()
    enter(page, " ")
    expect(page.get_by_role("alert")).to_have_text("Enter an API key.")
    assert page.evaluate("sessionStorage.length") == 0
    enter(page, " right ")
    expect_unlocked(page)


def test_a_key_stays_in_its_tab(start: Start, page: Page) -> None:
    """It survives a reload, but is not in other tabs or in any other storage."""
    server = start(LOCKED)
    page.goto(server.url)
    enter(page, "right")
    expect_unlocked(page)
    page.reload()
    expect_unlocked(page)
    assert page.evaluate("localStorage.length + document.cookie.length") == 0
    other = page.context.new_page()
    other.goto(server.url)
    expect_asked(other)


def test_a_key_is_for_one_app_of_an_origin(start: Start, page: Page) -> None:
    """Behind one proxy, another app may be somebody else's."""
    source = LOCKED.replace("app.serve()", "") + PARENT
    server = start(source, target="parent", ready="/one/readyz")
    page.goto(f"{server.url}/one/")
    enter(page, "right")
    expect_unlocked(page)
    sent = []
    page.on("request", lambda request: sent.append((request.url, request.headers)))
    page.goto(f"{server.url}/two/")
    expect_asked(page)
    assert not [url for url, headers in sent if "/two/" in url and "authorization" in headers]
    page.goto(f"{server.url}/one/")
    expect_unlocked(page)


def test_a_key_can_be_forgotten(start: Start, page: Page) -> None:
    page.goto(start(LOCKED).url)
    enter(page, "right")
    page.get_by_role("button", name="Forget API key").click()
    expect_asked(page)
    assert page.evaluate("sessionStorage.length") == 0
    page.reload()
    expect_asked(page)


def test_the_page_asks_again_if_the_key_is_no_longer_accepted(
    start: Start, page: Page, complaints: list[str]
) -> None:
    """The form keeps its content."""
    port = free_port()
    server = start(LOCKED, port=port)
    page.goto(server.url)
    enter(page, "right")
    page.get_by_label("Name").fill("kept")
    server.process.kill()
    server.process.wait()
    start(APP.format(keys=["other"]), port=port)
    again = page.get_by_role("heading", name="The server no longer accepts your API key")
    expect(again).to_be_visible(timeout=15_000)
    expect(page.get_by_label("Name")).to_have_value("kept")
    enter(page, "other")
    expect(again).to_have_count(0)
    expect(page.get_by_label("Name")).to_have_value("kept")
    page.locator("article button[type=submit]").click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("kept")
    complaints.clear()  # the browser reports each connection that was refused


def test_a_schema_without_a_key_does_not_open_the_handlers(start: Start, page: Page) -> None:
    """The page shows the handlers, but asks for the key that calls require."""
    keys = 'ApiKeys(["right"], open_paths=["/openapi.json"])'
    page.goto(start(APP.format(keys=keys)).url)
    expect_asked(page)
    expect(page.get_by_role("main").get_by_role("heading", level=2)).to_contain_text("/echo")
    enter(page, "right")
    expect_unlocked(page)


def test_a_handler_that_answers_401_itself_asks_for_no_key(start: Start, page: Page) -> None:
    """Such a 401 is not about the API key."""
    page.goto(start(LOCKED).url)
    enter(page, "right")
    page.get_by_label("Name").fill("401")
    page.locator("article button[type=submit]").click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("You are nobody.")
    expect(page.get_by_label("API key", exact=True)).to_have_count(0)


def test_the_schema_is_saved_with_the_key(start: Start, page: Page, tmp_path: Path) -> None:
    """A link could not send the key."""
    page.goto(start(LOCKED).url)
    enter(page, "right")
    with page.expect_download() as saved:
        page.get_by_role("link", name="openapi.json").click()
    saved.value.save_as(tmp_path / "saved.json")
    assert json.loads((tmp_path / "saved.json").read_text())["info"]["title"] == "Keys"
    assert saved.value.suggested_filename == "openapi.json"
