"""Files as text: base64 (RFC 4648, section 4) and data URLs (RFC 2397)."""

import binascii
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

__all__ = ["STEP", "Content", "decoded"]

SCHEME = "data:"
BASE64 = ";base64"

# Characters that are decoded at a time: the decoder of base64 holds the GIL, and the one of escapes
# takes many times the size of what it decodes.
STEP = 256 * 1024

PLAIN_TEXT = "text/plain;charset=US-ASCII"  # of a URL that names no media type


class Content(NamedTuple):
    """The content of a file, and its media type, which is empty if it is not given."""

    data: bytes
    media_type: str = ""


def decoded(text: str) -> Content:
    """Return what a base64 string or a data URL contains.

    Raises:
        ValueError: it is neither; the message is meant for clients.

    """
    if text[: len(SCHEME)].lower() != SCHEME:
        return Content(_from_base64(text))
    head, comma, data = text[len(SCHEME) :].partition(",")
    if not comma:
        raise ValueError("a data URL has a comma before its data")
    if head[-len(BASE64) :].lower() == BASE64:
        content = _from_base64(_unquoted(data) if "%" in data else data)
        head = head[: -len(BASE64)]
    else:
        content = _unquoted(data)
    return Content(content, f"text/plain{head}" if head[:1] == ";" else head or PLAIN_TEXT)


def _unquoted(text: str) -> bytes:
    data, pieces, start = text.encode(), [], 0
    while start < len(data):
        escape = data.rfind(b"%", start + STEP - 2, start + STEP)
        end = escape if escape > start else start + STEP  # not within an escape
        pieces.append(unquote_to_bytes(data[start:end]))
        start = end
    return b"".join(pieces)


def _from_base64(text: str | bytes) -> bytes:
    steps = (text[start : start + STEP] for start in range(0, len(text), STEP))
    try:
        pieces = [binascii.a2b_base64(step, strict_mode=True) for step in steps]
    except binascii.Error as error:
        raise ValueError(f"it is neither base64 nor a data URL: {error}") from None
    except ValueError:  # of characters outside ASCII
        raise ValueError("it is neither base64 nor a data URL") from None
    if any(len(piece) < STEP // 4 * 3 for piece in pieces[:-1]):
        raise ValueError("it is neither base64 nor a data URL: Excess data after padding")
    return b"".join(pieces)
