"""Background jobs, followed until they have ended."""

import shlex
from collections.abc import Callable

import anyio
import click
import httpx

from potassium.cli.remote.inputs import Input
from potassium.cli.remote.results import Results
from potassium.cli.remote.server import Server
from potassium.cli.remote.terminal import Lines, one_line, styled
from potassium.client import AsyncClient, AsyncJob, JobEvent, UnexpectedAnswer
from potassium.client.problems import deadline_exceeded, unexpected

__all__ = ["Progress", "bar", "run_in_background", "write_output"]

NO_JOBS = (
    "The server ran the call at once, and no result is kept: its app has no background jobs. Leave "
    "--background out, or give the app jobs=Jobs(...)."
)
WIDTH = 30  # characters of a bar


class Progress:
    """Shows on stderr how far a job is, in place, if that is a terminal."""

    def __init__(self, job_id: str) -> None:
        self._lines = Lines()
        self._job_id = job_id

    @property
    def is_shown(self) -> bool:
        """Whether anybody sees it."""
        return self._lines.is_shown

    def tell(self, event: JobEvent) -> None:
        """Show what has happened to the job."""
        if event.kind == "status":
            self._lines.show(f"{self._job_id} {event.data['status']}")
        elif event.kind == "progress":
            self._lines.show(bar(event.data.get("progress"), event.data.get("message")))

    def clear(self) -> None:
        """Take it away."""
        self._lines.clear()


def bar(progress: float | None, message: str | None) -> str:
    """Return a bar for a share from 0 to 1."""
    share = min(max(progress or 0.0, 0.0), 1.0)
    full = round(share * WIDTH)
    shown = styled("█" * full, fg="green") + "·" * (WIDTH - full)
    return f"{shown} {share:4.0%} {one_line(message or '')}".rstrip()


async def follow(job: AsyncJob, tell: Callable[[JobEvent], object]) -> None:
    """Call ``tell`` with each event of a job, until the job has ended."""
    async with job.events() as events:
        async for event in events:
            tell(event)


async def write_output(job: AsyncJob, results: Results) -> None:
    """Write the output of a job once it has ended.

    Raises:
        JobFailed: it has none.
        Binary: it is binary, and would be written to a terminal.

    """
    response = await job.wait(into=httpx.Response)
    if "output_url" in job.document:  # it is large, or no JSON
        kind = response.headers.get("content-type", "").partition(";")[0]
        results.body([response.content], kind)
    else:
        results.value(job.document.get("output"))


def run_in_background(
    server: Server, path: str, given: Input, results: Results, timeout: float | None
) -> None:
    """Submit a job, wait until it has ended, and write its output.

    Ctrl-C ends the wait, and not the job.

    Raises:
        CallFailed: the job was not accepted, has failed, or has not ended in time.

    """

    async def run() -> None:
        async with AsyncClient(server.url, **server.options) as client:
            try:
                job = await client.submit(path, given.item, **given.options)
            except UnexpectedAnswer as error:
                raise unexpected(NO_JOBS, error.response) from error
            goes_on = f"It goes on: potassium jobs show {shlex.quote(server.url)} {job.id}"
            progress = Progress(job.id)
            try:
                with anyio.fail_after(timeout):
                    if progress.is_shown:
                        await follow(job, progress.tell)
                        progress.clear()
                    await job.wait(into=httpx.Response)
            except TimeoutError:
                late = f"The job has not ended within {timeout:g} s. {goes_on}"
                raise deadline_exceeded(late) from None
            except anyio.get_cancelled_exc_class():
                progress.clear()
                click.echo(f"Job {job.id} was not cancelled. {goes_on}", err=True)
                raise
            finally:
                progress.clear()
            await write_output(job, results)

    anyio.run(run)
