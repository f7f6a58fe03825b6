"""The page works at any path, under a parent app, and behind a proxy that removes a prefix."""

import pytest
from browser.proxy import stripping
from e2e.server import Server, Start
from playwright.sync_api import Page, expect

APP = """
from fastapi import FastAPI
from pydantic import BaseModel

from potassium import Jobs, Potassium

app = Potassium("Places", jobs=Jobs(path=None))


class Task(BaseModel):
    name: str = "a"


@app.handler("/echo")
def echo(cache, item: Task) -> dict:
    return {"name": item.name}


@app.background("/bytes")
def some_bytes(cache, item: Task) -> bytes:
    return b"abc"


parent = FastAPI(lifespan=app.lifespan)
parent.mount("/ml", app)
docs = FastAPI(lifespan=app.lifespan)
docs.mount("/docs", app)
if __name__ == "__main__":
    app.serve()
"""


def expect_use(page: Page, url: str) -> None:
    """Expect the page to work at a URL: a call, a job, its output, the status, the schema."""
    response = page.goto(url)
    assert response is not None
    assert response.ok
    heading = page.get_by_role("main").get_by_role("heading", level=2)
    expect(heading).to_contain_text("/echo")
    expect(page.get_by_role("link", name="Server: ready")).to_be_visible()
    page.locator("article button[type=submit]").click()
    expect(page.get_by_role("region", name="Answer")).to_contain_text("200")
    page.get_by_role("navigation").get_by_role("link", name="/bytes").click()
    expect(heading).to_contain_text("/bytes")
    page.locator("article button[type=submit]").click()
    result = page.get_by_role("region", name="Result")
    expect(result).to_contain_text("Download")
    page.get_by_role("link", name="openapi.json").click()
    expect(page.locator("body")).to_contain_text('"openapi"')


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/"])
def test_the_page_works_at_each_of_its_paths(start: Start, page: Page, path: str) -> None:
    expect_use(page, f"{start(APP).url}{path}")


@pytest.mark.parametrize("path", ["/ml", "/ml/", "/ml/docs", "/ml/docs/"])
def test_the_page_works_under_a_fastapi_app(start: Start, page: Page, path: str) -> None:
    server = start(APP, target="parent", ready="/ml/readyz")
    expect_use(page, f"{server.url}{path}")


@pytest.mark.parametrize("path", ["/", "/docs", "/docs/"])
@pytest.mark.parametrize("arguments", [(), ("--root-path", "/models/cats")])
def test_the_page_works_behind_a_prefix(
    start: Start, page: Page, path: str, arguments: tuple[str, ...]
) -> None:
    """A proxy removes the prefix; the server may know it (``root_path``) or not."""
    server: Server = start(APP, target="app", arguments=arguments)
    with stripping("/models/cats", server) as url:
        expect_use(page, f"{url}{path}")


@pytest.mark.parametrize("path", ["", "/", "/docs", "/docs/"])
@pytest.mark.parametrize("arguments", [(), ("--root-path", "/models/cats")])
def test_the_page_works_at_a_prefix_without_its_slash_if_the_proxy_says_the_prefix(
    start: Start, page: Page, path: str, arguments: tuple[str, ...]
) -> None:
    """With ``X-Forwarded-Prefix``."""
    server: Server = start(APP, target="app", arguments=arguments)
    with stripping("/models/cats", server, says_so=True) as url:
        expect_use(page, f"{url}{path}")


@pytest.mark.parametrize("path", ["/docs/", "/docs/docs", "/docs/docs/"])
def test_the_page_works_under_a_mount_with_its_own_name(
    start: Start, page: Page, path: str
) -> None:
    """``/docs/`` is the root of the app there."""
    server = start(APP, target="docs", ready="/docs/readyz")
    expect_use(page, f"{server.url}{path}")
