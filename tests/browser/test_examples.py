"""The page of each example, which is started as the README says."""

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest
from browser.calling import chosen
from e2e.server import Server, free_port, python, serve
from playwright.sync_api import Page, expect

EXAMPLES = Path(__file__).parents[2] / "examples"

Run = Callable[[str], Server]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Run]:
    """Return a function that starts an example, once, and returns its server."""
    servers: dict[str, Server] = {}
    with ExitStack() as stack:

        def run(name: str) -> Server:
            if name not in servers:
                folder = tmp_path_factory.mktemp(name)
                command = python(EXAMPLES / name / "app.py")
                server = serve(command, folder / "server.log", port=free_port(), cwd=folder)
                servers[name] = stack.enter_context(server)
            return servers[name]

        yield run


def pgm(*pixels: int) -> bytes:
    return b"P5\n%d 2\n255\n" % (len(pixels) // 2) + bytes(pixels)


def call(page: Page) -> None:
    page.locator("article form button[type=submit]").click()


def test_files_two_pictures_are_compared(run: Run, page: Page) -> None:
    """They are uploaded in a form, along with a number."""
    page.goto(f"{run('files').url}/#compare")
    for label, pixels in (("Before", (0, 9, 200, 4)), ("After", (0, 20, 100, 4))):
        file = {"name": f"{label}.pgm", "mimeType": "image/x-portable-graymap"}
        field = page.get_by_label(f"{label} *")
        field.set_input_files({**file, "buffer": pgm(*pixels)})  # type: ignore[arg-type, typeddict-item, unused-ignore]
    page.get_by_label("Threshold").fill("16")
    call(page)
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("changed")
    expect(answer).to_contain_text("1")


def test_files_what_is_no_picture_is_refused_in_words(run: Run, page: Page) -> None:
    page.goto(f"{run('files').url}/#histogram")
    page.locator("input[type=file]").set_input_files(
        {"name": "x.pgm", "mimeType": "image/x-portable-graymap", "buffer": b"GIF89a"}
    )
    call(page)
    expect(page.get_by_role("alert")).to_contain_text("it is not a PGM picture")


def test_files_a_query_returns_a_file(run: Run, page: Page) -> None:
    page.goto(f"{run('files').url}/#blank")
    page.get_by_label("Width *").fill("3")
    page.get_by_label("Height *").fill("2")
    call(page)
    answer = page.get_by_role("region", name="Answer")
    with page.expect_download() as download:
        answer.get_by_role("link", name=re.compile("Download")).click()
    assert download.value.path().read_bytes() == pgm(*[0] * 6)


def test_embeddings_two_texts_are_compared(run: Run, page: Page) -> None:
    """They are sent as JSON, and label the similarity matrix."""
    page.goto(f"{run('embeddings').url}/")
    page.get_by_role("button", name="JSON", exact=True).click()
    page.locator("article textarea").fill('{"texts": ["A cat sleeps.", "A dog barks."]}')
    call(page)
    expect(chosen(page)).to_have_text("Similarity")
    table = page.locator("table.similarity")
    expect(table).to_contain_text("A cat sleeps.")
    expect(table).to_contain_text("A dog barks.")


def test_chat_an_answer_is_stopped(run: Run, page: Page) -> None:
    """The next message is answered."""
    page.goto(f"{run('chat').url}/")
    box = page.get_by_role("textbox", name="Message", exact=True)
    state = page.get_by_role("region", name="Chat").locator("form").get_by_role("status")
    box.fill("Count from one to one hundred.")
    box.press("Enter")
    expect(state).to_have_text("Receiving…", timeout=60_000)
    page.get_by_role("button", name="Stop").click()
    expect(state).to_have_text(re.compile(r"Stopped after \d+ chunk"))
    page.get_by_text("Settings").click()
    page.get_by_role("spinbutton", name="Maximum tokens").fill("2")
    box.fill("Go on.")
    box.press("Enter")
    expect(state).to_have_text(re.compile("Done in"), timeout=60_000)


def test_background_a_model_is_trained(run: Run, page: Page) -> None:
    """Its progress is shown, and its result."""
    page.goto(f"{run('background').url}/")
    page.get_by_role("button", name="JSON", exact=True).click()
    page.locator("article textarea").fill('{"x": [1, 2, 3], "y": [3, 5, 7], "epochs": 300}')
    call(page)
    job = page.get_by_role("region", name=re.compile("Job"))
    expect(job).to_contain_text("slope", timeout=30_000)
    page.reload()
    expect(page.get_by_role("region", name="Your jobs")).to_contain_text("Succeeded")


def test_background_what_does_not_fit_is_refused_in_words(run: Run, page: Page) -> None:
    page.goto(f"{run('background').url}/")
    page.get_by_role("button", name="JSON", exact=True).click()
    page.locator("article textarea").fill('{"x": [1, 2, 3], "y": [3, 5]}')
    call(page)
    expect(page.get_by_role("alert")).to_contain_text("x and y must have the same length")
