"""``potassium check``: finds mistakes in an app without loading its model."""

import sys
from dataclasses import astuple, fields
from pathlib import Path
from typing import TYPE_CHECKING

import click

from potassium.cli.apps import target_argument, tell
from potassium.cli.findings import counted, json_option, show_findings, show_json, show_table
from potassium.cli.text import CONTEXT
from potassium.errors import UsageError
from potassium.project.finding import problem
from potassium.project.target import Target
from potassium.project.traces import is_of_user, user_lines

if TYPE_CHECKING:
    from potassium.project.checks.report import Report

__all__ = ["command"]


@click.command("check", context_settings=CONTEXT)
@target_argument
@json_option
def command(target: str | None, as_json: bool) -> None:  # noqa: FBT001 - click passes it by name
    """Import the app in TARGET, show its handlers, and find mistakes.

    init does not run, so no model is loaded and no GPU is needed. Nothing is served either. The
    status is 1 if there is a problem; notes do not count.

    \b
    Examples:
      potassium check
      potassium check app.py
      potassium check package.app:app --json
    """  # noqa: D301 - click's sign for lines to be left as they are
    report = _report(Target.of(target, Path.cwd()))
    if as_json:
        show_json(report.document())
    else:
        _show(report)
    sys.exit(0 if report.is_good else 1)


def _report(target: Target) -> "Report":
    """Return what there is to say of an app, also if it cannot be imported.

    Raises:
        UsageError: there is no such app.

    """
    # They import the server and pydantic, which the help of the command need not wait for.
    from potassium.project.checks.imports import shadows  # noqa: PLC0415
    from potassium.project.checks.report import Report, report_on  # noqa: PLC0415
    from potassium.project.unserved import import_unserved  # noqa: PLC0415

    try:
        return report_on(import_unserved(target, tell=tell))
    except KeyboardInterrupt:
        raise
    except SystemExit as error:
        why = f"{target.module} ends the process when it is imported, with status {error.code}."
        found = problem("import", why, 'Do that below: if __name__ == "__main__":')
    except BaseException as error:
        if isinstance(error, UsageError) and not is_of_user(error):
            raise  # it is about the command
        found = problem("import", user_lines(error))
    return Report(app=None, file=target.module, findings=[*shadows(target.folder), found])


def _show(report: "Report") -> None:
    if report.app is not None:
        click.echo(f"{report.app}, in {report.file}\n")
    if report.handlers:
        heads = [one.name for one in fields(report.handlers[0])]
        show_table(heads, [astuple(row) for row in report.handlers])
        click.echo()
    if report.findings:
        show_findings(report.findings)
        click.echo()
    click.echo(f"{counted(report.findings)}.")
