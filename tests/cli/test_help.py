"""The help of every command."""

import re
import shlex
from collections.abc import Iterator
from importlib import import_module

import click
import pytest
from click.testing import CliRunner

from potassium.cli.main import COMMANDS, cli


def commands() -> Iterator[tuple[str, ...]]:
    """Yield the names that lead to each command."""
    for name in COMMANDS:
        yield (name,)
        command = import_module(f"potassium.cli.{name}").command
        if isinstance(command, click.Group):
            yield from ((name, inner) for inner in command.list_commands(click.Context(command)))


def examples(*path: str) -> list[str]:
    """Return the lines of the help that are examples."""
    told = CliRunner().invoke(cli, [*path, "--help"])
    assert told.exit_code == 0
    below = re.search(r"^  Examples?:\n((?:    .+\n)+)", told.stdout, re.MULTILINE)
    return [] if below is None else [line.strip() for line in below[1].splitlines()]


@pytest.mark.parametrize("path", [(), *commands()], ids=" ".join)
def test_each_command_shows_examples_that_can_be_typed(path: tuple[str, ...]) -> None:
    """Their commands, options and arguments exist; nothing is run."""
    shown = examples(*path)
    assert shown
    for line in shown:
        (own,) = (part for part in re.split(r" [|>] ", line) if part.startswith("potassium "))
        words = shlex.split(own)[1:]
        assert words[: len(path)] == [*path]
        context, command = click.Context(cli), cli
        while isinstance(command, click.Group):
            _, command, words = command.resolve_command(context, words)  # type: ignore[assignment]
            context = click.Context(command)
        command.make_context(None, words, parent=context)
