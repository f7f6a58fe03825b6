"""The command ``potassium``: its subcommands, each imported when it is used."""

import os
from difflib import get_close_matches
from importlib import import_module
from importlib.metadata import version
from typing import NoReturn

import click

from potassium.cli.text import CONTEXT, Group
from potassium.errors import UsageError

__all__ = ["COMMANDS", "cli", "main"]

# Subcommands in the order of the help, and what each does in a line. The module
# ``potassium.cli.NAME`` has each as ``command``.
COMMANDS = {
    "new": "Write a new project: an app, its test, its Dockerfile.",
    "serve": "Serve an app, and reload its code while you change it.",
    "call": "Call a handler of a server.",
    "bench": "Measure a handler under load.",
    "jobs": "Look after the background jobs of a server.",
    "status": "Watch a server.",
    "check": "Find mistakes in an app without loading its model.",
    "build": "Keep what init loads, so that an app starts fast.",
    "doctor": "Look at the machine: GPU, torch, folders, limits, ports.",
    "openapi": "Print the OpenAPI document of an app.",
    "dockerfile": "Print a Dockerfile for an app.",
    "ray": "Run an app on Ray Serve, with several replicas.",
}


class Commands(Group):
    """Imports a subcommand when it is used: the help of one does not pay for all."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of all subcommands."""
        del ctx
        return list(COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Return a subcommand by its name; None if there is none."""
        del ctx
        if cmd_name not in COMMANDS:
            return None
        command = import_module(f"potassium.cli.{cmd_name}").command
        assert isinstance(command, click.Command)  # noqa: S101 - see COMMANDS
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find the subcommand of a command line, or say which ones have a similar name."""
        try:
            return super().resolve_command(ctx, args)
        except click.UsageError as error:
            similar = get_close_matches(args[0], COMMANDS, n=1)
            if not similar:
                raise
            raise click.UsageError(f"{error.message} Did you mean '{similar[0]}'?", ctx) from None

    def summary(self, name: str) -> str:
        """Return what a subcommand does, without importing it."""
        return COMMANDS[name]


@click.group(cls=Commands, context_settings=CONTEXT)
@click.version_option(version("potassium"), prog_name="potassium", message="%(prog)s %(version)s")
def cli() -> None:
    """Put an AI model behind HTTP.

    \b
    Examples:
      potassium new sentiment
      potassium serve app.py --reload
      potassium call :8000 /summarize text="A long story."

    Completion for your shell: eval "$(_POTASSIUM_COMPLETE=bash_source potassium)"; also zsh and
    fish.
    """  # noqa: D301 - click's sign for lines to be left as they are


def main() -> NoReturn:
    """Run the command line of this process; exit with its status.

    Raises:
        SystemExit: always; 0 on success, 2 for a command that is wrong, 1 for any other failure.

    """
    try:
        if "_POTASSIUM_COMPLETE" in os.environ:
            import_module("potassium.cli.completion")  # which click then finds
        cli(prog_name="potassium")
    except UsageError as error:
        click.echo(f"Error: {error}", err=True)
        raise SystemExit(2) from None
    raise SystemExit(0)
