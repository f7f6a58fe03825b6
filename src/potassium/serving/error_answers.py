"""Answers errors of routes that are not handlers with problem documents too."""

from collections.abc import Collection
from http import HTTPStatus
from typing import Any

from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Match, Route
from starlette.types import ExceptionHandler

from potassium.errors import PotassiumError
from potassium.http.exchange import note_error
from potassium.http.problem import code_of, explained, problem_reply
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
            error = _with_all_methods(error, request)
            error = explained(error, request.method, request.scope["path"], known)
        note_error(request.scope, code_of(error))
        reply = problem_reply(error, request_id_of(request.scope), debug=debug)
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in reply.headers}
        return Response(reply.body, reply.status, headers)

    return {HTTPException: answer, PotassiumError: answer, Exception: answer}


def _with_all_methods(error: HTTPException, request: Request) -> HTTPException:
    """Return a router's 405 with the methods of all routes of the path in ``Allow``.

    The router itself names those of the first one only (RFC 9110, section 15.5.6).
    """
    scope, headers = request.scope, error.headers or {}
    if error.status_code != HTTPStatus.METHOD_NOT_ALLOWED or "Allow" not in headers:
        return error
    routes = [
        route
        for route in request.app.routes
        if isinstance(route, Route) and route.matches(scope)[0] is not Match.NONE
    ]
    if not any(route.endpoint is scope.get("endpoint") for route in routes):
        return error  # that of a router within
    methods = {method for route in routes for method in route.methods or ()}
    allow = ", ".join(sorted(methods))
    return HTTPException(error.status_code, error.detail, {**headers, "Allow": allow})
