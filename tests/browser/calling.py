"""Calls handlers on the page as a user does."""

import json
from typing import Any

from e2e.server import Server
from playwright.sync_api import Locator, Page, expect


def call(page: Page, server: Server, path: str, given: Any = None) -> Locator:
    """Send ``given`` as JSON to the handler at ``path``; return the region with the answer."""
    page.goto(f"{server.url}/")
    page.get_by_role("navigation").get_by_role("link", name=f"POST {path}", exact=True).click()
    expect(page.get_by_role("heading", level=2)).to_contain_text(path)
    page.get_by_role("group", name="Input as").get_by_role("button", name="JSON").click()
    page.locator("article textarea").fill(json.dumps({} if given is None else given))
    page.locator("article form button[type=submit]").click()
    return page.get_by_role("region", name="Answer")


def choose(page: Page, view: str) -> None:
    """Choose how the result is shown."""
    views = page.get_by_role("group", name="Result as")
    views.get_by_role("button", name=view, exact=True).click()


def chosen(page: Page) -> Locator:
    """Return the view in which the result is shown."""
    return page.get_by_role("group", name="Result as").locator("[aria-pressed=true]")


def state(page: Page) -> Locator:
    """Return the line with the state of the call."""
    return page.locator("article").get_by_role("status")
