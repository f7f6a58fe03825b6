"""Authentication with API keys."""

import hashlib
import hmac
from collections.abc import Iterable

from starlette.types import ASGIApp, Receive, Scope, Send

from potassium.errors import Unauthorized, UsageError
from potassium.http.problem import problem_reply
from potassium.http.request_id import request_id_of
from potassium.serving.clients import KEY_OWNER
from potassium.serving.fast_path import path_below_mount

__all__ = ["ApiKeys", "check_keys"]

# For load balancers, which have no key.
OPEN_PATHS = frozenset({"/healthz", "/readyz", "/_k/warmup"})

KEY_HEADERS = (b"x-api-key", b"x-banana-api-key")


class ApiKeys:
    """ASGI middleware that answers 401 to requests without one of the keys.

    A key is read from ``Authorization: Bearer`` (RFC 6750), ``X-Api-Key`` or
    ``X-Banana-Api-Key``, and compared in constant time. Whether a path requires a key is decided
    by the ASGI path, which the router goes by too. The scope gets a hash of the key, which tells
    one client from another.
    """

    def __init__(self, app: ASGIApp, keys: Iterable[str]) -> None:
        self._app = app
        self._digests = [_digest(key.encode()) for key in keys]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        digest = self._right_key(scope)
        if digest is not None or path_below_mount(scope) in OPEN_PATHS:
            scope[KEY_OWNER] = digest
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # policy violation (RFC 6455)
            return
        request_id = request_id_of(scope)
        error = Unauthorized("Send a valid API key, as Authorization: Bearer KEY.")
        await problem_reply(error, request_id).send(request_id, send)

    def _right_key(self, scope: Scope) -> bytes | None:
        """Return the digest of the first right key in the headers, or None."""
        right = None
        for key in _keys_in(scope):
            digest = _digest(key)
            # Compare all of them, so that the timing does not reveal which one matched.
            for known in self._digests:
                if hmac.compare_digest(digest, known) and right is None:
                    right = known
        return right


def check_keys(keys: Iterable[str]) -> list[str]:
    """Return the keys as a list.

    Raises:
        UsageError: a key cannot be sent in a header, or ``keys`` is a single string.

    """
    if isinstance(keys, str):
        raise UsageError("api_keys must be a list of keys, not one string.")
    keys = list(keys)
    for key in keys:
        if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable():
            raise UsageError("api_keys: a key must be a string of printable ASCII characters.")
        if key != key.strip():
            raise UsageError("api_keys: a key must not begin or end with whitespace.")
    return keys


def _keys_in(scope: Scope) -> list[bytes]:
    keys = []
    for name, value in scope["headers"]:
        if name in KEY_HEADERS:
            keys.append(value.strip())
        elif name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer":
                keys.append(key.strip())
    return keys


def _digest(key: bytes) -> bytes:
    """Return a hash of a key; hashes have equal lengths, so comparing them reveals no length."""
    return hashlib.sha256(key).digest()
