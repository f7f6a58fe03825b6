"""The pictures of the documentation. ``SCREENSHOTS=docs/images`` replaces them."""

import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import PIL.Image
import PIL.ImageDraw
import pytest
from e2e.server import Server, Start
from playwright.sync_api import Browser, Page, expect

APP = """
import time
from collections.abc import Iterator
from typing import Literal

from pydantic import BaseModel, Field

from potassium import Image, Potassium

app = Potassium("Kitchen")


class Photo(BaseModel):
    image: Image
    top: int = Field(3, ge=1, le=10, description="How many labels to return.")
    model: Literal["small", "large"] = "small"


class Question(BaseModel):
    prompt: str = Field(description="What to answer.", max_length=2000)


class Texts(BaseModel):
    texts: list[str] = Field(max_length=100)


@app.handler("/classify", tags=["vision"])
def classify(cache: dict, photo: Photo) -> dict[str, float]:
    '''Say what is in a photo.'''
    time.sleep(0.012)
    return {"teapot": 0.81, "kettle": 0.12, "mug": 0.04, "vase": 0.02, "bowl": 0.01}


@app.handler("/detect", tags=["vision"])
def detect(cache: dict, image: Image) -> list[dict]:
    '''Find objects in a photo.'''
    return [{"label": "teapot", "score": 0.97, "box": [70, 60, 250, 210]}]


@app.handler("/chat", tags=["text"], example={"prompt": "How do I make tea?"})
def chat(cache: dict, question: Question) -> Iterator[str]:
    '''Answer a question, word by word.'''
    answer = (
        "## Tea in three steps\\n\\nHere is how to make a **good cup**:\\n\\n"
        "1. Boil fresh water.\\n2. Pour it over the leaves.\\n3. Wait for *three minutes*.\\n\\n"
        "> Green tea takes less: 80 degrees, two minutes.\\n"
    )
    for word in answer.split(" "):
        time.sleep(0.04)
        yield word + " "


@app.handler("/embed", tags=["text"])
def embed(cache: dict, item: Texts) -> list[list[float]]:
    '''Turn texts into vectors.'''
    return [[((i * 7 + len(text)) % 11) / 11 - 0.5 for i in range(384)] for text in item.texts]


app.serve()
"""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    given = os.environ.get("SCREENSHOTS")
    return Path(given) if given else tmp_path


@pytest.fixture
def server(start: Start) -> Server:
    return start(APP)


@pytest.fixture(params=["light", "dark", "narrow"])
def view(request: pytest.FixtureRequest, chromium: Browser) -> Iterator[tuple[str, Page]]:
    """Yield the name of a view, and a tab with its size and colours."""
    size = (
        {"width": 390, "height": 844}
        if request.param == "narrow"
        else {"width": 1200, "height": 900}
    )
    scheme: Any = "dark" if request.param == "dark" else "light"
    context = chromium.new_context(viewport=size, color_scheme=scheme)
    yield request.param, context.new_page()
    context.close()


def photo() -> bytes:
    """Return a picture that resembles a teapot."""
    image = PIL.Image.new("RGB", (320, 240), "#f3e6d0")
    draw = PIL.ImageDraw.Draw(image)
    draw.rectangle((0, 190, 320, 240), fill="#b98a5e")
    draw.ellipse((40, 90, 110, 170), outline="#2a7f8e", width=12)
    draw.polygon([(215, 130), (275, 90), (285, 98), (225, 165)], fill="#2a7f8e")
    draw.ellipse((80, 80, 240, 210), fill="#2f93a5")
    draw.ellipse((115, 70, 205, 100), fill="#2a7f8e")
    draw.ellipse((150, 58, 170, 78), fill="#e0574f")
    content = io.BytesIO()
    image.save(content, "PNG")
    return content.getvalue()


def test_a_handler_that_was_called(server: Server, view: tuple[str, Page], folder: Path) -> None:
    """In light and dark, and on a phone: form, picture, bars."""
    name, page = view
    page.goto(f"{server.url}/#classify")
    page.locator("input[type=file]").set_input_files(
        {"name": "teapot.png", "mimeType": "image/png", "buffer": photo()}
    )
    page.locator("article form button[type=submit]").click()
    answer = page.get_by_role("region", name="Answer")
    expect(answer).to_contain_text("teapot")
    expect(page.locator("article img")).to_have_count(1)
    wide = page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert wide, "the page is wider than the screen"
    page.evaluate("scrollTo(0, 0)")
    shot = page.screenshot(path=folder / f"page-{name}.png", full_page=True)
    colors = PIL.Image.open(io.BytesIO(shot)).convert("RGB").getcolors(1 << 24) or []
    assert len(colors) > 50  # it shows something
    background: Any = max(colors)[1]
    assert (sum(background) < 3 * 80) == (name == "dark")


def test_a_stream_as_it_comes(server: Server, page: Page, folder: Path) -> None:
    """A short animation; each frame has more text than the one before."""
    page.set_viewport_size({"width": 900, "height": 760})
    page.goto(f"{server.url}/#chat")
    page.locator("article form button[type=submit]").click()
    frames: list[PIL.Image.Image] = []
    state = page.locator("article").get_by_role("status")
    page.get_by_role("region", name="Answer").wait_for()
    page.get_by_role("region", name="Answer").scroll_into_view_if_needed()
    while len(frames) < 60:
        ended = state.inner_text().startswith("Done")
        frames.append(PIL.Image.open(io.BytesIO(page.screenshot())).convert("RGB"))
        if ended:
            break
        page.wait_for_timeout(120)
    expect(page.get_by_role("region", name="Answer")).to_contain_text("two minutes")
    assert len(frames) > 3
    times = [150] * (len(frames) - 1) + [3000]
    target = folder / "stream.webp"
    frames[0].save(
        target,
        save_all=True,
        append_images=frames[1:],
        duration=times,
        loop=0,
        quality=60,
        method=6,
    )
    with PIL.Image.open(target) as film:
        assert getattr(film, "n_frames", 1) > 3
