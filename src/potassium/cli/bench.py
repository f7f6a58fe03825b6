"""``potassium bench``: measures a handler under load."""

import asyncio
import sys
import time
from collections.abc import Callable
from contextlib import suppress

import click
import orjson

from potassium.cli.load import report
from potassium.cli.load.figures import Figures
from potassium.cli.load.generator import Load, Terms
from potassium.cli.load.target import Target, target_of
from potassium.cli.remote.complaints import FAILED, INTERRUPTED, speaks_plainly
from potassium.cli.remote.inputs import Input, input_of, path_and_inputs
from potassium.cli.remote.schema import Schema, complete_input, complete_path
from potassium.cli.remote.server import Server, options_of_server, server_argument
from potassium.cli.remote.terminal import Lines
from potassium.cli.text import CONTEXT
from potassium.client import Refused

__all__ = ["command"]

CLOSED, OPEN = 32, 512  # connections, without a rate and with one
DURATION = 10.0  # seconds
LINES = "application/x-ndjson, */*;q=0.5"  # each chunk of a stream is a line

HELP = """
Call the handler at PATH from many connections, and print how fast it answers.

The inputs are those of `potassium call`. One call is made first: what is wrong with it shows
before the load begins.

\b
Examples:
  potassium bench :8000 /embed text="hello"
  potassium bench :8000 /embed text="hello" -c 128 -d 30 --json
  potassium bench :8000 /embed text="hello" --rate 200
  potassium bench :8000 /chat prompt="Hi" -n 100 -c 8

Without --rate, each connection calls again as soon as it is answered. That shows how much the
server can do. It does not show how long clients wait that come when they like: while the
server is slow, nobody calls. With --rate, calls are due at fixed times, and the time of each
counts from when it was due.
"""


@click.command("bench", help=HELP, context_settings=CONTEXT)
@server_argument
@click.argument("path", required=False, shell_complete=complete_path)
@click.argument("inputs", nargs=-1, shell_complete=complete_input)
@click.option("--data", help="The whole input: JSON, @FILE, or @- for standard input.")
@click.option(
    "-c",
    "--connections",
    type=click.IntRange(1, 20_000),
    help=f"How many calls run at a time, at most.  [default: {CLOSED}; {OPEN} with --rate]",
)
@click.option(
    "-d",
    "--duration",
    type=click.FloatRange(0, min_open=True),
    help="Seconds to measure.  [default: 10]",
)
@click.option("-n", "--calls", type=click.IntRange(1), help="End after so many calls.")
@click.option(
    "--warmup", type=click.FloatRange(0), help="Seconds that do not count.  [default: 1; 0 with -n]"
)
@click.option(
    "--rate",
    type=click.FloatRange(0, min_open=True),
    help="Calls per second, however fast the answers.",
)
@click.option("--wait", is_flag=True, help="Wait as long as refusals ask for (Retry-After).")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), default=60, help="Seconds for a call."
)
@click.option("--json", "as_json", is_flag=True, help="Print JSON; times in seconds.")
@options_of_server
@speaks_plainly
def command(  # noqa: PLR0913 - its options
    *,
    url: str,
    path: str | None,
    inputs: tuple[str, ...],
    data: str | None,
    connections: int | None,
    duration: float | None,
    calls: int | None,
    warmup: float | None,
    rate: float | None,
    wait: bool,
    timeout: float,
    as_json: bool,
    api_key: str | None,
    headers: dict[str, str],
) -> None:
    """Measure a handler."""
    server = Server(url, api_key, headers)
    path, arguments = path_and_inputs(path, inputs)
    given = input_of(arguments, data, lambda: Schema.of(server).fields(path))
    given.accept(LINES, headers)
    terms = Terms(
        connections=connections or (CLOSED if rate is None else OPEN),
        seconds=DURATION if duration is None and calls is None else duration,
        calls=calls,
        warmup=(1.0 if calls is None else 0.0) if warmup is None else warmup,
        rate=rate,
        waits=wait,
        timeout=timeout,
    )
    _try(server, path, given, timeout)
    target = target_of(server, path, given)
    figures = _run(target, terms)
    if as_json:
        click.echo(orjson.dumps(report.document(target.url, figures, terms)))
    else:
        click.echo("\n".join(report.lines(target.url, figures, terms)))
    if figures.is_cut:
        sys.exit(INTERRUPTED)
    if not figures.times:
        sys.exit(FAILED)


def _try(server: Server, path: str, given: Input, timeout: float) -> None:
    """Make one call, and read all of its answer; whether it is refused does not matter.

    Raises:
        CallFailed: it failed in another way.

    """
    with server.client(timeout) as client, suppress(Refused):
        for _ in client.stream(path, given.item, into=bytes, **given.options):
            pass


def _run(target: Target, terms: Terms) -> Figures:
    progress, began = Lines(), time.monotonic()

    def tell(figures: Figures, under_way: int) -> None:
        progress.show(report.progress(figures, under_way, time.monotonic() - began))

    async def load() -> Figures:
        return await Load(target, terms, tell).run()

    try:
        with asyncio.Runner(loop_factory=_new_loop()) as runner:
            return runner.run(load())
    finally:
        progress.clear()


def _new_loop() -> Callable[[], asyncio.AbstractEventLoop] | None:
    try:
        import uvloop  # noqa: PLC0415 - not on Windows
    except ImportError:
        return None
    return uvloop.new_event_loop
