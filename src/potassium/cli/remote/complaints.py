"""Calls that failed, in plain words, and the exit status of commands."""

import functools
import re
import socket
import ssl
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from http import HTTPStatus
from typing import ParamSpec

import click
import httpx

from potassium.cli.remote.server import Server
from potassium.cli.remote.terminal import one_line, seconds_shown, styled
from potassium.client import (
    CallFailed,
    ConnectionFailed,
    DeadlineExceeded,
    JobFailed,
    Unauthorized,
)

__all__ = ["FAILED", "INTERRUPTED", "complain", "explained", "is_web_page", "speaks_plainly"]

FAILED, INTERRUPTED = 1, 130  # exit status
NO_JOBS = "There is nothing at /jobs"  # is how a server without jobs begins
SHOWN = 20  # faults of an input
TITLE = re.compile(r"<title[^>]*>(.*?)</title>", re.IGNORECASE | re.DOTALL)

P = ParamSpec("P")


def speaks_plainly(command: Callable[P, None]) -> Callable[P, None]:
    """Let a command exit with a status, and say why, where it would raise an error.

    The status is 1 for a call that failed, and 130 for Ctrl-C, which calls off what is under way.
    """

    @functools.wraps(command)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        try:
            command(*args, **kwargs)
        except CallFailed as error:
            server = Server(str(kwargs["url"]), api_key=kwargs.get("api_key"))  # type: ignore[arg-type]
            complain(*explained(error, server))
            sys.exit(FAILED)
        except OSError as error:
            if error.filename is None:
                raise  # a pipe that nobody reads any more, for example
            complain(f"{error.filename}: {error.strerror}.")
            sys.exit(FAILED)
        except KeyboardInterrupt:
            sys.exit(INTERRUPTED)

    return run


def complain(first: str, *others: str) -> None:
    """Print what is wrong to stderr."""
    text = "\n  ".join(map(one_line, (first, *others)))
    click.echo(styled("Error: ", fg="red") + text, err=True)


def explained(error: CallFailed, server: Server) -> list[str]:
    """Return lines that say what went wrong, and what to do."""
    if isinstance(error, ConnectionFailed):
        return [_of_connection(error, server)]
    if isinstance(error, DeadlineExceeded) and error.status is None:
        return [error.detail]
    if is_web_page(error.response) and not isinstance(error, JobFailed):
        return [_of_web_page(error.response, server)]
    return list(_of_problem(error, server))


def is_web_page(response: httpx.Response | None) -> bool:
    """Return whether an answer is a page for browsers, from something that is not Potassium."""
    if response is None or "x-request-id" in response.headers:
        return False
    return str(response.headers.get("content-type", "")).startswith("text/html")


def _of_connection(error: ConnectionFailed, server: Server) -> str:
    causes = [*_causes(error)]
    if any(isinstance(one, ConnectionRefusedError) for one in causes):
        return (
            f"Nothing listens at {server.url}: the connection was refused. Is the server running? "
            "`potassium serve app.py` starts one."
        )
    if any(isinstance(one, socket.gaierror) for one in causes):
        return f"{server.url} cannot be reached: there is no host of this name."
    if any(isinstance(one, ssl.SSLError) for one in causes):
        return f"{server.url} cannot be reached over TLS: {error.detail}"
    if any(isinstance(one, httpx.ConnectError | httpx.ConnectTimeout) for one in causes):
        return f"{server.url} cannot be reached: {error.detail or 'it does not answer'}."
    return f"The connection to {server.url} broke off: {error.detail}"


def _causes(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__


def _of_web_page(response: httpx.Response | None, server: Server) -> str:
    assert response is not None  # noqa: S101 - see is_web_page
    title = ""
    with suppress(httpx.ResponseNotRead):  # of a stream, only the head has arrived
        found = TITLE.search(response.text)
        title = f" ({' '.join(found[1].split())!r})" if found else ""
    return (
        f"{server.url} answered {response.status_code} with a web page{title}, not as Potassium "
        "does. Is the URL right? A proxy may answer in the place of the server."
    )


def _of_problem(error: CallFailed, server: Server) -> Iterator[str]:
    if isinstance(error, JobFailed):
        yield f"The job has no output. {error.code}: {error.detail}"
    elif error.status is None or error.status < HTTPStatus.BAD_REQUEST:
        yield error.detail
    else:
        yield f"The server answered {error.status} {error.code}: {error.detail}"
    for fault in error.errors[:SHOWN]:
        where = fault.get("loc") or ()
        yield f"{'.'.join(map(str, where)) or 'the input'}: {fault.get('msg')}"
    if len(error.errors) > SHOWN:
        yield f"and {len(error.errors) - SHOWN} more"
    if error.detail.startswith(NO_JOBS):
        yield "Its app has no background jobs, or is mounted below a path that the URL lacks."
    if isinstance(error, Unauthorized) and error.status == HTTPStatus.UNAUTHORIZED:
        if server.api_key is None:
            yield "Give an API key: --api-key KEY, or POTASSIUM_API_KEY in the environment."
        else:
            yield "Its API keys do not include the one that you gave."
    if error.retry_after is not None:
        yield f"It suggests to try again in {seconds_shown(error.retry_after)}."
    if error.request_id:
        yield f"Request id, for the server's log: {error.request_id}"
