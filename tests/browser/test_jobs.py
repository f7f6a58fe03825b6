"""A background job on the page: its state, what it reports, and how it ends."""

import re
from pathlib import Path

import pytest
from browser.pictures import png
from e2e.server import Server, Start, free_port
from playwright.sync_api import Locator, Page, Route, expect

HOSTILE = "<img src=x onerror=alert(1)>"
APP = """
import os
import time
from collections.abc import Iterator

from pydantic import BaseModel

from potassium import File, HTTPException, Jobs, Potassium, current_request

app = Potassium("Jobs", jobs=Jobs(path={path!r}), api_keys={keys!r})


class Task(BaseModel):
    name: str = "a"


def wait(name):
    while not os.path.exists(name):
        time.sleep(0.005)


@app.background("/hold")
def hold(cache, item: Task) -> dict:
    '''Hold on until a file is there.'''
    request = current_request()
    request.progress(0.25, "<img src=x onerror=alert(1)>")
    while not os.path.exists("go"):
        request.raise_if_cancelled()
        time.sleep(0.005)
        if os.path.exists("half"):
            os.remove("half")
            request.progress(0.5, "half")
    return {{"held": item.name}}


@app.background("/fail")
def fail(cache, item: Task) -> dict:
    if not os.path.exists("go"):
        raise HTTPException(409, "<img src=x onerror=alert(1)>")
    return {{"works": "now"}}


@app.background("/tale")
def tale(cache, item: Task) -> Iterator[str]:
    yield "once <b>upon</b> "
    wait("go")
    yield "a time"


@app.background("/bytes")
def some_bytes(cache, item: Task) -> bytes:
    return b"abc"


@app.background("/long")
def long(cache, item: Task) -> list[str]:
    return ["a" * 1000] * 2000


@app.handler("/direct")
def direct(cache, item: Task) -> dict:
    return {{"direct": item.name}}


class Shot(BaseModel):
    image: File
    least: float = 0.5


@app.background("/detect", body_size=16 * 2**20)
def detect(cache, item: Shot) -> list:
    return [{{"label": "cat", "score": 0.9, "box": [4, 4, 12, 12]}}]


@app.background("/post")
def post(cache, item: Task) -> dict:
    return {{}}


{more}
app.serve()
"""


def source(*, path: str | None = None, keys: object = None, more: str = "") -> str:
    return APP.format(path=path, keys=keys, more=more)


def submit(page: Page, times: int = 1) -> None:
    for _ in range(times):
        with page.expect_response(lambda response: response.status == 202):
            page.locator("article button[type=submit]").click()


def show(page: Page, server: Server, handler: str) -> None:
    page.goto(f"{server.url}/docs#{handler}")
    expect(page.get_by_role("heading", level=2)).to_contain_text(f"/{handler}")


def listed(page: Page) -> Locator:
    return page.get_by_role("region", name="Your jobs").locator("> ol > li")


def job(page: Page) -> Locator:
    return page.get_by_role("region", name="Job", exact=True)


def test_a_queued_job_shows_its_position(start: Start, page: Page) -> None:
    """Its position is updated while it waits."""
    server = start(source())
    show(page, server, "hold")
    submit(page, 3)
    expect(job(page).get_by_role("status")).to_have_text("Queued, position 2")
    listed(page).nth(1).get_by_role("button").first.click()
    job(page).get_by_role("button", name="Cancel").click()
    listed(page).nth(0).get_by_role("button").first.click()
    expect(job(page).get_by_role("status")).to_have_text("Queued, position 1")


def test_a_running_job_shows_its_progress(start: Start, page: Page, tmp_path: Path) -> None:
    """As a bar, with the handler's message as text, until the job has ended."""
    server = start(source())
    show(page, server, "hold")
    submit(page)
    bar = job(page).get_by_role("progressbar", name="Progress")
    expect(bar).to_have_js_property("value", 0.25)
    expect(job(page).get_by_text(HOSTILE).first).to_be_visible()
    expect(page.locator("img")).to_have_count(0)
    (tmp_path / "half").touch()
    expect(bar).to_have_js_property("value", 0.5)
    expect(job(page).get_by_text("half", exact=True)).to_be_visible()
    (tmp_path / "go").touch()
    expect(job(page).get_by_role("status")).to_contain_text(
        re.compile(r"^Succeeded after\s+[\d.]+ s")
    )
    expect(job(page).get_by_role("region", name="Result")).to_contain_text("held")
    expect(bar).to_have_count(0)


def test_the_events_of_a_job_are_shown_as_they_come(
    start: Start, page: Page, tmp_path: Path
) -> None:
    server = start(source())
    show(page, server, "hold")
    submit(page)
    job(page).get_by_text(re.compile(r"Events \(")).click()
    events = job(page).get_by_role("list", name="Events").get_by_role("listitem")
    expect(events).to_have_text(["status queued", "status running", f"progress 25%, {HOSTILE}"])
    (tmp_path / "half").touch()
    expect(events.nth(3)).to_have_text("progress 50%, half")
    (tmp_path / "go").touch()
    expect(events.last).to_have_text("status succeeded")


def test_a_broken_connection_is_resumed_after_the_last_event(
    start: Start, page: Page, tmp_path: Path
) -> None:
    """No event is lost, and none is shown twice."""
    server = start(source())
    asked: list[str | None] = []

    def cut(route: Route) -> None:
        asked.append(route.request.headers.get("last-event-id"))
        if asked[-1] is not None:
            route.continue_()
            return
        first = 'id: 1\nevent: status\ndata: {"status":"queued","attempts":0}\n\n'
        route.fulfill(body=f"{first}id: 2\nevent: sta", content_type="text/event-stream")

    page.route("**/events", cut)
    show(page, server, "hold")
    submit(page)
    (tmp_path / "go").touch()
    expect(job(page).get_by_role("status")).to_contain_text("Succeeded")
    job(page).get_by_text("Events (4)").click()
    assert "1" in asked


def test_a_job_is_followed_across_a_restart_of_the_server(
    start: Start, page: Page, tmp_path: Path, complaints: list[str]
) -> None:
    pytest.importorskip("aiosqlite")
    text, port = source(path="jobs.db"), free_port()
    server = start(text, port=port)
    show(page, server, "hold")
    submit(page)
    expect(job(page).get_by_role("progressbar")).to_be_visible()
    server.process.kill()
    server.process.wait()
    expect(job(page).get_by_text("Connection lost.")).to_be_visible()
    (tmp_path / "go").touch()
    start(text, port=port)
    expect(job(page).get_by_role("status")).to_contain_text("Succeeded", timeout=20_000)
    complaints.clear()  # the browser reports the connections that broke


def test_a_queued_job_can_be_cancelled(start: Start, page: Page) -> None:
    server = start(source())
    show(page, server, "hold")
    submit(page, 2)
    job(page).get_by_role("button", name="Cancel").click()
    expect(job(page).get_by_role("status")).to_have_text("Cancelled")
    expect(job(page).get_by_role("button", name="Cancel")).to_have_count(0)


def test_a_running_job_can_be_cancelled(start: Start, page: Page) -> None:
    server = start(source())
    show(page, server, "hold")
    submit(page)
    expect(job(page).get_by_role("progressbar")).to_be_visible()
    job(page).get_by_role("button", name="Cancel").click()
    expect(job(page).get_by_role("status")).to_contain_text("Cancelled")
    expect(job(page).get_by_role("alert")).to_have_count(0)  # the user knows why


def test_a_failed_job_says_why_and_can_be_tried_again(
    start: Start, page: Page, tmp_path: Path
) -> None:
    """The reason is shown as text, whatever it contains."""
    server = start(source())
    show(page, server, "fail")
    submit(page)
    expect(job(page).get_by_role("alert")).to_contain_text(HOSTILE)
    expect(page.locator("img")).to_have_count(0)
    (tmp_path / "go").touch()
    job(page).get_by_role("button", name="Try again").click()
    expect(job(page).get_by_role("status")).to_contain_text("Succeeded")
    expect(job(page).get_by_role("alert")).to_have_count(0)
    expect(job(page).get_by_role("region", name="Result")).to_contain_text("now")


def test_the_text_of_a_job_that_streams_comes_chunk_by_chunk(
    start: Start, page: Page, tmp_path: Path
) -> None:
    server = start(source())
    show(page, server, "tale")
    submit(page)
    result = job(page).get_by_role("region", name="Result")
    expect(result).to_contain_text("once <b>upon</b>")
    expect(result).not_to_contain_text("a time")
    (tmp_path / "go").touch()
    expect(result).to_contain_text("once <b>upon</b> a time")


@pytest.mark.parametrize(("handler", "shown"), [("bytes", "Download"), ("long", r"2,?000")])
def test_an_output_that_is_not_in_the_document_is_loaded(
    start: Start, page: Page, handler: str, shown: str
) -> None:
    """Because it is large, or not JSON."""
    server = start(source())
    page.goto(f"{server.url}/docs#{'some_bytes' if handler == 'bytes' else handler}")
    submit(page)
    result = job(page).get_by_role("region", name="Result")
    expect(result).to_contain_text(re.compile(shown))


def test_the_deliveries_of_webhooks_are_shown(start: Start, page: Page) -> None:
    """Including failed attempts, with the time of the next one."""
    hook = f'app.result_webhook(url="http://127.0.0.1:{free_port()}/hook")(post)'
    server = start(source(more=hook))
    show(page, server, "post")
    submit(page)
    job(page).get_by_text("Webhook deliveries").click()
    expect(job(page)).to_contain_text(re.compile(r"failed: .*; next\s+attempt at \d"))


def test_a_job_is_found_again_after_the_page_was_reloaded(
    start: Start, page: Page, tmp_path: Path
) -> None:
    """Jobs are listed below their handler, newest first; one that runs is open."""
    server = start(source())
    show(page, server, "hold")
    submit(page, 2)
    newest = job(page).locator("code").inner_text()
    page.reload()
    expect(listed(page)).to_have_count(2)
    expect(listed(page).first).to_contain_text(newest[:8])
    expect(job(page).locator("code")).to_have_text(newest)
    expect(listed(page).nth(1)).to_contain_text("Running, 25%")
    (tmp_path / "go").touch()
    expect(job(page).get_by_role("status")).to_contain_text("Succeeded")
    expect(listed(page).nth(1)).to_contain_text("Succeeded")
    page.goto(f"{server.url}/docs#fail")
    expect(page.get_by_role("heading", level=2)).to_contain_text("/fail")
    expect(listed(page)).to_have_count(0)


def submit_picture(page: Page, server: Server, picture: bytes) -> None:
    show(page, server, "detect")
    file = {"name": "it's <b>a</b> cat.png", "mimeType": "image/png", "buffer": picture}
    page.get_by_label("Image *").set_input_files([file])
    page.get_by_label("Least").fill("0.25")
    submit(page)


def test_what_a_job_has_found_is_drawn_over_its_picture(start: Start, page: Page) -> None:
    """Also after the page was reloaded."""
    submit_picture(page, start(source()), png(16, 16, lambda x, _: 16 * x))
    drawing = job(page).get_by_role("img", name="1 object in the picture")
    expect(drawing).to_have_js_property("width", 16)
    page.reload()
    listed(page).first.get_by_role("button").first.click()
    expect(drawing).to_have_js_property("width", 16)


def test_the_input_of_a_job_can_be_used_again(start: Start, page: Page) -> None:
    """Also after the page was reloaded: with its files."""
    submit_picture(page, start(source()), png(16, 16, lambda x, _: 16 * x))
    expect(job(page).get_by_role("region", name="Result")).to_contain_text("cat")
    page.reload()
    expect(page.get_by_label("Least")).to_have_value("0.5")
    listed(page).first.get_by_role("button").first.click()
    job(page).get_by_text("Input", exact=True).click()
    expect(job(page).locator("details", has_text="Use this input again")).to_contain_text("0.25")
    job(page).get_by_role("button", name="Use this input again").click()
    expect(page.get_by_role("region", name="Input", exact=True)).to_be_focused()
    expect(page.get_by_label("Least")).to_have_value("0.25")
    expect(page.get_by_role("img", name="it's <b>a</b> cat.png")).to_have_js_property(
        "naturalWidth", 16
    )
    submit(page)
    expect(listed(page)).to_have_count(2)


def test_a_large_file_of_a_job_is_not_kept_and_the_page_says_so(start: Start, page: Page) -> None:
    """What else was in the input is."""
    picture = png(16, 16, lambda x, _: 16 * x)
    submit_picture(page, start(source()), picture + bytes(3 * 2**20))
    note = job(page).get_by_text("too large to be kept")
    expect(job(page).get_by_role("img", name="1 object in the picture")).to_be_visible()
    expect(note).to_have_count(0)
    page.reload()
    listed(page).first.get_by_role("button").first.click()
    job(page).get_by_text("Input", exact=True).click()
    expect(note).to_be_visible()
    job(page).get_by_role("button", name="Use this input again").click()
    expect(page.get_by_label("Least")).to_have_value("0.25")
    expect(page.locator(".chosen")).to_have_count(0)


def test_the_inputs_of_older_jobs_make_room_for_those_of_newer_ones(
    start: Start, page: Page
) -> None:
    server = start(source())
    picture = png(16, 16, lambda x, _: 16 * x)
    for _ in range(3):  # two of them fit
        submit_picture(page, server, picture + bytes(3 * 2**19))
        expect(job(page).get_by_role("region", name="Result")).to_contain_text("cat")
    newest = job(page).locator("code").inner_text()
    kept = "(id) => Object.keys(sessionStorage).some((name) => name.includes(id))"
    page.wait_for_function(kept, arg=newest)
    page.reload()
    listed(page).nth(0).get_by_role("button").first.click()
    expect(job(page).get_by_text("Input", exact=True)).to_be_visible()
    listed(page).nth(2).get_by_role("button").first.click()
    expect(job(page).get_by_text("Events (")).to_be_visible()
    expect(job(page).get_by_text("Input", exact=True)).to_have_count(0)


def test_a_job_of_somebody_else_is_not_listed(start: Start, page: Page) -> None:
    """With another owner's key, the server denies the job, and the list drops it."""
    server = start(source(keys={"ann": "key-of-ann", "bob": "key-of-bob"}))
    page.goto(f"{server.url}/docs#post")
    page.get_by_label("API key", exact=True).fill("key-of-ann")
    page.get_by_role("button", name="Continue").click()
    submit(page)
    expect(listed(page)).to_have_count(1)
    page.get_by_role("button", name="Forget API key").click()
    page.get_by_label("API key", exact=True).fill("key-of-bob")
    page.get_by_role("button", name="Continue").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("/post")
    expect(listed(page)).to_have_count(0)
    names = "Object.keys(sessionStorage).filter((name) => name.startsWith('potassium-jobs'))"
    kept = f"() => {names}.every((name) => sessionStorage.getItem(name) === '[]')"
    page.wait_for_function(kept)
    inputs = "Object.keys(sessionStorage).some((name) => name.startsWith('potassium-input'))"
    assert not page.evaluate(inputs)


def test_any_handler_runs_in_the_background_if_asked_to(start: Start, page: Page) -> None:
    """Unless the box is checked, the call is answered directly."""
    server = start(source())
    show(page, server, "direct")
    with page.expect_response("**/direct") as direct:
        page.locator("article button[type=submit]").click()
    assert direct.value.status == 200
    page.get_by_label("Run in the background").check()
    submit(page)
    expect(job(page).get_by_role("region", name="Result")).to_contain_text("direct")


def test_an_app_without_jobs_offers_none(start: Start, page: Page) -> None:
    text = source().replace("@app.background", "@app.handler")
    server = start(re.sub(r"jobs=Jobs\(path=None\), ", "", text))
    page.goto(f"{server.url}/docs#direct")
    expect(page.get_by_role("heading", level=2)).to_contain_text("/direct")
    expect(page.get_by_label("Run in the background")).to_have_count(0)
