"""``potassium jobs``: looks after the background jobs of a server."""

import sys
import time
from collections.abc import Callable, Sequence
from itertools import islice
from typing import get_args

import click
import httpx
import orjson

from potassium.cli.remote.age import age
from potassium.cli.remote.background import bar
from potassium.cli.remote.complaints import FAILED, complain, explained, speaks_plainly
from potassium.cli.remote.job_text import described, event_line, listed, now
from potassium.cli.remote.results import Results, output_option
from potassium.cli.remote.server import Server, options_of_server, server_argument
from potassium.cli.remote.terminal import Lines, seconds_shown
from potassium.cli.text import CONTEXT
from potassium.client import CallFailed, Job
from potassium.client.job_record import FINAL, JobRecord, Status
from potassium.client.problems import unexpected

__all__ = ["command"]

PATIENCE = 15.0  # seconds for what a command asks about jobs
PAUSE = 2.0  # seconds between two lists that are watched

job_ids = click.argument("job_ids", metavar="ID...", nargs=-1, required=True)
as_json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON.")


@click.group("jobs", context_settings=CONTEXT)
def command() -> None:
    """List, show, cancel, retry and delete the background jobs of a server.

    \b
    Examples:
      potassium jobs list :8000 --status failed
      potassium jobs show :8000 5f0c0f3f1e2a4d7c9b8a7f6e5d4c3b2a --events
      potassium jobs retry :8000 5f0c0f3f1e2a4d7c9b8a7f6e5d4c3b2a
      potassium jobs purge :8000 --status failed --older-than 7d
    """  # noqa: D301 - click's sign for lines to be left as they are


@command.command("list", context_settings=CONTEXT)
@server_argument
@click.option("--status", type=click.Choice(get_args(Status)), help="Only jobs in this state.")
@click.option("-n", "count", type=click.IntRange(1), default=20, help="How many, at most.")
@click.option("--watch", is_flag=True, help="Show the list anew every 2 s, until Ctrl-C.")
@as_json_option
@options_of_server
@speaks_plainly
def list_jobs(  # noqa: PLR0913 - its options
    *,
    url: str,
    status: Status | None,
    count: int,
    watch: bool,
    as_json: bool,
    api_key: str | None,
    headers: dict[str, str],
) -> None:
    """List the jobs of a server, newest first.

    \b
    Examples:
      potassium jobs list :8000
      potassium jobs list :8000 --status failed -n 100 --json
      potassium jobs list :8000 --status running --watch
    """  # noqa: D301
    server = Server(url, api_key, headers)

    def some() -> Sequence[JobRecord]:
        return list(islice(client.jobs(status=status), count))

    with server.client(PATIENCE) as client:
        if as_json:
            click.echo(orjson.dumps([job.document for job in some()]))
        elif watch:
            _watch(lambda: _table(some(), status))
        else:
            click.echo("\n".join(_table(some(), status)))


def _table(jobs: Sequence[JobRecord], status: Status | None) -> list[str]:
    if not jobs:
        return [f"There are no {status + ' ' if status else ''}jobs."]
    return listed(jobs, now())


def _watch(lines: Callable[[], list[str]]) -> None:
    """Show lines until Ctrl-C: in place on a terminal, otherwise one block after the other."""
    shown = Lines(sys.stdout)
    while True:
        some = lines()
        if shown.is_shown:
            shown.show(*some)
        else:
            click.echo("\n".join([*some, ""]))
        time.sleep(PAUSE)


@command.command("show", context_settings=CONTEXT)
@server_argument
@click.argument("job_id", metavar="ID")
@click.option("--events", is_flag=True, help="Follow what happens to it until it has ended.")
@output_option("Write its output to a file; - for stdout.")
@as_json_option
@options_of_server
@speaks_plainly
def show(  # noqa: PLR0913 - its options
    *,
    url: str,
    job_id: str,
    events: bool,
    output: str | None,
    as_json: bool,
    api_key: str | None,
    headers: dict[str, str],
) -> None:
    """Show a job: its state, its progress, its error or its output.

    With --events, the exit status is 1 if the job ends without an output.

    \b
    Examples:
      potassium jobs show :8000 ID
      potassium jobs show :8000 ID --events
      potassium jobs show :8000 ID -o result.png
    """  # noqa: D301
    server = Server(url, api_key, headers)
    with server.client(PATIENCE) as client:
        job = client.job(job_id)
        if events:
            _follow(job, as_json=as_json)
            job.refresh()
        if output is not None:
            _write(job, Results(output))
        elif as_json and not events:
            click.echo(orjson.dumps(job.document))
        elif not as_json:
            click.echo("\n".join(described(job, now())))
    if events and job.status != "succeeded":
        sys.exit(FAILED)


def _follow(job: Job, *, as_json: bool) -> None:
    """Print the events of a job; its progress in place, if somebody sees it."""
    progress = Lines()
    for event in job.events():
        if as_json:
            click.echo(orjson.dumps({"id": event.id, "kind": event.kind, "data": event.data}))
        elif event.kind == "progress" and progress.is_shown:
            progress.show(bar(event.data.get("progress"), event.data.get("message")))
        else:
            progress.clear()
            click.echo(event_line(event))
    progress.clear()


def _write(job: Job, results: Results) -> None:
    if not job.has_ended:
        raise unexpected(f"The job has no output: it is {job.status}.", None)
    response = job.wait(into=httpx.Response)
    if "output_url" in job.document:
        kind = response.headers.get("content-type", "").partition(";")[0]
        results.body([response.content], kind)
    else:
        results.value(job.document.get("output"))


@command.command("cancel", context_settings=CONTEXT, short_help="Cancel jobs, queued or running.")
@server_argument
@job_ids
@options_of_server
@speaks_plainly
def cancel(
    *, url: str, job_ids: tuple[str, ...], api_key: str | None, headers: dict[str, str]
) -> None:
    """Cancel jobs: at once those that are queued; the handlers of others are told to stop.

    \b
    Example:
      potassium jobs cancel :8000 ID
    """  # noqa: D301

    def one(job: Job) -> str:
        job.cancel()
        if job.has_ended:
            return job.status
        return "is running: its handler is told to stop"

    _each(Server(url, api_key, headers), job_ids, one)


@command.command("retry", context_settings=CONTEXT)
@server_argument
@job_ids
@options_of_server
@speaks_plainly
def retry(
    *, url: str, job_ids: tuple[str, ...], api_key: str | None, headers: dict[str, str]
) -> None:
    """Queue failed jobs again.

    \b
    Example:
      potassium jobs retry :8000 ID
    """  # noqa: D301
    _each(Server(url, api_key, headers), job_ids, lambda job: job.retry().status)


def _each(server: Server, job_ids: Sequence[str], change: Callable[[Job], str]) -> None:
    """Change jobs, and print what came of each; exit with 1 if one was not changed."""
    failed = False
    with server.client(PATIENCE) as client:
        for job_id in job_ids:
            try:
                click.echo(f"{job_id} {change(client.job(job_id))}")
            except CallFailed as error:
                failed = True
                first, *others = explained(error, server)
                complain(f"{job_id}: {first}", *others)
    if failed:
        sys.exit(FAILED)


@command.command("purge", context_settings=CONTEXT)
@server_argument
@click.option(
    "--status",
    "statuses",
    type=click.Choice(FINAL),
    multiple=True,
    help="Only jobs that ended in this way; may be repeated.",
)
@click.option(
    "--older-than",
    default="0",
    callback=age,
    metavar="AGE",
    help="Only jobs that ended so long ago: 90 (seconds), 30m, 12h or 7d.",
)
@click.option("-y", "--yes", is_flag=True, help="Do not ask.")
@options_of_server
@speaks_plainly
def purge(  # noqa: PLR0913 - its options
    *,
    url: str,
    statuses: tuple[Status, ...],
    older_than: int,
    yes: bool,
    api_key: str | None,
    headers: dict[str, str],
) -> None:
    """Delete jobs that have ended, with their outputs and events.

    Jobs whose webhooks have not been delivered are kept.

    \b
    Examples:
      potassium jobs purge :8000 --status failed
      potassium jobs purge :8000 --older-than 7d --yes
    """  # noqa: D301
    server = Server(url, api_key, headers)
    if not yes:
        which = ", ".join(statuses) if statuses else "all ended"
        aged = f" that ended more than {seconds_shown(older_than)} ago" if older_than else ""
        click.confirm(f"Delete {which} jobs{aged} at {server.url}?", abort=True)
    with server.client() as client:
        for status in statuses or FINAL:
            deleted = client.purge(status, older_than=older_than)
            click.echo(f"{deleted} {status} {'job' if deleted == 1 else 'jobs'} deleted")
