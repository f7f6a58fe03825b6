"""Request ids, which link log lines, responses and webhooks to a request."""

import os
import random
import re
from collections.abc import Iterable

from starlette.types import Scope

__all__ = ["new_request_id", "request_id_of"]

VISIBLE = re.compile(rb"[\x21-\x7e]{1,128}")
# Ids need not be unguessable, and uuid.uuid4() asks the kernel for each: the GIL changes hands,
# which took a tenth of the time of a call. Not random's own generator, which models seed.
RANDOM = random.Random()  # noqa: S311
if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=RANDOM.seed)

SCOPE_KEY = "potassium.request_id"


def request_id_of(scope: Scope) -> str:
    """Return the id of a request, always the same one for the same scope.

    It is the client's ``X-Request-Id`` or ``X-Banana-Request-Id`` if that is 1 to 128 visible
    ASCII characters, otherwise a new UUID (RFC 9562, version 4).
    """
    known: str | None = scope.get(SCOPE_KEY)
    if known is not None:
        return known
    request_id = scope[SCOPE_KEY] = _sent_by_client(scope["headers"]) or new_request_id()
    return request_id


def _sent_by_client(headers: Iterable[tuple[bytes, bytes]]) -> str | None:
    sent = None
    for name, value in headers:
        if name == b"x-request-id" or (name == b"x-banana-request-id" and sent is None):
            sent = value
    return sent.decode("ascii") if sent is not None and VISIBLE.fullmatch(sent) else None


def new_request_id() -> str:
    """Return a new UUID (RFC 9562, version 4)."""
    # As uuid.UUID(int=..., version=4) does it, in a third of the time.
    digits = f"{RANDOM.getrandbits(128) & ~(0xF << 76 | 0x3 << 62) | (0x4 << 76 | 0x2 << 62):032x}"
    return f"{digits[:8]}-{digits[8:12]}-{digits[12:16]}-{digits[16:20]}-{digits[20:]}"
