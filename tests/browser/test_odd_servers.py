"""Something other than the server answers, or the browser keeps nothing: the page stays."""

import json
import re
from typing import Any

import pytest
from e2e.server import Server, Start
from playwright.sync_api import Page, Route, expect

MARKUP = "<img src=x onerror=alert(1)>"
APP = """
from typing import Any

from potassium import ApiKeys, Jobs, Potassium, Response

app = Potassium("Odd", jobs=Jobs(path=None){options})


@app.handler("/echo")
def echo(cache, item: Any) -> Any:
    return {{"got": item}}


@app.handler("/accepted")
def accepted(cache, item: Any) -> Any:
    return Response(status=202, json=item)


@app.background("/job")
def job(cache, item: Any) -> Any:
    return item


app.serve()
"""


@pytest.fixture
def server(start: Start) -> Server:
    return start(APP.format(options=""))


def send(page: Page, value: object) -> None:
    page.get_by_role("group", name="Input as").get_by_role("button", name="JSON").click()
    page.get_by_label("Input as JSON").fill(json.dumps(value))
    page.locator("article button[type=submit]").click()


def expect_to_work(page: Page) -> None:
    """Expect the page to be there and to call handlers."""
    send(page, 7)
    expect(page.get_by_role("region", name="Answer")).to_contain_text("got: 7")


BODIES = [
    "",
    "{}",
    "[]",
    "null",
    '{"state": 1}',
    f"<html>{MARKUP}",
    '{"state": "ready"}',
    '{"a": [1',
]


@pytest.mark.parametrize("body", BODIES)
def test_a_status_that_is_none_is_said_to_be_none(server: Server, page: Page, body: str) -> None:
    """A proxy may answer in the server's place."""
    page.route("**/_k/status", lambda route: route.fulfill(body=body))
    page.goto(f"{server.url}/docs#echo")
    expect(page.get_by_role("link", name="Server: unreachable")).to_be_visible()
    page.get_by_role("link", name="Server: unreachable").click()
    expect(page.get_by_role("heading", name="Server")).to_be_visible()
    page.get_by_role("navigation").get_by_role("link", name="/echo").click()
    expect_to_work(page)


@pytest.mark.parametrize("body", [*BODIES, '{"paths": 1, "info": {}}', '{"paths": {}}'])
def test_a_schema_that_is_none_is_said_to_be_none(server: Server, page: Page, body: str) -> None:
    page.route("**/openapi.json", lambda route: route.fulfill(body=body))
    page.goto(server.url)
    alert = page.get_by_role("alert")
    expect(alert).to_contain_text("It is not an OpenAPI document.")
    alert.evaluate("one => (one.title = 'kept')")
    with page.expect_response("**/openapi.json", timeout=20_000):
        pass  # the page tries again by itself
    expect(alert).to_have_attribute("title", "kept")  # and says it once
    page.unroute_all()
    expect(page.get_by_role("heading", level=2)).to_contain_text("/echo", timeout=20_000)


JOB = {"id": "x", "attempts": 0, "status": "queued", "created_at": "2026-01-01T00:00:00Z"}
ACCEPTED: list[Any] = [
    None,
    {"id": "x", "attempts": 0},
    {**JOB, "id": "."},
    {**JOB, "id": ".."},
    {**JOB, "status": "constructor"},
    {**JOB, "attempts": "0"},
    {**JOB, "created_at": None},
]


@pytest.mark.parametrize("result", ACCEPTED)
def test_what_is_accepted_and_no_job_is_a_result(server: Server, page: Page, result: Any) -> None:
    page.goto(f"{server.url}/docs#accepted")
    send(page, result)
    expect(page.get_by_role("region", name="Answer")).to_contain_text("Status 202")
    expect(page.get_by_role("heading", name="Your jobs")).to_have_count(0)


def test_a_job_that_the_server_does_not_have_is_not_listed(server: Server, page: Page) -> None:
    page.goto(f"{server.url}/docs#accepted")
    with page.expect_response("**/jobs/x*"):
        send(page, {**JOB, "message": {"a": 1}, "progress": MARKUP})
    expect(page.get_by_role("heading", name="Your jobs")).to_have_count(0)
    page.get_by_role("navigation").get_by_role("link", name="/echo").click()
    expect_to_work(page)


DOCUMENTS = ["", "{}", "null", f"<html>{MARKUP}", json.dumps({**JOB, "id": ".."})]


@pytest.mark.parametrize("body", DOCUMENTS)
def test_an_answer_that_is_no_job_is_asked_for_again(server: Server, page: Page, body: str) -> None:
    page.route(re.compile(r"/jobs/\w+$"), lambda route: route.fulfill(body=body))
    page.goto(f"{server.url}/docs#job")
    with page.expect_response(re.compile(r"/jobs/\w+$")):
        send(page, 5)
    page.unroute_all()
    expect(page.get_by_role("region", name="Result")).to_contain_text("5")


EVENTS = f"""id: 1
event: status
data: null

id: 2
event: progress
data: {{"progress": "{MARKUP}", "message": {{"a": 1}}, "id": "..", "status": "none"}}

id: 3
event: chunk
data: {{not json {MARKUP}

id: 4
event: constructor
data: ["{MARKUP}"]

"""


def test_events_of_any_shape_are_shown_as_text(server: Server, page: Page) -> None:
    def tell(route: Route) -> None:
        route.fulfill(body=EVENTS, content_type="text/event-stream")

    page.route("**/events", tell)
    page.goto(f"{server.url}/docs#job")
    send(page, 5)
    expect(page.get_by_role("status").get_by_text("Succeeded")).to_be_visible()
    page.get_by_text("Events (4)").click()
    expect(page.get_by_role("list", name="Events")).to_contain_text(f'constructor ["{MARKUP}"]')
    expect(page.locator("img")).to_have_count(0)


@pytest.mark.parametrize(
    "kept",
    ["{", "{}", "null", "1", "[null, 1, {}]", '[{"id": 1, "handler": "/job"}]', f'"{MARKUP}"'],
)
def test_jobs_that_somebody_has_edited_are_none(server: Server, page: Page, kept: str) -> None:
    page.add_init_script(f"sessionStorage.setItem('potassium-jobs /', {json.dumps(kept)})")
    page.goto(f"{server.url}/docs#job")
    send(page, 5)
    expect(page.get_by_role("region", name="Result")).to_contain_text("5")


LONG = "x" * 1_000_000
PROBLEMS: list[Any] = [
    {"title": {"a": 1}, "detail": [MARKUP], "code": {"a": 1}, "errors": {"a": 1}},
    {"detail": LONG, "code": LONG, "errors": [{"loc": [LONG], "msg": LONG}]},
    {"errors": [None, 1, [], {"loc": {"a": 1}}, {"loc": [None, {}], "msg": {"a": MARKUP}}]},
    {"errors": [{"loc": ["a", 1], "msg": "wrong"}] * 100_000},
    {"status": "constructor", "constructor": 1, "__proto__": 2},
    LONG,
    MARKUP,
    None,
]
HEADERS = {
    "Retry-After": "9" * 400,
    "Server-Timing": "queue;dur=1e999, run;dur=99999999999999999999, constructor;dur=1",
    "X-Request-Id": MARKUP + LONG[:2000],
    "Content-Disposition": "attachment; filename*=UTF-8''%ff%; filename=\"../../\\",
    "Content-Type": "application/problem+json",
}


@pytest.mark.parametrize("problem", PROBLEMS, ids=range(len(PROBLEMS)))
def test_problems_of_any_shape_are_shown_as_text(server: Server, page: Page, problem: Any) -> None:
    """And take no more than a screen."""
    body = json.dumps(problem)
    page.route("**/echo", lambda route: route.fulfill(status=503, body=body, headers=HEADERS))
    page.set_viewport_size({"width": 380, "height": 800})
    page.goto(f"{server.url}/docs#echo")
    send(page, 1)
    said = page.get_by_role("region", name="Answer").get_by_role("alert")
    expect(said).to_contain_text("Try again in more than a day.")
    assert len(said.inner_text()) < 5000
    expect(page.locator("article img")).to_have_count(0)
    assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    page.unroute_all()
    expect_to_work(page)


TYPES = [
    "multipart/x-mixed-replace",
    'multipart/x-mixed-replace; boundary=""',
    "constructor/constructor",
    "text/event-stream; charset=constructor",
    "image/svg+xml",
    "image/png",
    "application/json; charset=utf-16",
    "x",
    "; ; =",
]


@pytest.mark.parametrize("type_", TYPES)
def test_answers_of_any_type_leave_the_page_standing(
    server: Server, page: Page, type_: str
) -> None:
    body = f"<svg xmlns='http://www.w3.org/2000/svg' onload='alert(1)'>{MARKUP}</svg>\0\xff"
    headers = {**HEADERS, "Content-Type": type_}
    page.route("**/echo", lambda route: route.fulfill(body=body, headers=headers))
    page.goto(f"{server.url}/docs#echo")
    send(page, 1)
    expect(page.get_by_role("region", name="Answer")).to_contain_text("Status 200")
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    page.unroute_all()
    expect_to_work(page)


FORBIDDEN = """Object.defineProperty(window, "sessionStorage", {
  get() { throw new DOMException("denied", "SecurityError"); }
})"""
FULL = """Storage.prototype.setItem = () => {
  throw new DOMException("full", "QuotaExceededError");
}"""
LOCKED = APP.format(options=', api_keys=["right"]')


@pytest.mark.parametrize("script", [FORBIDDEN, FULL], ids=["forbidden", "full"])
def test_a_browser_that_keeps_nothing_can_use_keys_and_jobs(
    start: Start, page: Page, script: str
) -> None:
    """Until the page is left."""
    page.add_init_script(script)
    page.goto(f"{start(LOCKED).url}/docs#job")
    page.get_by_label("API key", exact=True).fill("right")
    page.get_by_role("button", name="Continue").click()
    send(page, 5)
    expect(page.get_by_role("region", name="Result")).to_contain_text("5")
    page.get_by_role("button", name="Forget API key").click()
    expect(page.get_by_label("API key", exact=True)).to_be_visible()


def test_a_key_that_cannot_be_sent_is_asked_for(start: Start, page: Page) -> None:
    """Somebody has edited what the browser keeps."""
    page.add_init_script("sessionStorage.setItem('potassium-api-key /', 'ключ\\n')")
    page.goto(start(LOCKED).url)
    expect(page.get_by_role("heading", name="This server requires an API key")).to_be_visible()
