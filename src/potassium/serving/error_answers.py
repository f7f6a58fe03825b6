"""Answers errors of routes that are not handlers with problem documents too."""

from collections.abc import Collection
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.types import ExceptionHandler

from potassium.errors import PotassiumError
from potassium.http.problem import explained, problem_reply
from potassium.http.request_id import request_id_of

__all__ = ["error_answers"]


def error_answers(handlers: Collection[str]) -> dict[Any, ExceptionHandler]:
    """Return exception handlers that answer each kind of error with a problem document.

    While the app has ``debug``, tracebacks are added, and the paths in ``handlers`` are listed if a
    path is not found.
    """

    async def answer(request: Request, error: Exception) -> Response:
        debug = request.app.debug
        if isinstance(error, HTTPException):
            known = handlers if debug else ()
            error = explained(error, request.method, request.scope["path"], known)
        reply = problem_reply(error, request_id_of(request.scope), debug=debug)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
        return Response(reply.body, reply.status, headers)

    return {HTTPException: answer, PotassiumError: answer, Exception: answer}
