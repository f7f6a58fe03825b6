"""``potassium serve``: serves an app."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import click

from potassium.cli.apps import load, target_argument
from potassium.cli.text import CONTEXT
from potassium.config import LogFormat, Workers, workers_from
from potassium.project.target import Target
from potassium.serving.collector import COLLECTOR
from potassium.serving.snapshot_places import read_ahead_for

__all__ = ["command"]


@click.command("serve", context_settings=CONTEXT)
@target_argument
@click.option("--host", help="The address to listen on.  [default: POTASSIUM_HOST, 127.0.0.1]")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help="The port; 0 for any free one.  [default: POTASSIUM_PORT, AIP_HTTP_PORT, PORT, 8000]",
)
@click.option(
    "--workers",
    metavar="NUMBER|auto|DEVICES",
    help="Processes with a model each: a number, auto, or devices such as cuda:0,cuda:1.  "
    "[default: what the app says]",
)
@click.option("--reload", "reloads", is_flag=True, help="Reload code that changes; keep the model.")
@click.option("--log", type=click.Choice(["json", "text"]), help="The format of all log lines.")
@click.option("--access-log/--no-access-log", default=None, help="A line for each call.")
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warn", "warning", "error", "critical"]),
    help="Lines of this level and above.  [default: info]",
)
def command(  # noqa: PLR0913, PLR0917 - its options
    target: str | None,
    host: str | None,
    port: int | None,
    workers: str | None,
    reloads: bool,  # noqa: FBT001
    log: LogFormat | None,
    access_log: bool | None,  # noqa: FBT001
    log_level: str | None,
) -> None:
    """Serve the app in TARGET until Ctrl-C.

    TARGET is a file (app.py), a module (package.app), or either with the app's name (app.py:app).
    Without it, the app of this folder is served.

    With --workers auto, each GPU has a process and a model of its own, and all serve one queue.

    With --reload, the next call after you save a file runs the new code. The model stays loaded,
    unless what init runs has changed. Needs pip install "potassium[reload]". The model is in one
    process then, whatever --workers says.

    \b
    Examples:
      potassium serve
      potassium serve app.py --reload
      potassium serve app.py --workers 2
      potassium serve package.app:app --host 0.0.0.0 --port 80 --log json
    """  # noqa: D301 - Click needs the character itself
    found = Target.of(target, Path.cwd())
    options: dict[str, Any] = {} if log_level is None else {"log_level": log_level}
    with COLLECTOR.paused():
        read_ahead_for(found.folder, found.module)
        app = load(found)
        if workers is not None:
            from potassium.serving.composition import parts_of  # noqa: PLC0415 - imports the server

            plan = parts_of(app).plan
            plan.workers = _with_devices(plan.workers, workers_from(workers, "--workers"))
        if reloads:
            from potassium.reload.serve import serve_reloading  # noqa: PLC0415 - only where used

            serve_reloading(found, app, host, port, (log, access_log), options)
        else:
            app.serve(host, port, log=log, access_log=access_log, **options)


def _with_devices(own: Workers | None, asked: Workers | None) -> Workers | None:
    """Return the app's ``own`` workers on the devices that are asked for."""
    return asked if own is None or asked is None else replace(own, devices=asked.devices)
