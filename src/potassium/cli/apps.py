"""Apps, as arguments of commands."""

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, TypeVar

import click
from click.shell_completion import CompletionItem

from potassium.errors import UsageError
from potassium.project.traces import is_of_user, user_lines

if TYPE_CHECKING:
    from potassium.app import Potassium
    from potassium.project.target import Target
    from potassium.project.unserved import Unserved

__all__ = ["files", "load", "load_unserved", "target_argument", "tell"]

T = TypeVar("T")


def files(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete an argument with the names of files."""
    del ctx, param
    return [CompletionItem(incomplete, type="file")]


target_argument = click.argument("target", required=False, shell_complete=files)


def load(target: "Target") -> "Potassium":
    """Import an app for a command; if that fails, show where, without our own lines.

    Raises:
        UsageError: there is no such app.
        SystemExit: its module raised an error, which was printed; the status is 1.

    """
    return _or_exit(target, target.load)


def load_unserved(target: "Target", *, passes: tuple[type[Exception], ...] = ()) -> "Unserved":
    """Import an app as ``load`` does, for a command that only looks at it.

    Args:
        target: where the app is.
        passes: errors of its module that are raised instead of being printed.

    """
    from potassium.project.unserved import import_unserved  # noqa: PLC0415 - not for those that serve

    return _or_exit(target, lambda: import_unserved(target, tell=tell), passes)


def tell(text: str) -> None:
    """Say what takes long, to people and not to what reads stdout."""
    click.echo(text, err=True)


def _or_exit(
    target: "Target", importing: Callable[[], T], passes: tuple[type[Exception], ...] = ()
) -> T:
    try:
        return importing()
    except passes:
        raise
    except Exception as error:
        if isinstance(error, UsageError) and not is_of_user(error):
            raise  # it is about the command
        click.echo(user_lines(error), err=True)
    click.echo(f"Error: {target.module} could not be imported, see above.", err=True)
    sys.exit(1)
