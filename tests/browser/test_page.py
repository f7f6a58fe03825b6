"""The page shows an app's handlers, and calls them."""

from e2e.server import Start
from playwright.sync_api import Page, expect

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
