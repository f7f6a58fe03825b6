"""Reading a request's body."""

from starlette.types import Receive, Scope

from potassium.errors import BodyTooLarge

__all__ = ["read_body"]


async def read_body(scope: Scope, receive: Receive, limit: int) -> bytes | None:
    """Return the whole body, or None where the client left before it was through.

    Raises:
        BodyTooLarge: the body has over ``limit`` bytes, by its Content-Length before anything is
            read, or by what has arrived.

    """
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit() and int(value) > limit:
            raise _too_large(limit)
    message = await receive()
    if message["type"] == "http.disconnect":
        return None
    body: bytes = message.get("body", b"")
    if not message.get("more_body", False) and len(body) <= limit:
        return body
    parts, size = [body], len(body)
    while message.get("more_body", False) and size <= limit:
        message = await receive()
        if message["type"] == "http.disconnect":
            return None
        parts.append(message.get("body", b""))
        size += len(parts[-1])
    if size > limit:
        raise _too_large(limit)
    return b"".join(parts)


def _too_large(limit: int) -> BodyTooLarge:
    return BodyTooLarge(f"The body may have {limit} bytes at most.")
