"""``potassium build``: keeps what init loads, so that the app starts fast."""

import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from potassium.cli.apps import target_argument, tell
from potassium.cli.findings import json_option, show_json, show_table
from potassium.cli.text import CONTEXT
from potassium.errors import UsageError
from potassium.project.target import Target

if TYPE_CHECKING:
    from potassium.building.answers import BuildCall
    from potassium.building.build import Built

__all__ = ["command"]


@click.command("build", context_settings=CONTEXT)
@target_argument
@click.option(
    "--call",
    "calls",
    multiple=True,
    metavar="[PATH=]FILE",
    help="Make this call before and after: body.json for /, or /embed=body.json. The answers must "
    "be alike.",
)
@json_option
def command(target: str | None, calls: tuple[str, ...], as_json: bool) -> None:  # noqa: FBT001
    """Keep what the init of the app in TARGET loads, so that it starts fast.

    init runs once, now. What it has loaded is written to .potassium/fastboot beside its file,
    restored in another process, and compared. From then on, the app restores it instead of running
    init, until your code, a package, a file or a variable that it depends on changes.

    With --call, what torch.compile makes while the calls run is kept, too.

    \b
    Examples:
      potassium build
      potassium build app.py --call body.json
      potassium build app.py --call /embed=body.json
    """  # noqa: D301 - click's sign for lines to be left as they are
    from potassium.building.build import NotBuilt, build  # noqa: PLC0415 - not for the help

    try:
        built = build(Target.of(target, Path.cwd()), _calls(calls), tell)
    except NotBuilt as error:
        tell(f"{error}\nError: there is no new snapshot, see above.")
        sys.exit(1)
    if as_json:
        show_json(_document(built))
    else:
        _show(built)


def _calls(given: tuple[str, ...]) -> "list[BuildCall]":
    from potassium.building.answers import BuildCall  # noqa: PLC0415 - as above

    calls = []
    for one in given:
        path, equals, body = one.partition("=") if one.startswith("/") else ("/", "=", one)
        if not equals or not Path(body).is_file():
            raise UsageError(
                f"--call {one}: there is no such file. Write FILE, or PATH=FILE for a handler that "
                "is not at /, such as /embed=body.json."
            )
        calls.append(BuildCall(path, Path(body).absolute()))
    return calls


def _document(built: "Built") -> dict[str, Any]:
    return {
        "snapshot": str(built.folder),
        "objects_bytes": built.manifest.objects_size,
        "tensors_bytes": built.manifest.tensors_size,
        "compiled_bytes": built.compiled,
        "seconds": [asdict(one) for one in built.phases],
        "answers_vary": built.varying,
        "fits": asdict(built.manifest.keys),
    }


def _show(built: "Built") -> None:
    manifest = built.manifest
    chunks = len(manifest.chunks)
    click.echo(f"\nKept in {built.folder}, and compared:\n")
    rows = [
        ("tensors.bin", _size(manifest.tensors_size), f"{chunks} storages of tensors and arrays"),
        ("objects.pkl", _size(manifest.objects_size), "everything else in the cache"),
    ]
    if built.compiled:
        rows.append(("compiled", _size(built.compiled), "what compilers made for the calls"))
    show_table(["file", "size", "what"], rows)
    click.echo()
    seconds = [(one.name, f"{one.plain:.2f} s", f"{one.restored:.2f} s") for one in built.phases]
    show_table(["start", "with init", "restored"], seconds)
    click.echo()
    if built.varying:
        click.echo(f"Not compared, because it varies: what {', '.join(built.varying)} answers.")
    click.echo("The app restores it from now on, until something differs that init depends on.")


def _size(count: int) -> str:
    for unit, name in ((2**30, "GiB"), (2**20, "MiB"), (2**10, "KiB")):
        if count >= unit:
            return f"{count / unit:.1f} {name}"
    return f"{count} bytes"
