"""An app as a replica of Ray Serve calls it."""

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Any

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from potassium.http.codec import encode
from potassium.http.path import path_below_mount
from potassium.ray.answers import Answer, answer_of, send_answer
from potassium.ray.watch import Watch

__all__ = ["Front"]

REPLICAS = "/_k/replicas"
STATUS = ("/_k/status", "/__status__")
OK = 200
PATIENCE = 5.0  # seconds that other replicas have to answer
OF_REQUESTS = ("type", "asgi", "http_version", "scheme", "path", "root_path", "query_string")


class Front:
    """An app, with what a replica adds to it.

    - ``GET /_k/replicas`` shows the status of every replica, by id; ``/_k/status`` is that of the
      one that answers, whose id it has as ``replica``.
    - The page for Prometheus has the figures of all replicas, with the label ``replica``.
    - Responses have one ``X-Request-Id``, not two: Ray adds the same one.

    Args:
        app: the app.
        watch: runs as long as the app.
        replica: the id of this replica.
        all_of: returns Ray's handle of all replicas.
        metrics: the path of the page for Prometheus; None if there is none.

    """

    def __init__(
        self,
        app: ASGIApp,
        watch: Watch,
        *,
        replica: str,
        all_of: Callable[[], Any],
        metrics: str | None,
    ) -> None:
        self._app = app
        self._watch = watch
        self._replica = replica
        self._all_of = all_of
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection, or the lifespan."""
        if scope["type"] == "lifespan":
            await self._watch.beside(self._app(scope, receive, send))
            return
        if scope["type"] == "http":
            send = _without_id(send)
            await self._watch.hold()
            if scope["method"] == "GET" and await self._shows(scope, send):
                return
        await self._app(scope, receive, send)

    async def _shows(self, scope: Scope, send: Send) -> bool:
        """Answer a request for what is known of replicas; return whether it was one."""
        path = path_below_mount(scope)
        show: Callable[[Scope, Answer], Awaitable[Answer]]
        if path == REPLICAS:
            show = self._status_of_all
        elif path in STATUS:
            show = self._status
        elif path == self._metrics:
            show = self._metrics_of_all
        else:
            return False
        request = dict(scope)
        if path == REPLICAS:
            at = scope["path"].removesuffix(REPLICAS) + STATUS[0]
            request |= {"path": at, "raw_path": at.encode()}
        own = await answer_of(self._app, request)
        if own.status == OK:  # else it is refused, for want of a key
            own = await show(request, own)
        await send_answer(own, send)
        return True

    async def answer(self, request: dict[str, Any]) -> tuple[str, int, bytes]:
        """Return this replica's id, and how it answers a request that another one was sent."""
        own = await answer_of(self._app, request)
        return self._replica, own.status, own.body

    async def _status(self, _: Scope, own: Answer) -> Answer:
        return own.with_body(encode(own.json() | {"replica": self._replica}))

    async def _status_of_all(self, request: Scope, own: Answer) -> Answer:
        bodies = await self._bodies(request, own)
        shown = {replica: body.decode() for replica, body in bodies.items()}
        joined = ",".join(f'"{replica}":{body}' for replica, body in sorted(shown.items()))
        return own.with_body(f'{{"replicas":{{{joined}}}}}'.encode())

    async def _metrics_of_all(self, request: Scope, own: Answer) -> Answer:
        from potassium.ray.pages import joined  # noqa: PLC0415 - needs what the page needs

        plain = dict(request, headers=_plain(request["headers"]))
        own = await answer_of(self._app, plain)
        bodies = await self._bodies(plain, own)
        return own.with_body(await asyncio.to_thread(joined, bodies))

    async def _bodies(self, request: Scope, own: Answer) -> dict[str, bytes]:
        """Return how each replica that answers in time answers ``request``, by its id."""
        bodies = {self._replica: own.body}
        asked = {key: request[key] for key in OF_REQUESTS if key in request}
        asked |= {"method": "GET", "headers": list(request["headers"]), "client": None}
        with suppress(Exception):  # what is known of one replica is better than nothing
            answers = (
                await self._all_of()
                .broadcast("answer", asked)
                .results_async(timeout_s=PATIENCE, return_exceptions=True)
            )
            told = [one for one in answers if not isinstance(one, BaseException)]
            bodies |= {replica: body for replica, status, body in told if status == OK}
        return bodies


def _plain(headers: list[tuple[bytes, bytes]]) -> list[tuple[bytes, bytes]]:
    """Return the headers of a request for a page that can be read again."""
    chosen = (b"accept", b"accept-encoding")
    return [(name, value) for name, value in headers if name.lower() not in chosen]


def _without_id(send: Send) -> Send:
    async def sending(message: Message) -> None:
        if message["type"] == "http.response.start":
            headers = message.get("headers", ())
            kept = [one for one in headers if one[0].lower() != b"x-request-id"]
            message = {**message, "headers": kept}
        await send(message)

    return sending
