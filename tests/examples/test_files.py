"""The files example, with pictures that are made here."""

from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

TYPE = "image/x-portable-graymap"


@pytest.fixture(scope="module")
def files(run_example: Callable[..., httpx.Client], examples: Path) -> httpx.Client:
    return run_example(examples / "files" / "app.py")


def pgm(*pixels: int) -> bytes:
    return b"P5\n%d 2\n255\n" % (len(pixels) // 2) + bytes(pixels)


def test_compares_the_files_of_a_form(files: httpx.Client) -> None:
    """With a field beside them."""
    pair = {"before": ("a.pgm", pgm(0, 9, 200, 4)), "after": ("b.pgm", pgm(0, 20, 100, 4))}
    for threshold, changed in ((0, 2), (16, 1)):
        answer = files.post("/compare", data={"threshold": threshold}, files=pair)
        assert answer.json() == {"changed": changed, "of": 4}


def test_counts_the_pixels_of_the_body(files: httpx.Client) -> None:
    """With its own content type."""
    answer = files.post("/histogram", content=pgm(1, 1, 3, 1), headers={"Content-Type": TYPE})
    assert answer.json()[:5] == [0, 3, 0, 1, 0]


def test_makes_a_picture_for_a_query(files: httpx.Client) -> None:
    """Which it takes itself."""
    blank = files.get("/blank", params={"width": 3, "height": 2})
    assert blank.headers["content-type"] == TYPE
    answer = files.post("/histogram", files={"x": ("blank.pgm", blank.content)})
    assert answer.json()[0] == 6


@pytest.mark.parametrize("body", [b"GIF89a", pgm(1, 2, 3), pgm(1, 2)[:-1], b"P5\nx y\n255\n"])
def test_refuses_what_is_no_picture(files: httpx.Client, body: bytes) -> None:
    """With a reason."""
    answer = files.post("/histogram", content=body, headers={"Content-Type": TYPE})
    assert answer.status_code == httpx.codes.UNPROCESSABLE_ENTITY
    assert answer.json()["errors"][0]["msg"].startswith("The file cannot be read: ")
