"""The keyboard's focus goes to what is near when what has it disappears."""

from pathlib import Path

import pytest
from e2e.server import Start
from playwright.sync_api import Locator, Page, expect

APP = """
import os
import time
from collections.abc import Iterator

from pydantic import BaseModel

from potassium import File, HTTPException, Jobs, Potassium, current_request

app = Potassium("Focus", jobs=Jobs(path=None))


class Box(BaseModel):
    x: int = 1


class Item(BaseModel):
    file: File | None = None
    words: list[str] = ["a", "b", "c"]
    box: Box | None = None


def wait():
    while not os.path.exists("go"):
        current_request().raise_if_cancelled()
        time.sleep(0.005)


@app.handler("/item")
def item(cache, item: Item) -> dict:
    return {}


@app.handler("/stream")
def stream(cache, item: None) -> Iterator[str]:
    yield "a"
    wait()
    yield "b"


@app.background("/job")
def job(cache, item: None) -> dict:
    wait()
    return {}


@app.background("/fail")
def fail(cache, item: None) -> dict:
    wait()
    raise HTTPException(409, "no")


app.serve()
"""


def show(start: Start, page: Page, handler: str) -> None:
    page.goto(f"{start(APP).url}/docs#{handler}")
    expect(page.get_by_role("heading", level=2)).to_contain_text(f"/{handler}")


def press(button: Locator) -> None:
    """Press a button with the keyboard."""
    button.focus()
    button.press("Enter")


@pytest.mark.parametrize("stops", [True, False], ids=["stopped", "ended"])
def test_when_a_stream_ends_its_state_has_the_focus(
    start: Start, page: Page, tmp_path: Path, stops: bool
) -> None:
    show(start, page, "stream")
    page.get_by_role("button", name="Call", exact=True).click()
    stop = page.get_by_role("button", name="Stop")
    expect(page.get_by_role("region", name="Answer")).to_contain_text("1 chunk")
    stop.focus()
    if stops:
        stop.press("Enter")
    (tmp_path / "go").touch()
    state = page.get_by_role("status").filter(has_text="Stopped after" if stops else "Done in")
    expect(state).to_be_focused()


def test_the_focus_stays_where_it_is_when_something_else_disappears(
    start: Start, page: Page, tmp_path: Path
) -> None:
    show(start, page, "stream")
    call = page.get_by_role("button", name="Call", exact=True)
    press(call)
    expect(page.get_by_role("region", name="Answer")).to_contain_text("1 chunk")
    (tmp_path / "go").touch()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(call).to_be_focused()


def test_nothing_gets_the_focus_that_had_none(start: Start, page: Page, tmp_path: Path) -> None:
    show(start, page, "stream")
    page.get_by_role("button", name="Call", exact=True).click()
    page.get_by_role("heading", level=2).click()
    (tmp_path / "go").touch()
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    assert page.evaluate("document.activeElement.tagName") in ("BODY", "MAIN")


@pytest.mark.parametrize("handler", ["job", "fail"])
@pytest.mark.parametrize("cancels", [True, False], ids=["cancelled", "ended"])
def test_when_a_job_ends_its_state_has_the_focus(
    start: Start, page: Page, tmp_path: Path, handler: str, cancels: bool
) -> None:
    """Not its other button, which somebody might press unawares."""
    show(start, page, handler)
    page.get_by_role("button", name="Run in the background").click()
    cancel = page.get_by_role("button", name="Cancel")
    expect(page.get_by_role("progressbar")).to_be_visible()
    cancel.focus()
    if cancels:
        cancel.press("Enter")
        end = "Cancelled"
    else:
        end = {"job": "Succeeded", "fail": "Failed"}[handler]
        (tmp_path / "go").touch()
    job = page.get_by_role("region", name="Job", exact=True)
    expect(job.get_by_role("status")).to_contain_text(end)
    expect(job.get_by_role("status")).to_be_focused()


def test_when_a_job_is_tried_again_its_state_has_the_focus(
    start: Start, page: Page, tmp_path: Path
) -> None:
    (tmp_path / "go").touch()
    show(start, page, "fail")
    page.get_by_role("button", name="Run in the background").click()
    job = page.get_by_role("region", name="Job", exact=True)
    expect(job.get_by_role("status")).to_contain_text("Failed")
    (tmp_path / "go").unlink()
    press(job.get_by_role("button", name="Try again"))
    expect(job.get_by_role("status")).to_contain_text("Running")
    expect(job.get_by_role("status")).to_be_focused()


def test_when_an_item_is_removed_the_next_one_has_the_focus(start: Start, page: Page) -> None:
    """After the last one, the one before it; after the only one, what adds another one."""
    show(start, page, "item")
    words = page.get_by_role("group", name="Words")
    first = words.get_by_label("Words 1")
    remove = words.get_by_role("button", name="Remove")
    press(remove.nth(0))
    expect(first).to_have_value("b")
    expect(first).to_be_focused()
    press(remove.nth(1))
    expect(remove).to_have_count(1)
    expect(remove).to_be_focused()
    remove.press("Enter")
    expect(words.get_by_role("button", name="Add")).to_be_focused()


def test_an_item_that_is_moved_keeps_the_focus(start: Start, page: Page) -> None:
    """Where it cannot be moved on, what is next to the button has it."""
    show(start, page, "item")
    words = page.get_by_role("group", name="Words")
    up = words.get_by_role("button", name="Move up")
    press(up.nth(2))
    expect(words.get_by_label("Words 2")).to_have_value("c")
    expect(up.nth(1)).to_be_focused()
    up.nth(1).press("Enter")
    expect(words.get_by_label("Words 1")).to_have_value("c")
    expect(words.get_by_role("button", name="Move down").nth(0)).to_be_focused()


def test_when_a_file_is_removed_its_field_has_the_focus(start: Start, page: Page) -> None:
    show(start, page, "item")
    field = page.get_by_label("File", exact=True)
    field.set_input_files([{"name": "a.txt", "mimeType": "text/plain", "buffer": b"a"}])
    press(page.get_by_role("button", name="Remove a.txt"))
    expect(field).to_be_focused()


def test_what_takes_the_place_of_a_button_has_its_focus(start: Start, page: Page) -> None:
    show(start, page, "item")
    press(page.get_by_role("button", name="Add Box"))
    expect(page.get_by_role("button", name="Remove Box")).to_be_focused()
    page.get_by_role("button", name="Remove Box").press("Enter")
    expect(page.get_by_role("button", name="Add Box")).to_be_focused()
