"""Authentication with API keys."""

import hmac
from collections.abc import Callable, Iterator

from starlette.types import ASGIApp, Receive, Scope, Send

from potassium.errors import Unauthorized
from potassium.http.exchange import note_error
from potassium.http.owner import SCOPE_KEY
from potassium.http.path import path_below_mount
from potassium.http.problem import problem_reply
from potassium.http.request_id import request_id_of
from potassium.serving.api_keys import ApiKeys, digest_of
from potassium.serving.clients import KEY_OWNER
from potassium.serving.slashes import without_slash

__all__ = ["Authentication"]

# For load balancers, which have no key. A route of the app's own, for another method, needs one.
PROBES = {
    "/healthz": ("GET", "HEAD"),
    "/readyz": ("GET", "HEAD"),
    "/_k/warmup": ("GET", "HEAD", "POST"),
}

NOBODY = "-"  # the owner of what comes without a key; no owner of a key has this name

KEY_HEADERS = (b"x-api-key", b"x-banana-api-key")


class Authentication:
    """ASGI middleware that answers 401 to requests without one of the keys.

    A key is read from ``Authorization: Bearer`` (RFC 6750), ``X-Api-Key`` or
    ``X-Banana-Api-Key``, and compared in constant time. Whether a path requires a key is decided
    by the ASGI path, which the router goes by too. The owner of the key is noted in the ASGI
    scope: it tells one client from another and, where jobs have owners, is the owner of its jobs.
    """

    def __init__(
        self,
        app: ASGIApp,
        keys: ApiKeys,
        is_public: Callable[[Scope], bool] = lambda _: False,
    ) -> None:
        self._app = app
        self._is_public = is_public
        self._owners = list(keys.owners.items())
        self._have_tenants = keys.have_tenants
        self._open_paths = {without_slash(path) for path in keys.open_paths}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        owner = self._owner(scope)
        if owner is not None or self._is_open(scope):
            scope[KEY_OWNER] = owner
            if self._have_tenants:
                scope[SCOPE_KEY] = owner or NOBODY
            await self._app(scope, receive, send)
            return
        if scope["type"] == "websocket":
            await send({"type": "websocket.close", "code": 1008})  # policy violation (RFC 6455)
            return
        request_id = request_id_of(scope)
        error = Unauthorized("Send a valid API key, as Authorization: Bearer KEY.")
        note_error(scope, error.code)
        await problem_reply(error, request_id).send(request_id, send)

    def _is_open(self, scope: Scope) -> bool:
        path = path_below_mount(scope)
        return (
            scope.get("method") in PROBES.get(path, ())
            or (bool(self._open_paths) and without_slash(path) in self._open_paths)
            or (scope["type"] == "http" and self._is_public(scope))
        )

    def _owner(self, scope: Scope) -> str | None:
        """Return the owner of the first right key in the headers, or None."""
        found: str | None = None
        for key in _keys_in(scope):
            digest = digest_of(key)
            # Compare all of them, so that the timing does not reveal which one matched.
            for known, owner in self._owners:
                if hmac.compare_digest(digest, known) and found is None:
                    found = owner
        return found


def _keys_in(scope: Scope) -> Iterator[bytes]:
    for name, value in scope["headers"]:
        if name in KEY_HEADERS:
            yield value.strip()
        elif name == b"authorization":
            scheme, _, key = value.partition(b" ")
            if scheme.lower() == b"bearer":
                yield key.strip()
