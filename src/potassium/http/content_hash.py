"""A hash of what a client sent, by which the same content is known again."""

import hashlib
from io import BytesIO

from potassium.http.spooled import IN_MEMORY, SpooledBody

__all__ = ["content_hash"]


def content_hash(body: bytes | SpooledBody, *, without: bytes = b"") -> bytes:
    """Return a hash of a body, leaving ``without`` out; blocks while it reads one on disk."""
    digest = hashlib.sha256()
    with BytesIO(body) if isinstance(body, bytes) else body.open() as reader:
        rest = b""
        while data := reader.read(IN_MEMORY):
            *parts, rest = (rest + data).split(without) if without else (data, b"")
            for part in parts:
                digest.update(part)
            done = max(0, len(rest) - len(without) + 1)  # with what follows, the end may be one
            digest.update(rest[:done])
            rest = rest[done:]
        digest.update(rest)
    return digest.digest()
