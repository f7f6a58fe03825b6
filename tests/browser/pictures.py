"""Pictures for tests, made without a library."""

import base64
import struct
import zlib
from collections.abc import Callable


def png(width: int, height: int, grey: Callable[[int, int], int]) -> bytes:
    """Return a greyscale picture; ``grey`` returns 0 to 255 for a pixel's x and y."""
    rows = (b"\0" + bytes(grey(x, y) for x in range(width)) for y in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, 0, 0, 0, 0)
    parts = [(b"IHDR", head), (b"IDAT", zlib.compress(b"".join(rows))), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(_part(*part) for part in parts)


def data_url(picture: bytes) -> str:
    """Return a picture as a data URL."""
    return f"data:image/png;base64,{base64.b64encode(picture).decode()}"


def _part(name: bytes, data: bytes) -> bytes:
    checksum = struct.pack(">I", zlib.crc32(name + data))
    return struct.pack(">I", len(data)) + name + data + checksum
