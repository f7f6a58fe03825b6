"""The server that a command talks to, and the options that say how."""

import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import partial
from typing import Any, TypeAlias, TypeVar

import click
import httpx

from potassium.client import Client
from potassium.client.attempts import Attempts
from potassium.client.options import ClientSettings, Settings
from potassium.client.results import answer_as
from potassium.client.runs import Runner
from potassium.client.steps import Flow

__all__ = ["Page", "Server", "options_of_server", "server_argument", "url_of"]

PORT = re.compile(r":?(\d+)(/.*)?")
SCHEME = re.compile(r"[a-z][a-z0-9+.-]*://", re.IGNORECASE)
PATIENCE = 3.0  # seconds for a page about the server itself

Command = TypeVar("Command", bound=Callable[..., Any])
Page: TypeAlias = Callable[[str], Any]


@dataclass(frozen=True)
class Server:
    """A server, and what is sent to it with each request.

    Attributes:
        url: of the server; with a path, if the app is mounted below one.
        api_key: sent with each request.
        headers: sent with each request.

    """

    url: str
    api_key: str | None = None
    headers: Mapping[str, str] = field(default_factory=dict)

    def client(self, deadline: float | None = None) -> Client:
        """Return a client. It tries once: who types a command sees what is wrong, and decides."""
        return Client(self.url, deadline=deadline, **self.options)

    @property
    def options(self) -> dict[str, Any]:
        """The options of a client of this server."""
        return {"api_key": self.api_key, "headers": self.headers, "retries": 0}

    @contextmanager
    def pages(self, patience: float = PATIENCE) -> Iterator[Page]:
        """Yield a function that loads a page about the server itself, which is JSON.

        It raises ``CallFailed``.

        Args:
            patience: seconds for each page.

        """
        given = ClientSettings(**self.options, deadline=patience)
        with httpx.Client(**given.arguments(self.url)) as http:
            run = Runner(http, given.settings(http.build_request))
            yield lambda path: run(_page(run.settings, path)).result()


def _page(settings: Settings, path: str) -> Flow[Any]:
    attempts = Attempts(
        settings=settings, deadline=settings.ends_at(None), idempotent=True, retries=0
    )
    return answer_as(None, (yield from attempts.answer(partial(settings.build, "GET", path))))


def url_of(text: str) -> str:
    """Return the URL that ``text`` means: the scheme, and the host of a port, may be missing.

    Raises:
        click.BadParameter: it is not the URL of a server.

    """
    url = text.strip()
    if port := PORT.fullmatch(url):
        url = f"localhost:{port[1]}{port[2] or ''}"
    if not SCHEME.match(url):
        url = f"http://{url}"
    try:
        ClientSettings().arguments(url)
    except (ValueError, httpx.InvalidURL):
        raise click.BadParameter(
            f"{text!r} is not the URL of a server: write it like localhost:8000."
        ) from None
    return url


def _url(_: click.Context, __: click.Parameter, text: str) -> str:
    return url_of(text)


def _headers(_: click.Context, __: click.Parameter, given: tuple[str, ...]) -> dict[str, str]:
    headers = {}
    for one in given:
        name, colon, value = one.partition(":")
        if not colon or not name.strip() or not one.isascii():
            raise click.BadParameter(f"{one!r}: write 'Name: value'.")
        headers[name.strip()] = value.strip()
    return headers


def _api_key(_: click.Context, __: click.Parameter, key: str | None) -> str | None:
    try:
        ClientSettings(api_key=key)
    except ValueError:
        raise click.BadParameter("it is empty, or has white space or a line end.") from None
    return key


server_argument = click.argument("url", callback=_url)


def options_of_server(command: Command) -> Command:
    """Add the options ``--api-key`` and ``-H`` to a command."""
    for option in (
        click.option(
            "-H",
            "--header",
            "headers",
            multiple=True,
            callback=_headers,
            metavar="'NAME: VALUE'",
            help="A header to send; may be repeated.",
        ),
        click.option(
            "--api-key",
            envvar="POTASSIUM_API_KEY",
            callback=_api_key,
            metavar="KEY",
            help="The API key.  [default: POTASSIUM_API_KEY]",
            show_default=False,
        ),
    ):
        command = option(command)
    return command
