"""``potassium doctor``: looks at the machine that a server is to run on."""

import sys
from pathlib import Path

import click

from potassium.cli.apps import target_argument, tell
from potassium.cli.findings import counted, json_option, show_findings, show_json
from potassium.cli.text import CONTEXT
from potassium.config import Jobs
from potassium.doctor.examination import examine
from potassium.doctor.machine import this_machine
from potassium.errors import UsageError
from potassium.project.finding import Finding, Level, problem
from potassium.project.target import Target
from potassium.project.traces import is_of_user, user_lines
from potassium.project.unserved import import_unserved
from potassium.serving.composition import parts_of

__all__ = ["command"]


@click.command("doctor", context_settings=CONTEXT)
@target_argument
@json_option
def command(target: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Look at the machine: GPU, driver and torch, folders, limits, ports, variables.

    Each line says what is fine, what is worth knowing (note) and what does not work (problem), with
    what to type. With TARGET, that app is imported to see where it keeps its background jobs; its
    model is not loaded. The status is 1 if there is a problem.

    Type it where the server is to run: docker run --rm --gpus all IMAGE potassium doctor

    \b
    Examples:
      potassium doctor
      potassium doctor app.py
      potassium doctor --json
    """  # noqa: D301 - click's sign for lines to be left as they are
    jobs, shared_jobs, found = _jobs(target)
    machine = this_machine(jobs, shared_jobs)
    if machine.version("torch") is not None:
        tell("Importing torch in a process of its own, which takes a while...\n")
    found += examine(machine)
    is_good = all(one.level is not Level.PROBLEM for one in found)
    if as_json:
        show_json({"findings": [one.document() for one in found], "ok": is_good})
    else:
        show_findings(found)
        click.echo(f"\n{counted(found)}.")
    sys.exit(0 if is_good else 1)


def _jobs(target: str | None) -> tuple[Path | None, Jobs | None, list[Finding]]:
    """Return where the jobs of an app are, or those in this folder: the file, or the database.

    The last item says why that is unknown.

    Raises:
        UsageError: there is no such app.

    """
    usual = Path(str(Jobs().path))
    if target is None:
        return (usual if usual.parent.is_dir() else None), None, []
    try:
        app = import_unserved(Target.of(target, Path.cwd()), tell=tell).app
    except Exception as error:
        if isinstance(error, UsageError) and not is_of_user(error):
            raise  # it is about the command
        return None, None, [problem("app", user_lines(error), f"potassium check {target}")]
    options = parts_of(app).plan.jobs
    if options is None or not options.is_in_file:
        return None, options, []
    return Path(str(options.path)), None, []
