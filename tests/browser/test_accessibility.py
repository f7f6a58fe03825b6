"""axe finds nothing on the page, whatever it shows, in light and in dark."""

import re
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.pictures import png
from e2e.server import Start, free_port
from playwright.sync_api import Page, expect

APP = """
import os
import time
from collections.abc import Iterator

from pydantic import BaseModel, Field

from potassium import File, HTTPException, Jobs, Potassium, current_request

app = Potassium("Accessible", jobs=Jobs(path=None))


class Item(BaseModel):
    image: File | None = None
    top: int = Field(3, le=9)


def wait():
    while not os.path.exists("go"):
        current_request().raise_if_cancelled()
        time.sleep(0.005)


@app.background("/job")
def job(cache, item: Item) -> list:
    current_request().progress(0.25, "a quarter")
    wait()
    return [{"label": "cat", "score": 0.9, "box": [4, 4, 12, 12]}]


@app.background("/fail")
def fail(cache, item: Item) -> dict:
    raise HTTPException(409, "It cannot be.")


@app.background("/post")
def post(cache, item: Item) -> dict:
    return {"posted": True}


@app.handler("/stream")
def stream(cache, item: None) -> Iterator[str]:
    yield "# One\\n\\n- a **b**\\n"
    wait()
    yield "- [c](https://example.com)\\n"


@app.handler("/values")
def values(cache, item: None) -> Iterator[dict]:
    for number in range(300):
        yield {"number": number}


@app.handler("/error")
def error(cache, item: Item) -> dict:
    raise HTTPException(503, "All busy.", headers={"Retry-After": "5"})


app.result_webhook(url="http://127.0.0.1:PORT/hook")(post)
app.serve()
"""


def faults(page: Page) -> list[str]:
    """Return what axe finds, in both colour schemes."""
    found = []
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        violations = Axe().run(page).response["violations"]
        found += [f"{scheme}: {one['id']}: {one['nodes'][0]['html']}" for one in violations]
    return found


def show(start: Start, page: Page, handler: str) -> None:
    server = start(APP.replace("PORT", str(free_port())))
    page.goto(f"{server.url}/docs#{handler}")
    expect(page.get_by_role("heading", level=2)).to_contain_text(f"/{handler}")


def submit(page: Page) -> None:
    page.locator("article button[type=submit]").click()


def open_all(page: Page) -> None:
    """Open what is closed in a job."""
    job = page.get_by_role("region", name="Job", exact=True)
    for name in ("Input", re.compile("Events"), "Webhook deliveries"):
        job.locator("summary").filter(has_text=name).click()


@pytest.mark.parametrize(
    "state", ["waiting", "running", "succeeded", "failed", "cancelled", "delivered", "narrow"]
)
def test_a_job_is_accessible(start: Start, page: Page, tmp_path: Path, state: str) -> None:
    """In each of its states, with its input, events and deliveries."""
    if state == "narrow":
        page.set_viewport_size({"width": 380, "height": 800})
    show(start, page, {"failed": "fail", "delivered": "post"}.get(state, "job"))
    picture = {"name": "a.png", "mimeType": "image/png", "buffer": png(16, 16, lambda x, _: x)}
    page.get_by_label("Image", exact=True).set_input_files([picture])
    for _ in range(2 if state == "waiting" else 1):
        with page.expect_response(lambda response: response.status == 202):
            submit(page)
    job = page.get_by_role("region", name="Job", exact=True)
    if state == "cancelled":
        expect(job.get_by_role("progressbar")).to_be_visible()
        job.get_by_role("button", name="Cancel").click()
    elif state == "succeeded":
        (tmp_path / "go").touch()
    ends = {
        "waiting": "Queued",
        "running": "Running",
        "narrow": "Running",
        "delivered": "Succeeded",
    }
    expect(job.get_by_role("status")).to_contain_text(ends.get(state, state.capitalize()))
    if state == "running":
        expect(job.get_by_text("a quarter", exact=True)).to_be_visible()
    elif state == "succeeded":
        expect(job.get_by_role("img", name="1 object in the picture")).to_be_visible()
    open_all(page)
    if state == "delivered":
        expect(job).to_contain_text("next attempt")
    assert faults(page) == []


def test_raw_json_is_accessible(start: Start, page: Page) -> None:
    """Also with something wrong in it, and with the code beside it."""
    show(start, page, "error")
    page.get_by_role("button", name="JSON").click()
    page.get_by_text("Call it from code").click()
    assert faults(page) == []
    page.get_by_label("Input as JSON").fill('{"top": 10}')
    expect(page.locator("article")).to_contain_text("Must be at most 9")
    assert faults(page) == []
    page.get_by_label("Input as JSON").fill('{"top": ')
    expect(page.locator("article")).to_contain_text("Line 1")
    assert faults(page) == []


def test_an_error_is_accessible(start: Start, page: Page) -> None:
    show(start, page, "error")
    submit(page)
    expect(page.get_by_role("alert")).to_contain_text("Try again in 5 seconds.")
    assert faults(page) == []


def test_a_stream_is_accessible(start: Start, page: Page, tmp_path: Path) -> None:
    """While it comes, and when it has ended."""
    show(start, page, "stream")
    submit(page)
    expect(page.get_by_role("heading", name="One")).to_be_visible()
    assert faults(page) == []
    (tmp_path / "go").touch()
    expect(page.get_by_role("link", name="c", exact=True)).to_be_visible()
    assert faults(page) == []


def test_a_stream_of_values_is_accessible(start: Start, page: Page) -> None:
    show(start, page, "values")
    submit(page)
    expect(page.get_by_role("button", name="Show 100 earlier chunks")).to_be_visible()
    assert faults(page) == []
