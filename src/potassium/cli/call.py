"""``potassium call``: calls a handler."""

import sys

import click

from potassium.cli.remote.background import run_in_background
from potassium.cli.remote.complaints import FAILED, complain, explained, speaks_plainly
from potassium.cli.remote.inputs import input_of, path_and_inputs
from potassium.cli.remote.results import Results, output_option
from potassium.cli.remote.schema import Schema, complete_input, complete_path
from potassium.cli.remote.server import Server, options_of_server, server_argument
from potassium.cli.text import CONTEXT
from potassium.client import NotFound

__all__ = ["command"]

# Server-sent events say why they fail. A result that is no stream comes in its default form.
STREAM, LINES = "text/event-stream, */*;q=0.5", "application/x-ndjson, */*;q=0.5"


HELP = """
Call the handler at PATH of the server at URL, and print its result.

URL may be as short as :8000. Without PATH, the handler at / is called.

\b
INPUTS:
  key=value       a field; its type is that which the server's schema declares
  outer.key=value a field of an object
  key:=JSON       a field as JSON: n:=3, tags:='["a", "b"]', text:=@FILE
  key=@FILE       a file to upload; key=@- for standard input
  @FILE, @-       the whole input; JSON, or a file of any type

\b
Examples:
  potassium call :8000 /embed text="hello" normalize=yes
  potassium call :8000 /describe image=@cat.jpg
  potassium call :8000 /chat prompt="Tell me a story"
  potassium call :8000 /draw prompt="a cat" -o cat.png
  potassium call :8000 /train --background epochs=3
  cat input.json | potassium call https://models.example.com /embed @-

The exit status is 0, or 1 if the server answers with an error, 2 if the command is wrong, 130
after Ctrl-C, which also ends the call.
"""


@click.command("call", help=HELP, context_settings=CONTEXT)
@server_argument
@click.argument("path", required=False, shell_complete=complete_path)
@click.argument("inputs", nargs=-1, shell_complete=complete_input)
@click.option("-d", "--data", help="The whole input: JSON, @FILE, or @- for standard input.")
@output_option("Write the result to a file; - for stdout.")
@click.option("--lines", is_flag=True, help="Print a stream as lines of JSON, one for each chunk.")
@click.option("--background", is_flag=True, help="Run it as a background job, and wait for it.")
@click.option(
    "--timeout", type=click.FloatRange(0, min_open=True), metavar="SECONDS", help="For the call."
)
@options_of_server
@speaks_plainly
def command(  # noqa: PLR0913 - its options
    *,
    url: str,
    path: str | None,
    inputs: tuple[str, ...],
    data: str | None,
    output: str | None,
    lines: bool,
    background: bool,
    timeout: float | None,
    api_key: str | None,
    headers: dict[str, str],
) -> None:
    """Call a handler."""
    server = Server(url, api_key, headers)
    path, arguments = path_and_inputs(path, inputs)
    given = input_of(arguments, data, lambda: Schema.of(server).fields(path))
    results = Results(output)
    accept = "*/*" if background or results.is_to_file else LINES if lines else STREAM
    given.accept(accept, headers)
    if background:
        run_in_background(server, path, given, results, timeout)
        return
    with server.client(timeout) as client:
        try:
            results.stream(client.stream(path, given.item, into=bytes, **given.options))
        except NotFound as error:
            complain(*explained(error, server), *_handlers(server))
            sys.exit(FAILED)


def _handlers(server: Server) -> list[str]:
    """Return a line with the handlers that the server has, if it says so."""
    paths = Schema.of(server).paths
    return [f"Its handlers: {', '.join(paths)}"] if paths else []
