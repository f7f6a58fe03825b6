"""``potassium new``: writes a new project."""

import os
import shlex
from importlib.metadata import version
from pathlib import Path

import click
from click.shell_completion import CompletionItem

from potassium.cli.text import CONTEXT
from potassium.project.scaffold import TEMPLATES, write_project

__all__ = ["command"]


def folders(ctx: click.Context, param: click.Parameter, incomplete: str) -> list[CompletionItem]:
    """Let the shell complete an argument with the names of folders."""
    del ctx, param
    return [CompletionItem(incomplete, type="dir")]


@click.command("new", context_settings=CONTEXT)
@click.argument("folder", metavar="NAME", type=click.Path(path_type=Path), shell_complete=folders)
@click.option(
    "--template",
    type=click.Choice(TEMPLATES),
    default="plain",
    help="plain: an answer for each call; stream: token by token; torch: a model in batches.",
)
def command(folder: Path, template: str) -> None:
    """Write a new project into the folder NAME; a dot is the folder that you are in.

    It has an app that runs as it is, its test, its requirements and its Dockerfile. Nothing is
    overwritten: the folder must be new, or have nothing in it but such as .git and .venv.

    \b
    Examples:
      potassium new sentiment
      potassium new chat --template stream
      potassium new .
    """  # noqa: D301 - click's sign for lines to be left as they are
    written = write_project(folder, template, version("potassium"))
    for name in written:
        click.echo(f"  {folder / name}")
    click.echo("\nNext:")
    if folder.resolve() != Path.cwd():
        click.echo(f"  cd {shlex.quote(os.fspath(folder))}")
    click.echo("  pip install -r requirements.txt pytest")
    click.echo("  pytest")
    click.echo("  python app.py")
    click.echo("\nPut your model into init in app.py; README.md says what else there is.")
