"""A stream is shown as it arrives."""

import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.calling import call, choose, state
from e2e.server import Server, Start
from playwright.sync_api import Page, expect

# Each POST /go lets the stream send one more chunk.
APP = """
import asyncio
from collections.abc import AsyncIterator
from typing import Any
from potassium import HTTPException, Potassium, Response

app = Potassium("Streams")
go = asyncio.Semaphore(0)
left = asyncio.Event()

async def gated(chunks):
    try:
        for chunk in chunks:
            await go.acquire()
            yield chunk
    finally:
        left.set()

@app.handler("/stream")
async def stream(cache, json_in: dict) -> AsyncIterator[Any]:
    async for chunk in gated(json_in["chunks"]):
        yield chunk

@app.handler("/line")
async def line(cache, json_in: dict) -> AsyncIterator[Any]:
    yield "x" * json_in["size"]

@app.handler("/endless")
async def endless(cache, json_in: dict) -> Any:
    async def body():
        while True:
            yield json_in["chunk"] * json_in["times"]

    return Response(body=body(), headers={"Content-Type": json_in["type"]})

@app.handler("/all")
async def all_at_once(cache, json_in: dict) -> AsyncIterator[Any]:
    for chunk in json_in["chunks"]:
        yield chunk

@app.handler("/breaks")
async def breaks(cache, json_in: dict) -> AsyncIterator[Any]:
    for chunk in json_in["chunks"]:
        yield chunk
    raise HTTPException(503, json_in["detail"])

@app.handler("/own")
async def own(cache, json_in: dict) -> Any:
    return Response(body=gated(json_in["chunks"]), headers={"Content-Type": json_in["type"]})

@app.handler("/go")
async def let_go(cache, json_in: dict) -> Any:
    for _ in range(json_in["chunks"]):
        go.release()

@app.handler("/left")
async def client_left(cache, json_in: dict) -> Any:
    await left.wait()
    return True

app.serve()
"""

FRAMES = """
from collections.abc import Iterator
from PIL import Image
from potassium import Potassium, Response

app = Potassium("Frames")

@app.handler("/frames")
def frames(cache, json_in: dict) -> Iterator[Image.Image]:
    for width in (10, 20, 30):
        yield Image.new("L", (width, 40))

@app.handler("/parts")
def parts(cache, json_in: dict):
    headers = {"Content-Type": "multipart/x-mixed-replace; boundary=frame"}
    return Response(body=frames(cache, json_in), headers=headers)

app.serve()
"""

MARKUP = "<img src=x onerror=alert(1)><script>alert(1)</script>"


@pytest.fixture
def server(start: Start) -> Server:
    return start(APP)


def go(server: Server, chunks: int = 1) -> None:
    """Let the stream send more."""
    assert server.post("/go", {"chunks": chunks}).status_code == 200


def test_a_text_grows_while_it_comes(server: Server, page: Page) -> None:
    """With the time to the first chunk, and the chunks per second."""
    answer = call(page, server, "/stream", {"chunks": ["Hello", " wor", "ld"]})
    expect(state(page)).to_have_text("Running…")
    go(server)
    expect(answer.locator("pre")).to_have_text("Hello")
    expect(state(page)).to_have_text("Receiving…")
    expect(answer).to_contain_text("1 chunk")
    expect(answer).to_contain_text(re.compile(r"Time to first chunk [\d.]+ m?s"))
    go(server)
    expect(answer.locator("pre")).to_have_text("Hello wor")
    expect(answer).to_contain_text(re.compile(r"2 chunks.*[\d.]+ chunks per second"))
    go(server)
    expect(state(page)).to_have_text(re.compile("Done in"))
    expect(answer.locator("pre")).to_have_text("Hello world")
    expect(answer).to_contain_text(re.compile(r"3 chunks.*[\d.]+ chunks per second"))
    assert [one["id"] for one in Axe().run(page, context=".answer").response["violations"]] == []


def test_markdown_is_rendered_while_it_comes(server: Server, page: Page) -> None:
    """Wherever it is cut. The user can switch to the plain text."""
    chunks = ["# Ti", "tle\n\nSome *", "*bold*", f"* text {MARKUP}\n\n- on", "e\n- two\n"]
    answer = call(page, server, "/stream", {"chunks": chunks})
    go(server, 2)
    expect(answer.get_by_role("heading", name="Title")).to_be_visible()
    answer.get_by_role("heading").evaluate("one => (one.title = 'kept')")
    go(server, 3)
    expect(answer.get_by_title("kept")).to_have_text("Title")  # it is not rendered anew each time
    expect(answer.locator(".markdown strong")).to_have_text("bold")
    expect(answer.get_by_role("listitem").filter(has_text=re.compile("^two$"))).to_be_visible()
    expect(answer).to_contain_text(MARKUP)
    expect(answer.locator("img, script")).to_have_count(0)
    choose(page, "Plain")
    expect(answer.locator("pre")).to_have_text("".join(chunks))


def test_a_stream_can_be_stopped(server: Server, page: Page) -> None:
    """The text so far stays, and the server sees the client disconnect."""
    answer = call(page, server, "/stream", {"chunks": ["a"] * 100})
    go(server, 12)
    expect(answer).to_contain_text("12 chunks")
    page.get_by_role("button", name="Stop").click()
    expect(state(page)).to_have_text("Stopped after 12 chunks")
    expect(answer.locator("pre")).to_have_text("a" * 12)
    assert server.post("/left", {}).json() is True
    expect(page.get_by_role("button", name="Stop")).to_have_count(0)
    expect(page.get_by_role("alert")).to_have_count(0)


def test_a_stream_ends_when_its_reader_goes_to_another_handler(server: Server, page: Page) -> None:
    """The server sees the client disconnect."""
    answer = call(page, server, "/stream", {"chunks": ["a"] * 100})
    go(server)
    expect(answer).to_contain_text("1 chunk")
    page.get_by_role("navigation").get_by_role("link", name="POST /all").click()
    expect(page.get_by_role("heading", level=2)).to_contain_text("/all")
    assert server.post("/left", {}).json() is True


def test_a_call_can_be_stopped_before_it_is_answered(server: Server, page: Page) -> None:
    """The page says only that."""
    call(page, server, "/left")
    page.get_by_role("button", name="Stop").click()
    expect(state(page)).to_have_text(re.compile("Stopped after [0-9.]+ m?s"))
    expect(page.get_by_role("alert")).to_have_count(0)


def test_an_error_in_the_middle_is_shown_below_what_came(server: Server, page: Page) -> None:
    """As a sentence, and as a problem document."""
    given = {"chunks": ["so ", "far"], "detail": f"Tired {MARKUP}"}
    answer = call(page, server, "/breaks", given)
    expect(state(page)).to_have_text("Interrupted after 2 chunks")
    expect(answer.locator("pre")).to_have_text("so far")
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text(f"Tired {MARKUP}")
    expect(problem).to_contain_text("Code service_unavailable")
    below, above = problem.bounding_box(), answer.locator("pre").bounding_box()
    assert below is not None
    assert above is not None
    assert below["y"] > above["y"]
    expect(answer.locator(".tree")).to_contain_text("request_id")


def test_a_stream_that_is_cut_off_is_reported(
    server: Server, page: Page, complaints: list[str]
) -> None:
    """It is incomplete, for an unknown reason."""
    answer = call(page, server, "/stream", {"chunks": ["a"] * 9})
    go(server)
    expect(answer.locator("pre")).to_have_text("a")
    server.process.kill()
    expect(state(page)).to_have_text("Interrupted after 1 chunk")
    expect(page.get_by_role("alert")).to_contain_text("The connection was lost")
    complaints.clear()  # the browser says that the connection was reset


def test_a_stream_without_an_end_is_not_complete(server: Server, page: Page) -> None:
    """A proxy may have closed it as if it were complete."""
    body = "id: 1\ndata: a\n\n"
    page.route("**/all", lambda route: route.fulfill(content_type="text/event-stream", body=body))
    call(page, server, "/all", {"chunks": []})
    expect(state(page)).to_have_text("Interrupted after 1 chunk")
    expect(page.get_by_role("alert")).to_contain_text("The connection was lost")


@pytest.mark.parametrize(
    ("chunks", "text"),
    [
        ([{"token": "a "}, {"token": "b"}], "a b"),
        ([{"delta": "a ", "index": 0}, {"delta": "b", "index": 1}], "a b"),
        ([{"choices": [{"delta": {"content": "a "}}]}, {"choices": [{"delta": {}}]}], "a "),
        ([1, 2.5, 3], "1\n2.5\n3"),
        (["1", " 2", "x"], "1 2x"),
        (["", '{"a":', " 1}"], '{"a": 1}'),
    ],
    ids=["token", "delta", "as OpenAI's", "numbers", "text with numbers", "JSON in pieces"],
)
def test_what_is_one_text_is_joined(
    server: Server, page: Page, chunks: list[object], text: str
) -> None:
    """The chunks can be inspected, too."""
    answer = call(page, server, "/all", {"chunks": chunks})
    expect(state(page)).to_have_text(re.compile("Done in"))
    assert answer.locator("pre").text_content() == text
    choose(page, "Chunks")
    expect(answer.locator(".chunks > li")).to_have_count(len(chunks))


def test_values_are_a_list_with_the_newest_in_view(server: Server, page: Page) -> None:
    """Unless the user has scrolled to earlier ones."""
    chunks = [{"step": number, "text": MARKUP, "loss": 1} for number in range(50)]
    chunks = [{**one, "token": "two texts are none"} for one in chunks]
    answer = call(page, server, "/stream", {"chunks": chunks})
    go(server, 40)
    items = answer.locator(".chunks > li")
    expect(items).to_have_count(40)
    answer.get_by_role("region", name="Stream").scroll_into_view_if_needed()
    expect(items.last).to_be_in_viewport()
    expect(answer.locator("img")).to_have_count(0)
    page.evaluate("document.querySelector('.growing').scrollTop = 0")
    expect(items.first).to_be_in_viewport()
    go(server, 10)
    expect(items).to_have_count(50)
    expect(items.first).to_be_in_viewport()
    items.last.locator("summary").click()
    expect(items.last).to_contain_text("step: 49")


def test_the_newest_stays_in_view_when_it_is_laid_out_anew(server: Server, page: Page) -> None:
    """Content grows without new chunks where lines wrap anew."""
    answer = call(page, server, "/stream", {"chunks": [{"number": n} for n in range(40)]})
    go(server, 40)
    expect(answer.locator(".chunks > li")).to_have_count(40)
    answer.locator(".chunks").evaluate("(list) => list.style.setProperty('line-height', '4')")
    at_end = "box.scrollTop > 0 && box.scrollHeight - box.scrollTop - box.clientHeight < 24"
    page.wait_for_function(
        f"() => {{ const box = document.querySelector('.growing'); return {at_end} }}"
    )


def test_a_long_line_is_read_once(server: Server, page: Page) -> None:
    """It comes in many pieces, and took a minute if each piece meant to look at all before it."""
    answer = call(page, server, "/line", {"size": 30_000_000})
    expect(state(page)).to_have_text(re.compile("Done in"), timeout=20_000)
    expect(answer).to_contain_text("Show all 30,000,000 characters")


def test_a_long_stream_stays_responsive(server: Server, page: Page) -> None:
    """The latest values are shown, and the others on request."""
    chunks = [{"step": number} for number in range(5000)]
    answer = call(page, server, "/all", {"chunks": chunks})
    expect(state(page)).to_have_text(re.compile("Done in"))
    items = answer.locator(".chunks > li")
    expect(items).to_have_count(200)
    expect(items.last).to_contain_text("step: 4999")
    page.get_by_role("button", name="Show 4800 earlier chunks").click()
    expect(items).to_have_count(5000)


@pytest.mark.parametrize(
    ("type_", "chunk"),
    [
        ("text/event-stream", f"data: {'word ' * 1000}\n\n"),
        ("text/event-stream", "data: # Title\ndata: - one *two*\n\n"),
        ("application/x-ndjson", '{"a": 1, "b": [1, 2, 3]}\n'),
    ],
    ids=["text", "Markdown", "values"],
)
def test_a_stream_at_full_speed_can_be_watched_and_stopped(
    server: Server, page: Page, type_: str, chunk: str
) -> None:
    """The page lays out the end of it only, and not more often than it can."""
    times = 50_000 // len(chunk)
    given = {"chunk": chunk, "times": times, "type": type_}
    answer = call(page, server, "/endless", given)
    expect(answer).to_contain_text("chunks per second")
    expect(answer).to_contain_text(re.compile(r"\d,\d{3} chunks"))
    assert page.locator(".answer *").count() < 100_000
    assert len(answer.inner_text()) < 500_000
    page.get_by_role("button", name="Stop").click()
    expect(state(page)).to_have_text(re.compile("Stopped after [0-9,]+ chunks"))


def test_a_stream_ends_when_the_page_can_hold_no_more_of_it(server: Server, page: Page) -> None:
    """Browsers limit the length of a text."""
    given = {"chunk": "word " * 10, "times": 10_000, "type": "text/plain"}
    answer = call(page, server, "/endless", given)
    expect(state(page)).to_have_text(re.compile("Interrupted after"), timeout=40_000)
    expect(page.get_by_role("alert")).to_contain_text("There is more of the stream than this page")
    expect(answer.locator("pre")).to_contain_text("word word")


def test_a_line_that_does_not_end_is_not_read_forever(server: Server, page: Page) -> None:
    given = {"chunk": "word " * 10, "times": 10_000, "type": "application/x-ndjson"}
    call(page, server, "/endless", given)
    expect(page.get_by_role("alert")).to_contain_text(
        "There is more of the stream than this page", timeout=40_000
    )


@pytest.mark.parametrize("path", ["/frames", "/parts"])
def test_each_picture_of_a_stream_replaces_the_one_before(
    start: Start, page: Page, path: str
) -> None:
    """As events, or as parts that replace one another."""
    pytest.importorskip("PIL")
    server = start(FRAMES)
    answer = call(page, server, path)
    expect(answer).to_contain_text("3 chunks")
    expect(answer.get_by_role("img")).to_have_count(1)
    expect(answer).to_contain_text("30 by 40 pixels")


def test_a_text_with_a_type_of_its_own_is_shown_while_it_comes(server: Server, page: Page) -> None:
    """Wherever the network splits them."""
    answer = call(page, server, "/own", {"chunks": ["1", "2"], "type": "text/plain"})
    go(server)
    expect(answer.locator("pre")).to_have_text("1")
    expect(state(page)).to_have_text("Receiving…")
    go(server)
    expect(state(page)).to_have_text(re.compile("Done in"))
    expect(answer.locator("pre")).to_have_text("12")


def test_json_lines_are_shown_while_they_come(server: Server, page: Page) -> None:
    """As values."""
    lines = ['{"a": 1}\n', '{"b": 2}\n']
    answer = call(page, server, "/own", {"chunks": lines, "type": "application/x-ndjson"})
    go(server)
    expect(answer.locator(".chunks > li")).to_have_text(re.compile("a: 1"))
    expect(state(page)).to_have_text("Receiving…")
    go(server)
    expect(answer.locator(".chunks > li")).to_have_count(2)
