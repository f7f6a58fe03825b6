"""``potassium status``: watches a server."""

import sys
import time
from collections.abc import Callable

import click
import orjson

from potassium.cli.remote.complaints import explained, speaks_plainly
from potassium.cli.remote.server import Page, Server, options_of_server, server_argument
from potassium.cli.remote.status_text import Seen, lines
from potassium.cli.remote.terminal import Lines, styled
from potassium.cli.text import CONTEXT
from potassium.client import ConnectionFailed, DeadlineExceeded, Refused, ServerFailed
from potassium.client.problems import unexpected

__all__ = ["command"]

PATH = "/_k/status"
PAUSE = 1.0  # seconds between two looks
GONE = (ConnectionFailed, DeadlineExceeded, Refused, ServerFailed)  # the server may come back


@click.command("status", context_settings=CONTEXT)
@server_argument
@click.option("--once", is_flag=True, help="Look once, as it is where nobody watches.")
@click.option("--json", "as_json", is_flag=True, help="Print JSON, once.")
@options_of_server
@speaks_plainly
def command(
    *, url: str, once: bool, as_json: bool, api_key: str | None, headers: dict[str, str]
) -> None:
    """Watch a server: its state, its queue, its workers, its handlers, jobs and webhooks.

    On a terminal, it looks each second until Ctrl-C, and goes on if the server stops and comes
    back. Elsewhere it looks once.

    \b
    Examples:
      potassium status :8000
      potassium status :8000 --once
      potassium status https://models.example.com --json | jq .queue
    """  # noqa: D301 - click's sign for lines to be left as they are
    server = Server(url, api_key, headers)
    screen = Lines(sys.stdout)
    with server.pages() as page:
        if as_json:
            click.echo(orjson.dumps(_seen(page).document))
        elif once or not screen.is_shown:
            click.echo("\n".join(lines(server.url, _seen(page), None)))
        else:
            Watch(server, page, screen).run()


class Watch:
    """Shows the status of a server in place, again and again."""

    def __init__(
        self,
        server: Server,
        page: Page,
        screen: Lines,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        self._server, self._page, self._screen = server, page, screen
        self._clock, self._sleep = clock, sleep
        self._seen: Seen | None = None
        self._answered_at = clock()

    def run(self) -> None:
        """Show it until Ctrl-C.

        Raises:
            CallFailed: the server is none of Potassium, or wants an API key.

        """
        while True:
            self.look()
            self._sleep(PAUSE)

    def look(self) -> None:
        """Ask once, and show what there is to show."""
        before = self._seen
        try:
            self._seen = _seen(self._page, self._clock)
        except GONE as error:
            silence = self._clock() - self._answered_at
            last = [] if before is None else lines(self._server.url, before, None)
            self._screen.show(
                styled(f"No answer for {silence:.0f} s.", fg="red", bold=True),
                *explained(error, self._server)[:1],
                "",
                *last,
            )
        else:
            self._answered_at = self._seen.at
            self._screen.show(*lines(self._server.url, self._seen, before))


def _seen(page: Page, clock: Callable[[], float] = time.monotonic) -> Seen:
    document = page(PATH)
    if not isinstance(document, dict) or "state" not in document:
        raise unexpected("The answer is not the status of a Potassium server.", None)
    return Seen(document, clock())
