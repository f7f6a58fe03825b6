"""``potassium dockerfile``: prints the Dockerfile of an app."""

import re
import sys
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potassium.cli.apps import load_unserved, target_argument, tell
from potassium.cli.output import output_option, put
from potassium.cli.text import CONTEXT
from potassium.errors import UsageError
from potassium.project.target import Target
from potassium.project.traces import user_lines

if TYPE_CHECKING:
    from potassium.app import Potassium
    from potassium.deployment import Accelerator, ImageFacts

__all__ = ["command"]

IGNORED = ".dockerignore"


def version_of_python(
    _context: click.Context, _option: click.Parameter, version: str | None
) -> str | None:
    """Return ``version``, if Potassium runs on it."""
    if version is not None and not re.match(r"3\.(1[1-9]|[2-9]\d)(?!\d)", version):
        raise click.BadParameter(f"{version!r} is not 3.11 or later; write it like 3.13.")
    return version


@click.command("dockerfile", context_settings=CONTEXT)
@target_argument
@output_option
@click.option("--force", is_flag=True, help="Overwrite the file that -o names.")
@click.option(
    "--cuda/--cpu",
    "cuda",
    default=True,
    help="Whether torch, if the app needs it, is to be the build for NVIDIA GPUs, or the much "
    "smaller one for CPUs alone.",
)
@click.option(
    "--python",
    metavar="VERSION",
    callback=version_of_python,
    help="The version of Python.  [default: that in .python-version, or the one that runs this]",
)
@click.option(
    "--port",
    type=click.IntRange(1, 65535),
    help="The port that the server listens on.  [default: as the app says, 8000]",
)
@click.option(
    "--fastboot",
    is_flag=True,
    help="Put what init loads into the image, as potassium build does. With --cpu only.",
)
def command(  # noqa: PLR0913, PLR0917 - one for each option
    target: str | None,
    output: Path | None,
    force: bool,  # noqa: FBT001 - click passes them by name
    cuda: bool,  # noqa: FBT001
    python: str | None,
    port: int | None,
    fastboot: bool,  # noqa: FBT001
) -> None:
    """Print a Dockerfile for the app in TARGET.

    Its layers keep requirements, model and code apart, and its server runs as a user without
    rights. If the folder has a script download.py, the image has what that downloads.

    The app is imported to see its limits and where its jobs are kept; its model is not loaded.

    \b
    Examples:
      potassium dockerfile app.py
      potassium dockerfile app.py --cpu --python 3.13 -o Dockerfile
      potassium dockerfile app.py --cpu --fastboot
    """  # noqa: D301 - click's sign for lines to be left as they are
    # It imports the server, which the help of the command need not wait for.
    from potassium.deployment import render_dockerfile, render_dockerignore  # noqa: PLC0415

    if output is not None and output.exists() and not force:
        raise UsageError(f"{output} exists; to overwrite it, add --force.")
    if fastboot and cuda:
        raise UsageError(
            "--fastboot: an image is built without a GPU, and what was loaded without one does not "
            "fit where there is one. Add --cpu, or run potassium build where the server runs."
        )
    found = Target.of(target, Path.cwd())
    facts = replace(_facts(found, "cuda" if cuda else "cpu", python, port), fastboot=fastboot)
    put(render_dockerfile(facts).encode(), output)
    folder = found.folder if output is None else output.parent
    if (folder / IGNORED).exists():
        return
    if output is not None:
        put(render_dockerignore().encode(), folder / IGNORED)
    else:
        tell(f"There is no {IGNORED} in {folder}; with -o Dockerfile, one is written, too.")


def _facts(
    target: Target, accelerator: "Accelerator", python: str | None, port: int | None
) -> "ImageFacts":
    from potassium.deployment import image_facts  # noqa: PLC0415 - as above

    app = _imported(target)
    file = target.folder / f"{target.module}.py"
    is_alone = file.is_file() and target.name is None
    name = f"{target.module}.py" if is_alone else f"{target.module}:{_name(app, target)}"
    facts = image_facts(
        str(file) if is_alone else name,
        app,
        folder=target.folder,
        python=python,
        port=port,
        accelerator=accelerator,
    )
    return replace(facts, target=name)


def _name(app: "Potassium | None", target: Target) -> str:
    """Return what the module of an app calls it."""
    names = vars(sys.modules[target.module]) if app is not None else {}
    found = (name for name, value in names.items() if value is app)
    return target.name or next(found, "app")


def _imported(target: Target) -> "Potassium | None":
    """Return the app, or None with a warning: what it imports may be installed in the image only.

    Raises:
        UsageError: there is no such app.

    """
    try:
        return load_unserved(target, passes=(ImportError,)).app
    except ImportError as error:
        tell(
            f"{user_lines(error)}\n{target.module} could not be imported, see above: taking its "
            "limits and its folder of jobs for the default ones."
        )
        return None
