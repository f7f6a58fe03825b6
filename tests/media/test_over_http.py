"""Pictures, sound and arrays as handlers take them, over HTTP."""

import base64
import io
from collections.abc import AsyncIterator
from typing import Any

import httpx
import numpy as np
import PIL.Image
import pytest
import soundfile

from potassium import Array, Audio, Image, Potassium
from potassium.testing import client


def saved(image: PIL.Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()


PNG = saved(PIL.Image.new("RGB", (4, 2), "red"))
TEXT = base64.b64encode(PNG).decode()
RAW = {"Content-Type": "image/png"}


@pytest.fixture
async def http() -> AsyncIterator[httpx.AsyncClient]:
    app = Potassium("test")

    @app.handler("/picture")
    def picture(cache: Any, image: Image) -> Image:
        return image.rotate(90, expand=True)

    @app.handler("/sound")
    def sound(cache: Any, sound: Audio) -> Audio:
        return sound

    @app.handler("/array")
    def array(cache: Any, rows: Array) -> Array:
        return rows

    async with client(app) as http:
        yield http


@pytest.mark.parametrize(
    "sent",
    [
        {"content": PNG, "headers": RAW},
        {"files": {"image": ("a.png", PNG, "image/png")}},
        {"json": TEXT},
        {"json": f"data:image/png;base64,{TEXT}"},
    ],
    ids=["raw", "form", "base64", "data URL"],
)
async def test_a_picture_goes_in_and_a_picture_comes_out(
    http: httpx.AsyncClient, sent: dict[str, Any]
) -> None:
    """As the raw body, the file of a form, or a string in JSON."""
    got = await http.post("/picture", **sent)
    assert got.headers["content-type"] == "image/png", got.text
    assert PIL.Image.open(io.BytesIO(got.content)).size == (2, 4)


async def test_sound_goes_in_and_comes_out(http: httpx.AsyncClient) -> None:
    """Of one format in and another out."""
    buffer = io.BytesIO()
    soundfile.write(buffer, np.zeros(80), 8000, format="WAV")
    asks = {"Content-Type": "audio/wav", "Accept": "audio/flac"}
    got = await http.post("/sound", content=buffer.getvalue(), headers=asks)
    assert got.headers["content-type"] == "audio/flac", got.text


async def test_an_array_goes_in_and_comes_out(http: httpx.AsyncClient) -> None:
    """As .npy, and as lists in JSON."""
    buffer = io.BytesIO()
    np.save(buffer, np.ones((2, 2), "float32"))
    npy = {"Content-Type": "application/x-npy"}
    got = await http.post(
        "/array", content=buffer.getvalue(), headers={**npy, "Accept": npy["Content-Type"]}
    )
    assert got.content == buffer.getvalue()
    assert (await http.post("/array", json=[[1, None]])).json() == [[1.0, None]]


@pytest.mark.parametrize(
    ("path", "sent", "why"),
    [
        ("/picture", {"content": PNG[:50], "headers": RAW}, "damaged"),
        ("/picture", {"content": b"abc", "headers": RAW}, "no picture"),
        ("/picture", {"json": [1]}, "base64"),
        ("/array", {"json": [[1], [1, 2]]}, "same length"),
        ("/array", {"json": {"a": 1}}, "list of numbers"),
        ("/sound", {"content": b"abc", "headers": {"Content-Type": "audio/wav"}}, "no sound"),
    ],
)
async def test_what_cannot_be_decoded_is_refused_with_the_reason(
    http: httpx.AsyncClient, path: str, sent: dict[str, Any], why: str
) -> None:
    """422, which says what is wrong."""
    got = await http.post(path, **sent)
    assert (got.status_code, got.json()["code"]) == (422, "invalid_input")
    assert why in got.json()["errors"][0]["msg"]
