"""Each result is shown in the view that fits it."""

import json
import math
import re
import time
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from browser.calling import call, choose, chosen, state
from browser.pictures import data_url, png
from e2e.server import Server, Start
from playwright.sync_api import Locator, Page, Route, expect

# Returns what it was sent, so that each test has the result that it needs.
ECHO = """
from typing import Any
from potassium import HTTPException, Potassium, Response

app = Potassium("Results")

@app.handler("/echo")
def echo(cache, json_in: dict) -> Any:
    return json_in["result"]

@app.handler("/large")
def large(cache, json_in: dict) -> Any:
    if json_in["kind"] == "numbers":
        return [one / 7 for one in range(1_000_000)]
    return [{"id": one, "name": "name " * 10, "box": [1, 2, 3, 4]} for one in range(200_000)]

@app.handler("/raw")
def raw(cache, json_in: dict) -> Any:
    body = bytes.fromhex(json_in["hex"])
    return Response(body=body, headers=json_in["headers"])

@app.handler("/fail")
def fail(cache, json_in: dict) -> Any:
    headers = {"Retry-After": json_in["after"]} if "after" in json_in else None
    raise HTTPException(json_in["status"], json_in["detail"], headers=headers)

app.serve()
"""

MARKUP = "<img src=x onerror=alert(1)><script>alert(1)</script>"


@pytest.fixture
def echo(start: Start) -> Server:
    return start(ECHO)


def shown(page: Page, server: Server, result: Any, **given: Any) -> None:
    """Show ``result``, and wait for it."""
    call(page, server, "/echo", {"result": result, **given})
    expect(state(page)).to_have_text(re.compile("Done in"))


# Reads a copy: a canvas that is read itself is no longer drawn by the graphics card.
READ = """(one, [x, y, width, height]) => {
  const copy = new OffscreenCanvas(one.width, one.height);
  const context = copy.getContext("2d", {willReadFrequently: true});
  context.drawImage(one, 0, 0);
  return [...context.getImageData(x, y, width, height).data];
}"""


def width_of(element: Locator) -> float:
    """Return how wide an element is on the page."""
    box = element.bounding_box()
    assert box is not None
    return float(box["width"])


def serious(page: Page) -> list[str]:
    """Return what axe finds in the answer."""
    violations = Axe().run(page, context=".answer").response["violations"]
    return [one["id"] for one in violations if one["impact"] in ("serious", "critical")]


# JSON


def test_json_is_a_tree_that_opens_and_closes_by_keyboard(echo: Server, page: Page) -> None:
    """A small tree is open. Enter closes and opens a branch."""
    shown(page, echo, {"a": {"b": [1, None, True]}, "text": "abc"})
    expect(chosen(page)).to_have_text("Tree")
    leaf = page.locator(".leaf", has_text="true")
    expect(leaf).to_be_visible()
    branch = page.locator("summary", has_text="b: 3 items")
    branch.focus()
    page.keyboard.press("Enter")
    expect(leaf).to_have_count(0)
    expect(branch).to_contain_text("1, null, true")
    page.keyboard.press("Enter")
    expect(leaf).to_be_visible()
    assert serious(page) == []


def test_a_tree_of_100_000_values_stays_responsive(echo: Server, page: Page) -> None:
    """Members are in groups, down to the last one; closed groups are not rendered."""
    shown(page, echo, {"rows": [{"id": number} for number in range(100_000)]})
    began = time.monotonic()
    for group in ("rows: 100,000 items", "90000 … 99999", "99900 … 99999", "99999: 1 member"):
        page.locator("summary", has_text=group).click()
    expect(page.locator(".leaf", has_text="id: 99999")).to_be_visible()
    assert time.monotonic() - began < 5
    assert page.locator("article *").count() < 2000


def test_a_tree_of_any_depth_opens(echo: Server, page: Page) -> None:
    """A value that is nested 1000 levels deep is shown level by level."""
    deep = "[" * 1000 + "]" * 1000
    body = f'{{"deep": {deep}}}'.encode()
    given = {"hex": body.hex(), "headers": {"Content-Type": "application/json"}}
    call(page, echo, "/raw", given)
    expect(state(page)).to_have_text(re.compile("Done in"))
    for level in range(10):
        page.locator(".tree summary").nth(level + 1).click()
    expect(page.locator(".tree summary")).to_have_count(12)


def test_long_strings_are_shortened(echo: Server, page: Page) -> None:
    """Until the user asks for all of one."""
    shown(page, echo, {"long": "a" * 5000 + "END", "more": 1})
    tree = page.locator(".tree").first
    expect(tree).to_contain_text("aaa…")
    expect(tree).not_to_contain_text("END")
    page.get_by_role("button", name="Show all 5,005 characters").click()
    expect(tree).to_contain_text("END")


def test_a_result_is_there_as_json_and_can_be_copied(echo: Server, page: Page) -> None:
    """In whatever view it is shown."""
    page.context.grant_permissions(["clipboard-read", "clipboard-write"])
    result = {"cat": 0.9, "dog": 0.1}
    shown(page, echo, result)
    page.get_by_role("button", name="Copy", exact=True).last.click()
    expect(page.get_by_role("button", name="Copied")).to_be_visible()
    assert json.loads(page.evaluate("navigator.clipboard.readText()")) == result
    choose(page, "JSON")
    text = page.get_by_role("region", name="Answer").locator("pre").text_content()
    assert json.loads(text or "") == result


def test_only_http_urls_are_links(echo: Server, page: Page) -> None:
    """In trees, too, and the other site gets no referrer."""
    bad = ["javascript:alert(1)", "javascript://example.com/%0aalert(1)", "file:///etc/passwd"]
    shown(page, echo, {"good": "https://example.com/a", "bad": bad})
    links = page.get_by_role("region", name="Answer").get_by_role("link")
    expect(links).to_have_count(1)
    expect(links).to_have_attribute("rel", "noopener noreferrer")


# Text


def test_a_text_is_plain_until_it_looks_like_markdown(echo: Server, page: Page) -> None:
    """The user can switch to the other view."""
    shown(page, echo, "2 * 3 * 4 is no list")
    expect(chosen(page)).to_have_text("Plain")
    shown(page, echo, {"text": "# Title\n\nSome **bold** text."})
    expect(chosen(page)).to_have_text("Markdown")
    answer = page.get_by_role("region", name="Answer")
    expect(answer.get_by_role("heading", name="Title")).to_be_visible()
    expect(answer.locator(".markdown strong")).to_have_text("bold")
    assert serious(page) == []
    choose(page, "Plain")
    expect(answer.locator("pre")).to_contain_text("Some **bold** text.")


def test_only_the_beginning_of_a_very_long_text_is_markdown(echo: Server, page: Page) -> None:
    """Browsers take minutes for more."""
    shown(page, echo, "# Title\n\n" + "word " * 100_000)
    expect(chosen(page)).to_have_text("Plain")
    choose(page, "Markdown")
    expect(page.locator(".markdown h3")).to_have_text("Title")
    expect(page.get_by_text("The first 300,000 characters.")).to_be_visible()
    assert len(page.locator(".markdown").inner_text()) <= 300_000


@pytest.mark.parametrize(("kind", "said"), [("numbers", "1,000,000"), ("objects", "200,000 items")])
def test_large_results_are_shown_in_seconds(echo: Server, page: Page, kind: str, said: str) -> None:
    """A million numbers, and 20 MB of JSON: each view shows what fits."""
    answer = call(page, echo, "/large", {"kind": kind})
    expect(state(page)).to_have_text(re.compile("Done in"), timeout=20_000)
    expect(answer).to_contain_text(said)
    views = page.get_by_role("group", name="Result as").get_by_role("button")
    for view in views.all():
        view.click()
        expect(view).to_have_attribute("aria-pressed", "true")
        assert page.locator(".answer *").count() < 5000
        assert len(answer.inner_text()) < 1_000_000


def test_a_result_that_cannot_be_shown_leaves_the_rest(echo: Server, page: Page) -> None:
    """It is nested deeper than any program can follow."""
    depth = 200_000
    body = (b"[" * depth + b"]" * depth).hex()
    given = {"hex": body, "headers": {"Content-Type": "application/json"}}
    answer = call(page, echo, "/raw", given)
    expect(answer.get_by_role("alert")).to_contain_text("This page cannot show this result")
    expect(answer).to_contain_text("Status 200")
    shown(page, echo, {"a": 1})
    expect(answer).to_contain_text("a: 1")


def test_markdown_can_link_and_do_nothing_else(echo: Server, page: Page) -> None:
    """Only http(s) links are links, and pictures are links: nothing is loaded from elsewhere."""
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    text = f"""# {MARKUP}

[good](https://example.com/good) [bad](javascript:alert(1)) [data](data:text/html,x)
![picture](https://example.com/p.png) ![own](/healthz) <https://example.com/raw>

{MARKUP}

```x" onclick="alert(1)
{MARKUP}
```
"""
    shown(page, echo, {"text": text})
    markdown = page.locator(".markdown")
    expect(markdown).to_contain_text("<script>alert(1)</script>")
    assert markdown.locator("img, script, iframe, [onclick], [style], [class]").count() == 0
    hrefs = markdown.locator("a[href]").evaluate_all("all => all.map(one => [one.href, one.rel])")
    assert {href for href, _ in hrefs} >= {"https://example.com/good", "https://example.com/p.png"}
    assert all(href.startswith("https://example.com/") for href, _ in hrefs)
    assert {rel for _, rel in hrefs} == {"noopener noreferrer"}
    assert all(url.startswith((echo.url, "data:,")) for url in asked)


# Files


def test_a_picture_has_its_size_and_can_be_seen_in_it(echo: Server, page: Page) -> None:
    """A click shows it at full size."""
    picture = png(2000, 30, lambda x, y: x % 256)
    given = {"hex": picture.hex(), "headers": {"Content-Type": "image/png"}}
    answer = call(page, echo, "/raw", given)
    expect(answer).to_contain_text(f"2000 by 30 pixels, image/png, {len(picture)} bytes")
    shown_picture = answer.get_by_role("img")
    assert width_of(shown_picture) < 1200
    answer.get_by_role("button", name="raw.png").click()
    assert width_of(shown_picture) == 2000
    assert serious(page) == []


def test_what_is_no_picture_is_said_to_be_none(
    echo: Server, page: Page, complaints: list[str]
) -> None:
    """It can still be downloaded."""
    given = {"hex": "00", "headers": {"Content-Type": "image/png"}}
    answer = call(page, echo, "/raw", given)
    expect(answer).to_contain_text("Your browser cannot display this picture.")
    expect(answer.get_by_role("link", name="Download raw.png")).to_be_visible()
    complaints.clear()


@pytest.mark.parametrize(
    ("media_type", "element"), [("audio/wav", "audio"), ("video/mp4", "video")]
)
def test_sound_and_video_have_players(
    echo: Server, page: Page, media_type: str, element: str
) -> None:
    """With the browser's controls."""
    wav = b"RIFF\x24\0\0\0WAVEfmt \x10\0\0\0\1\0\1\0\x40\x1f\0\0\x80\x3e\0\0\2\0\x10\0data\0\0\0\0"
    answer = call(page, echo, "/raw", {"hex": wav.hex(), "headers": {"Content-Type": media_type}})
    expect(answer.locator(f"{element}[controls][src^='blob:']")).to_be_visible()
    assert serious(page) == []


# A video of 64 by 48 pixels, whose pictures are all red, as hexadecimal digits.
RECORD = """async () => {
  const canvas = Object.assign(document.createElement("canvas"), { width: 64, height: 48 });
  const context = canvas.getContext("2d");
  context.fillStyle = "#f00";
  context.fillRect(0, 0, 64, 48);
  const stream = canvas.captureStream(0);
  const recorder = new MediaRecorder(stream, { mimeType: "video/webm" });
  const chunks = [];
  recorder.ondataavailable = ({ data }) => chunks.push(data);
  const stopped = new Promise((resolve) => (recorder.onstop = resolve));
  recorder.start();
  for (let frame = 0; frame < 10; frame += 1) {
    context.fillRect(0, 0, 64, 48);
    stream.getVideoTracks()[0].requestFrame();
    await new Promise(requestAnimationFrame);
  }
  recorder.stop();
  await stopped;
  return new Uint8Array(await new Blob(chunks).arrayBuffer()).toHex();
}"""
IS_RED = """() => {
  const context = new OffscreenCanvas(1, 1).getContext("2d");
  context.drawImage(document.querySelector(".media video"), 0, 0, 1, 1);
  const [red, green, blue] = context.getImageData(0, 0, 1, 1).data;
  return red > 200 && green < 60 && blue < 60;
}"""


def test_a_video_shows_its_first_picture_and_its_size(echo: Server, page: Page) -> None:
    page.goto(f"{echo.url}/docs")
    headers = {"Content-Type": "video/webm"}
    answer = call(page, echo, "/raw", {"hex": page.evaluate(RECORD), "headers": headers})
    video = answer.locator("video")
    expect(answer).to_contain_text("64 by 48 pixels, video/webm")
    video.scroll_into_view_if_needed()
    page.wait_for_function(IS_RED)
    assert width_of(video) >= 64


def test_data_urls_are_shown_as_what_they_hold(echo: Server, page: Page) -> None:
    """Beside the tree with the whole result."""
    shown(page, echo, {"mask": data_url(png(8, 8, lambda x, y: 255)), "count": 2})
    expect(chosen(page)).to_have_text("Media")
    answer = page.get_by_role("region", name="Answer")
    expect(answer.get_by_role("img", name="mask")).to_be_visible()
    expect(answer).to_contain_text("8 by 8 pixels")


@pytest.mark.parametrize(
    ("disposition", "name"),
    [
        (None, "raw.npy"),
        ('attachment; filename="a <b>.npy"', "a <b>.npy"),
        ("attachment; filename=x.bin; filename*=UTF-8''n%C3%A4me.npy", "näme.npy"),
    ],
)
def test_other_files_are_downloads_with_name_and_size(
    echo: Server, page: Page, disposition: str | None, name: str
) -> None:
    """The name is the server's, or is made from the path and the content type."""
    headers = {"Content-Type": "application/x-npy"}
    headers |= {"Content-Disposition": disposition} if disposition else {}
    answer = call(page, echo, "/raw", {"hex": "00" * 12_345, "headers": headers})
    expect(answer).to_contain_text("application/x-npy, 12 kB")
    with page.expect_download() as download:
        answer.get_by_role("link", name=f"Download {name}").click()
    assert download.value.path().stat().st_size == 12_345


# Drawn results


@pytest.mark.parametrize(
    "result",
    [
        {"dog": 0.25, "cat": 0.75},
        [{"label": "dog", "score": 0.25}, {"label": "cat", "score": 0.75}],
        [[{"label": "dog", "score": 0.25}, {"label": "cat", "score": 0.75}]],
        {"sequence": "x", "labels": ["dog", "cat"], "scores": [0.25, 0.75]},
    ],
    ids=["by name", "list", "batch of one", "two lists"],
)
def test_scores_are_bars_the_highest_first(echo: Server, page: Page, result: Any) -> None:
    """Each with its value as text."""
    shown(page, echo, result)
    expect(chosen(page)).to_have_text("Bars")
    rows = page.get_by_role("table").locator("tbody").get_by_role("row")
    assert rows.all_inner_texts() == ["cat\t0.75\t", "dog\t0.25\t"]
    widths = [width_of(one) for one in page.locator(".bars .bar").all()]
    assert widths[0] == pytest.approx(3 * widths[1], rel=0.02)
    assert serious(page) == []


def test_many_scores_are_there_when_asked_for(echo: Server, page: Page) -> None:
    """The first 20 are shown at once."""
    shown(page, echo, {f"label {number}": number for number in range(1000)})
    rows = page.get_by_role("table").locator("tbody").get_by_role("row")
    expect(rows).to_have_count(20)
    page.get_by_role("button", name="Show all 1000").click()
    expect(rows).to_have_count(1000)


@pytest.mark.parametrize(
    "result", [{"a": 1, "b": -1}, {"a": 1}, {"a": 1, "b": "x"}, {"a": 1, "b": None}]
)
def test_other_numbers_are_no_scores(echo: Server, page: Page, result: Any) -> None:
    """Negative ones, a single one, or numbers beside other values."""
    shown(page, echo, result)
    expect(chosen(page)).to_have_text("Tree")


VECTOR = [math.sin(number) for number in range(16)]


@pytest.mark.parametrize(
    "result",
    [VECTOR, {"embedding": VECTOR}, {"vector": VECTOR}, {"data": [{"embedding": VECTOR}]}],
    ids=["list", "embedding", "vector", "as OpenAI's"],
)
def test_a_vector_is_a_strip_with_its_figures(echo: Server, page: Page, result: Any) -> None:
    """Dimension, norm, minimum and maximum; colours tell positive from negative values."""
    shown(page, echo, result)
    expect(chosen(page)).to_have_text("Vector")
    answer = page.get_by_role("region", name="Answer")
    norm = math.hypot(*VECTOR)
    expect(answer).to_contain_text(f"16 dimensions norm {norm:.4g} min {min(VECTOR):.4g}")
    pixels = answer.locator("canvas[width='16']").evaluate(READ, [0, 0, 16, 1])
    assert pixels[4 * 4] < pixels[4 * 4 + 2]  # sin(4) < 0 is blue
    assert pixels[8 * 4] > pixels[8 * 4 + 2]  # sin(8) > 0 is orange
    assert serious(page) == []


def test_several_vectors_are_a_similarity_matrix(echo: Server, page: Page) -> None:
    """Labelled with the strings of the input, if it has as many."""
    one, other = [1.0] * 16, [1.0, -1.0] * 8
    texts = ["a cat", f"a {MARKUP}", "negative"]
    shown(page, echo, {"embeddings": [one, other, [-2.0] * 16]}, texts=texts)
    expect(chosen(page)).to_have_text("Similarity")
    table = page.get_by_role("table")
    rows = [
        row.all_inner_texts()
        for row in (table.get_by_role("row").nth(index).locator("td.number") for index in (1, 2, 3))
    ]
    assert rows == [["1.00", "0.00", "-1.00"], ["0.00", "1.00", "0.00"], ["-1.00", "0.00", "1.00"]]
    assert table.get_by_role("rowheader").all_inner_texts() == texts
    assert serious(page) == []
    choose(page, "Vector")
    expect(page.locator("canvas")).to_have_count(3)


BLACK = data_url(png(200, 100, lambda x, y: 0))
MASK = data_url(png(200, 100, lambda x, y: 255 if x >= 100 else 0))


def drawn_at(page: Page, x: int, y: int) -> int:
    """Return how opaque the drawing is at a pixel of the picture; 0 where nothing is drawn."""
    opacity: int = page.locator(".drawing canvas").evaluate(READ, [x, y, 1, 1])[3]
    return opacity


@pytest.mark.parametrize(
    "box",
    [{"xmin": 20, "ymin": 40, "xmax": 80, "ymax": 90}, [20, 40, 80, 90]],
    ids=["names", "list"],
)
@pytest.mark.parametrize("key", [None, "detections", "objects", "boxes"])
def test_boxes_are_drawn_over_the_picture(
    echo: Server, page: Page, box: Any, key: str | None
) -> None:
    """In its pixels, with labels and scores; each can be hidden."""
    found = [{"label": MARKUP, "score": 0.98, "box": box}]
    shown(page, echo, {key: found} if key else found, image=BLACK)
    expect(chosen(page)).to_have_text("Drawing")
    expect(page.locator(".drawing canvas[width='200'][height='100']")).to_be_visible()
    assert min(drawn_at(page, 20, 60), drawn_at(page, 50, 90)) > 200
    assert drawn_at(page, 50, 60) == drawn_at(page, 120, 60) == 0
    item = page.get_by_role("checkbox", name=f"{MARKUP} 0.98")
    assert serious(page) == []
    item.uncheck()
    expect(item).not_to_be_checked()
    assert drawn_at(page, 20, 60) == 0


def test_masks_are_drawn_over_the_picture(echo: Server, page: Page) -> None:
    """Greyscale pictures, white where the object is, and polygons."""
    triangle = [[10, 10], [60, 10], [10, 60]]
    shown(page, echo, [{"mask": MASK}, {"label": "b", "mask": triangle}], image=BLACK)
    expect(page.locator(".drawing canvas[width='200']")).to_be_visible()
    assert 100 < drawn_at(page, 150, 50) < 200
    assert 50 < drawn_at(page, 20, 20) < 150
    assert drawn_at(page, 70, 70) == 0


def test_without_a_picture_boxes_are_a_tree(echo: Server, page: Page) -> None:
    """There is nothing to draw them on."""
    shown(page, echo, [{"label": "cat", "box": [1, 2, 3, 4]}])
    expect(chosen(page)).to_have_text("Tree")


# What is said of a call


def test_status_request_id_queue_and_run_time_are_shown(echo: Server, page: Page) -> None:
    """Beside the total time."""
    answer = call(page, echo, "/echo", {"result": 1})
    expect(state(page)).to_have_text(re.compile(r"Done in [\d.]+ m?s"))
    expect(answer).to_contain_text("Status 200")
    expect(answer).to_contain_text(re.compile(r"Queue [\d.]+ ms"))
    expect(answer).to_contain_text(re.compile(r"Run [\d.]+ ms"))
    expect(answer).to_contain_text(re.compile(r"Request ID [0-9a-f]{8}-[0-9a-f-]{27}"))


STRICT = """
from pydantic import BaseModel
from potassium import Limits, Potassium

app = Potassium("Strict", limits=Limits(body_size=1000))

class Item(BaseModel):
    text: str
    numbers: list[int] = []

@app.handler("/strict")
def strict(cache, item: Item) -> dict:
    return {}

app.serve()
"""


def test_invalid_input_is_explained_field_by_field(start: Start, page: Page) -> None:
    """The problem document follows, as a tree."""
    server = start(STRICT)
    # The form would not let this pass; a handler may be stricter than its schema.
    page.route(
        "**/strict", lambda route: route.continue_(post_data='{"text": 1, "numbers": ["x"]}')
    )
    call(page, server, "/strict", {"text": "a"})
    expect(state(page)).to_have_text(re.compile("Failed after"))
    problem = page.get_by_role("alert")
    expect(problem).to_contain_text("text: Input should be a valid string.")
    expect(problem).to_contain_text("numbers[0]: Input should be a valid integer")
    expect(problem).to_contain_text("Code invalid_input")
    expect(page.locator(".tree").first).to_contain_text("request_id")
    assert serious(page) == []


@pytest.mark.parametrize(
    ("status", "detail", "said"),
    [
        (401, "No key", "No key. Enter a valid API key."),
        (413, "Too much", "Too much. Send a smaller input."),
        (504, "Too late.", "Too late. Try again later, or with"),
        (409, MARKUP, MARKUP),
    ],
)
def test_a_failed_call_shows_its_problem_as_sentences(
    echo: Server, page: Page, status: int, detail: str, said: str
) -> None:
    """And what to do about it."""
    answer = call(page, echo, "/fail", {"status": status, "detail": detail})
    expect(page.get_by_role("alert")).to_contain_text(said)
    expect(answer).to_contain_text(f"Status {status}")
    expect(page.locator(".tree").first).to_contain_text("request_id")


@pytest.mark.parametrize("status", [429, 503])
@pytest.mark.parametrize(
    ("after", "said"),
    [
        ("0", "Try again now."),
        ("1", "Try again in 1 second."),
        ("90", "Try again in 90 seconds."),
        ("3600", "Try again in 60 minutes."),
        ("Wed, 21 Oct 2015 07:28:00 GMT", "Try again now."),
        ("Fri, 31 Dec 2100 23:59:59 GMT", "Try again in more than a day."),
        ("soon", ""),
    ],
)
def test_a_call_that_was_refused_for_now_says_when_to_try_again(
    echo: Server, page: Page, status: int, after: str, said: str
) -> None:
    call(page, echo, "/fail", {"status": status, "detail": "All busy", "after": after})
    problem = page.get_by_role("alert").locator("p").first
    expect(problem).to_have_text(f"All busy. {said}".strip())


@pytest.mark.parametrize("how", ["other origin", "reset", "offline"])
def test_a_call_that_was_stopped_on_its_way_is_explained(
    echo: Server, page: Page, complaints: list[str], how: str
) -> None:
    """By a proxy that redirects it, by the network, or because there is no network."""

    def stop(route: Route) -> None:
        if how == "reset":
            route.abort("connectionreset")
        else:
            route.fulfill(status=302, headers={"Location": "http://other.localhost:9/login"})

    if how != "offline":
        page.route("**/echo", stop)
    call(page, echo, "/raw", {"hex": "", "headers": {}})
    expect(state(page)).to_have_text(re.compile("Done in"))
    page.evaluate("location.hash = '#echo'")
    expect(page.get_by_role("heading", level=2)).to_contain_text("/echo")
    page.locator("article textarea").fill('{"result": 1}')
    page.context.set_offline(how == "offline")
    page.locator("article form button[type=submit]").click()
    expect(page.get_by_role("alert")).to_contain_text(
        "The server cannot be reached, or it does not allow requests from this page."
    )
    offline = page.get_by_role("alert").get_by_text("You are offline.")
    expect(offline).to_have_count(1 if how == "offline" else 0)
    expect(state(page)).to_have_text(re.compile("Interrupted after"))
    complaints.clear()  # the browser reports what it could not send


def test_a_server_that_is_gone_is_reported(echo: Server, page: Page, complaints: list[str]) -> None:
    """In a plain sentence."""
    call(page, echo, "/echo", {"result": 1})
    expect(state(page)).to_have_text(re.compile("Done in"))
    echo.stop()
    page.locator("article form button[type=submit]").click()
    expect(page.get_by_role("alert")).to_contain_text("The server cannot be reached")
    complaints.clear()  # the browser says that the connection was refused


@pytest.mark.parametrize(
    "result",
    [
        {MARKUP: MARKUP, "n": [MARKUP]},
        MARKUP,
        {MARKUP: 0.5, "b": 0.1},
        [{"label": MARKUP, "score": 0.5}],
        {"text": f"# {MARKUP}"},
    ],
    ids=["tree", "text", "bars", "labels", "markdown"],
)
def test_markup_in_results_is_text(echo: Server, page: Page, result: Any) -> None:
    """Wherever it is."""
    page.on("dialog", lambda dialog: pytest.fail(dialog.message))
    shown(page, echo, result)
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("<script>alert(1)</script>")
    assert answer.locator("img, script").count() == 0
