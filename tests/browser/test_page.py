"""The page shows an app's handlers, and calls them."""

from e2e.server import Start
from playwright.sync_api import Page, Route, expect

APP = """
from pydantic import BaseModel, Field
from potassium import Potassium

app = Potassium("Cats <b>and</b> dogs")

class Text(BaseModel):
    text: str = Field(min_length=1)
    times: int = 2

@app.handler("/repeat")
def repeat(cache, item: Text) -> dict:
    '''Repeat a text.'''
    return {"repeated": item.text * item.times}

app.serve()
"""


def test_a_form_made_from_the_schema_calls_the_handler(start: Start, page: Page) -> None:
    server = start(APP)
    page.goto(f"{server.url}/")
    expect(page.get_by_role("heading", level=1)).to_have_text("Cats <b>and</b> dogs")
    page.get_by_label("Text *").fill("ab")
    page.get_by_role("button", name="Call", exact=True).click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text('"abab"')


def tall(page: Page, url: str) -> None:
    """Open the form in a window that is too low for the answer."""
    page.set_viewport_size({"width": 1200, "height": 480})
    page.goto(f"{url}/")
    page.get_by_label("Text *").fill("ab")


def test_an_answer_below_a_long_form_is_scrolled_into_view(start: Start, page: Page) -> None:
    tall(page, start(APP).url)
    page.get_by_role("button", name="Call", exact=True).click()
    expect(page.get_by_role("region", name="Answer").get_by_text('"abab"')).to_be_in_viewport()


def test_an_answer_does_not_move_the_page_if_its_user_has_scrolled(
    start: Start, page: Page
) -> None:
    tall(page, start(APP).url)
    held: list[Route] = []
    page.route("**/repeat", lambda route: held.append(route))  # noqa: PLW0108 - it is marked
    with page.expect_request("**/repeat"):
        page.get_by_role("button", name="Call", exact=True).click()
    expect(page.locator("article").get_by_role("status")).to_be_in_viewport()
    page.evaluate("scrollTo(0, 0)")
    held[0].continue_()
    expect(page.get_by_role("region", name="Answer")).to_contain_text('"abab"')
    assert page.evaluate("scrollY") == 0
