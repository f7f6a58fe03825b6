"""The menu: finding a handler among many, and what is shown if there is none."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from e2e.server import Start
from playwright.sync_api import Locator, Page, Route, expect

APP = """
from pydantic import BaseModel

from potassium import Potassium

app = Potassium("Fifty <i>models</i>")


class Task(BaseModel):
    name: str = "a"


def model(number):
    def run(cache, item: Task) -> dict:
        return {{"number": number}}

    run.__name__ = f"model_{{number}}"
    run.__doc__ = f"Run model {{number}}.\\n\\nNothing else."
    return run


for number in range({count}):
    tags = [f"family {{number % 3}}", "all"]
    app.handler(f"/models/{{number}}", tags=tags, deprecated=number == 1)(model(number))

app.openapi()["info"]["description"] = {description!r}
app.serve()
"""
HOSTILE = """
from pydantic import BaseModel

from potassium import Potassium

BAD = "<img src=x onerror=alert(1)><script>alert(2)</script>"
app = Potassium(BAD)


class Task(BaseModel):
    name: str = "a"


@app.handler("/a <b>bold</b>", tags=[BAD])
def one(cache, item: Task) -> dict:
    return {}


@app.handler("/b", tags=["b"])
def two(cache, item: Task) -> dict:
    return {}


one.__doc__ = BAD + "\\n\\n" + BAD
app.openapi()["info"]["description"] = BAD
app.serve()
"""
NARROW = {"width": 380, "height": 800}


def source(count: int = 50, description: str = "Models of cats.\nTry them.") -> str:
    return APP.format(count=count, description=description)


def menu(page: Page) -> Locator:
    return page.get_by_role("navigation", name="Handlers")


def shown(page: Page) -> Locator:
    return page.get_by_role("main").get_by_role("heading", level=2)


def test_handlers_are_grouped_by_their_first_tag(start: Start, page: Page) -> None:
    page.goto(start(source(4)).url)
    expect(menu(page).get_by_role("heading")).to_have_text(["family 0", "family 1", "family 2"])
    links = menu(page).get_by_role("list", name="family 0").get_by_role("link")
    expect(links).to_have_count(2)
    expect(links.first).to_contain_text("POST /models/0")
    expect(links.first).to_contain_text("Run model 0.")
    expect(links.first).not_to_contain_text("Nothing else.")


def test_a_deprecated_handler_is_marked(start: Start, page: Page) -> None:
    """As a word, not only by its style."""
    page.goto(start(source(4)).url)
    marked = menu(page).get_by_role("link").filter(has_text="deprecated")
    expect(marked).to_have_count(1)
    expect(marked).to_contain_text("/models/1")


def test_a_handler_is_found_among_many(start: Start, page: Page) -> None:
    """By words from its path, summary and tags; Enter opens the first match."""
    page.goto(start(source()).url)
    links = menu(page).get_by_role("link", name=re.compile("models"))
    expect(links).to_have_count(50)
    box = page.get_by_label("Find a handler")
    box.fill("models/4 RUN")
    expect(menu(page).get_by_role("status")).to_have_text("11 of 50")
    expect(links).to_have_count(11)
    box.press("Enter")
    expect(shown(page)).to_contain_text("/models/4")
    box.fill("no such thing")
    expect(menu(page).get_by_role("status")).to_have_text("0 of 50")


def test_few_handlers_need_no_search(start: Start, page: Page) -> None:
    page.goto(start(source(8)).url)
    expect(menu(page).get_by_role("link", name=re.compile("models"))).to_have_count(8)
    expect(page.get_by_label("Find a handler")).to_have_count(0)


def test_the_url_and_the_title_name_what_is_shown(start: Start, page: Page) -> None:
    """So that links and the back button work."""
    server = start(source(4))
    page.goto(f"{server.url}/docs#model_2")
    expect(shown(page)).to_contain_text("/models/2")
    expect(page).to_have_title("/models/2 - Fifty <i>models</i>")
    link = menu(page).get_by_role("link", name="/models/3 ")
    expect(link).not_to_have_attribute("aria-current", "page")
    link.click()
    expect(shown(page)).to_contain_text("/models/3")
    expect(link).to_have_attribute("aria-current", "page")
    expect(page).to_have_url(f"{server.url}/docs#model_3")
    page.go_back()
    expect(shown(page)).to_contain_text("/models/2")
    expect(page).to_have_title("/models/2 - Fifty <i>models</i>")


def test_the_start_says_what_the_app_is(start: Start, page: Page) -> None:
    """The title links back to it. Handlers are shown without the app's description."""
    page.goto(start(source(4)).url)
    expect(page.get_by_role("heading", level=1)).to_have_text("Fifty <i>models</i>")
    about = page.get_by_text("Models of cats.")
    expect(about).to_be_visible()
    menu(page).get_by_role("link", name="/models/3 ").click()
    expect(about).to_have_count(0)
    page.get_by_role("heading", level=1).get_by_role("link").click()
    expect(about).to_be_visible()


def test_the_keyboard_alone_is_enough(start: Start, page: Page) -> None:
    """The first link skips the menu; choosing a handler moves the focus to it."""
    server = start(source(4))
    page.goto(server.url)
    expect(shown(page)).to_be_visible()
    page.keyboard.press("Tab")
    expect(page.get_by_role("link", name="Skip to content")).to_be_focused()
    page.keyboard.press("Enter")
    expect(page.get_by_role("main")).to_be_focused()
    expect(page).to_have_url(f"{server.url}/")
    link = menu(page).get_by_role("link", name="/models/3 ")
    for _ in range(20):
        if link.evaluate("(one) => one === document.activeElement"):
            break
        page.keyboard.press("Shift+Tab")
    page.keyboard.press("Enter")
    expect(shown(page)).to_contain_text("/models/3")
    expect(page.get_by_role("main")).to_be_focused()


def test_the_menu_folds_away_on_a_narrow_screen(start: Start, page: Page) -> None:
    """A button opens it; choosing a handler closes it. Nothing is wider than the screen."""
    page.set_viewport_size(NARROW)
    page.goto(start(source()).url)
    button = page.get_by_role("button", name="Menu")
    expect(button).to_have_attribute("aria-expanded", "false")
    expect(menu(page)).to_be_hidden()
    button.click()
    expect(button).to_have_attribute("aria-expanded", "true")
    menu(page).get_by_role("link", name="/models/4 Run").click()
    expect(menu(page)).to_be_hidden()
    expect(shown(page)).to_contain_text("/models/4")
    assert page.evaluate("document.documentElement.scrollWidth") <= NARROW["width"]


def test_names_and_descriptions_are_text(start: Start, page: Page) -> None:
    """Whatever they contain."""
    page.goto(start(HOSTILE).url)
    bad = "<img src=x onerror=alert(1)><script>alert(2)</script>"
    expect(page.get_by_role("heading", level=1)).to_have_text(bad)
    expect(menu(page).get_by_role("heading").first).to_have_text(bad)
    expect(menu(page).get_by_role("link").first).to_contain_text(f"POST /a <b>bold</b> {bad}")
    expect(page.get_by_role("main")).to_contain_text(bad)
    expect(page.locator("img, body script:not([src]), b")).to_have_count(0)


@pytest.mark.parametrize("name", ["no_such", "%", "<b>x</b>", "/servers"])
def test_a_link_to_a_handler_that_is_not_there_says_so(start: Start, page: Page, name: str) -> None:
    page.goto(f"{start(source(4)).url}/docs#{name}")
    expect(shown(page)).to_have_text("Not found")
    expect(page.get_by_role("main")).to_contain_text(f"no handler named {name}")
    expect(menu(page).get_by_role("link", name=re.compile("models"))).to_have_count(4)


def test_an_app_without_handlers_says_so(start: Start, page: Page) -> None:
    text = source(0).replace("app.serve()", "")
    page.goto(f"{start(text, target='app').url}/docs")
    expect(page.get_by_text("This app has no handlers.")).to_be_visible()


def test_a_schema_that_does_not_come_yet_is_waited_for(start: Start, page: Page) -> None:
    """The page says so."""
    held: list[Route] = []
    page.route("**/openapi.json", lambda route: held.append(route))  # noqa: PLW0108 - it is marked
    page.goto(start(source(4)).url)
    expect(page.get_by_text("Loading the handlers…")).to_be_visible()
    expect(page.get_by_role("link", name="Server: ready")).to_be_visible()
    held[0].continue_()
    expect(shown(page)).to_contain_text("/models/0")
    expect(page.get_by_text("Loading the handlers…")).to_have_count(0)


def test_a_schema_that_fails_can_be_loaded_again(start: Start, page: Page) -> None:
    """By the user; once the server answers, the page also retries by itself."""
    page.clock.install()
    page.route("**/openapi.json", lambda route: route.fulfill(status=500, body="broken"))
    page.goto(start(source(4)).url)
    expect(page.get_by_role("alert")).to_contain_text("be loaded. The server answered 500.")
    page.unroute_all()
    page.get_by_role("button", name="Try again").click()
    expect(shown(page)).to_contain_text("/models/0")


def test_the_menu_leads_to_the_schema(start: Start, page: Page) -> None:
    server = start(source(4))
    page.goto(f"{server.url}/docs")
    link = page.get_by_role("link", name="openapi.json")
    expect(link).to_have_attribute("href", f"{server.url}/openapi.json")


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("width", [380, 1200])
def test_nothing_is_in_the_way_of_screen_readers(
    start: Start, page: Page, scheme: str, width: int
) -> None:
    """axe finds no fault in the menu and the server at a glance."""
    page.emulate_media(color_scheme=scheme)
    page.set_viewport_size({"width": width, "height": 800})
    server = start(source())
    page.goto(server.url)
    expect(shown(page)).to_be_visible()
    faults = Axe().run(page).response["violations"]
    if width < 640:
        page.get_by_role("button", name="Menu").click()
        faults += Axe().run(page).response["violations"]
    page.goto(f"{server.url}/#/server")
    expect(page.get_by_role("img", name="Served per second: 0")).to_be_visible()
    faults += Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in faults] == []
