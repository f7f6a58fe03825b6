"""How help looks."""

from typing import Any

import click

__all__ = ["CONTEXT", "Group"]

CONTEXT: dict[str, Any] = {
    "help_option_names": ["-h", "--help"],
    "max_content_width": 100,
    "show_default": True,
}


class Group(click.Group):
    """A group of commands that knows what each does without importing it."""

    def summary(self, name: str) -> str:
        """Return what a subcommand does, in a line."""
        raise NotImplementedError

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the list of all subcommands."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, self.summary(name)) for name in self.list_commands(ctx)])
