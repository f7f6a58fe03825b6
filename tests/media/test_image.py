"""Which files become pictures, and which are refused before they take memory."""

import io
import struct
import zlib

import PIL.Image
import pytest

from potassium.http.file import File
from potassium.media import image
from potassium.media.image import FORMATS, decode

WARNING = "PIL.Image.DecompressionBombWarning"
RED = PIL.Image.new("RGB", (6, 4), (200, 0, 0))


def file(content: bytes) -> File:
    return File(io.BytesIO(content), size=len(content))


def saved(image: PIL.Image.Image, kind: str, **options: object) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def png_of(width: int, height: int) -> bytes:
    """Return a picture whose head is true and whose pixels are missing."""
    head = b"IHDR" + struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    pixels = b"IDAT" + zlib.compress(b"")
    chunks = [head, pixels, b"IEND"]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(chunk) - 4) + chunk + struct.pack(">I", zlib.crc32(chunk))
        for chunk in chunks
    )


@pytest.mark.parametrize("kind", FORMATS)
def test_a_picture_is_decoded(kind: str) -> None:
    """Of each format, whatever the client says that it is."""
    picture = decode(file(saved(RED, kind)))
    assert (picture.size, picture.convert("RGB").getpixel((0, 0))[0] > 190) == ((6, 4), True)  # type: ignore[index]  # of RGB


def test_a_picture_is_upright() -> None:
    """It is turned as its EXIF orientation says, which it then has no more."""
    exif = PIL.Image.Exif()
    exif[0x0112] = 6
    picture = decode(file(saved(RED, "JPEG", exif=exif)))
    assert picture.size == (4, 6)
    assert 0x0112 not in picture.getexif()


def test_the_frames_of_an_animation_can_be_sought() -> None:
    """The first one is there at once."""
    frames = [PIL.Image.new("L", (2, 2), shade) for shade in (0, 255)]
    picture = decode(file(saved(frames[0], "GIF", save_all=True, append_images=frames[1:])))
    picture.seek(1)
    assert picture.convert("L").getpixel((0, 0)) == 255


# Where Pillow only warns, as in a server, and where warnings are errors.
warns = pytest.mark.parametrize(
    "kind",
    [
        pytest.param("warning", marks=pytest.mark.filterwarnings(f"ignore::{WARNING}")),
        "error",
    ],
)


@warns
@pytest.mark.parametrize("size", [(9461, 9461), (20000, 20000), (2**31 - 1, 2**31 - 1)])
def test_a_picture_of_too_many_pixels_is_refused(size: tuple[int, int], kind: str) -> None:
    """Already beyond the limit at which Pillow only warns, and before any pixel is decoded."""
    with pytest.raises(ValueError, match=r"more than 89478485 pixels"):
        decode(file(png_of(*size)))


@warns
def test_an_app_may_set_the_limit(monkeypatch: pytest.MonkeyPatch, kind: str) -> None:
    """As for Pillow itself."""
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", 23)
    with pytest.raises(ValueError, match=r"more than 23 pixels"):
        decode(file(saved(RED, "PNG")))
    monkeypatch.setattr(PIL.Image, "MAX_IMAGE_PIXELS", None)
    assert decode(file(saved(RED, "PNG"))).size == (6, 4)


@pytest.mark.parametrize("size", [2**20, 2**20 + 1, 7])
def test_a_picture_of_too_many_scans_is_refused(monkeypatch: pytest.MonkeyPatch, size: int) -> None:
    """Of a progressive JPEG: each takes as long as a picture, however few bytes it has."""
    monkeypatch.setattr(image, "PIECE", size)
    content = saved(RED, "JPEG", progressive=True)
    last = content[content.rindex(b"\xff\xda") : -2]
    assert decode(file(content)).size == (6, 4)
    with pytest.raises(ValueError, match=r"more than 100 scans"):
        decode(file(content[:-2] + last * 100 + content[-2:]))


@pytest.mark.parametrize(
    "content", [b"", b"abc", b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n"]
)
def test_what_is_no_picture_is_refused(content: bytes) -> None:
    """With the formats that are taken; of those that Pillow can open, not all are."""
    with pytest.raises(ValueError, match=r"no picture of these formats: PNG, JPEG"):
        decode(file(content))


@pytest.mark.parametrize("kind", FORMATS)
def test_a_damaged_picture_is_refused(kind: str) -> None:
    """Wherever it breaks off, by a ValueError and nothing else."""
    content = saved(PIL.Image.effect_noise((64, 64), 50).convert("RGB"), kind)
    for end in range(0, len(content) - 64, max(1, len(content) // 40)):
        try:
            decode(file(content[:end]))
        except ValueError as error:
            assert "picture" in str(error)  # noqa: PT017 - some formats are complete earlier


@pytest.mark.parametrize("kind", ["PNG", "JPEG", "WEBP", "GIF", "BMP"])
def test_a_damaged_picture_is_called_so(kind: str) -> None:
    """Before the handler gets it; the reason names no path and no object."""
    with pytest.raises(ValueError, match=r"^The picture is damaged or incomplete \(\w+\)$"):
        decode(file(saved(PIL.Image.effect_noise((64, 64), 50), kind)[:900]))
