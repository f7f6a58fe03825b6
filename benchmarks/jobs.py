"""Measure background jobs: how fast they are stored, when webhooks arrive, and a large backlog.

Run with ``nox -s jobs``. The server and the load generator run in their own processes, on the same
cores. Jobs have no-op handlers and are stored in a file on the disk of ``--folder``. That disk's
own rate is measured too: appends with ``fsync``, of one record and of 64 at a time. Every server is
a new one with its own file. Each figure is compared with a direct call of the same handler, or with
the same figure for an empty file, from the same round.

With ``--postgres URL``, jobs are stored in that database, see ``jobs_postgres.py``.
"""

import argparse
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import backlog
import disk
import jobs_postgres
import jobs_report
import load
from disturbance import Patience
from jobs_report import Accepts, Round, Start, Webhooks
from report import machine
from serving import Server, free_port

BODY = '{"x": 1.0}'
CONNECTIONS = 64
WARM_UP = 1.0  # seconds
NOBODY = 9  # port of the discard service, for servers whose results are not posted
STUCK, DONE = "/stuck", "/done"  # jobs that never run, and jobs that do


@contextmanager
def serving(path: Path, receiver: int = NOBODY) -> Iterator[Server]:
    """Run a server with its jobs in a file; it posts results to the port ``receiver``."""
    server = Server("jobs_potassium", str(path), f"http://127.0.0.1:{receiver}/")
    try:
        server.wait_until_it_is_ready()
        yield server
    finally:
        server.stop()


def submitted(server: Server, path: str, seconds: float) -> load.Load:
    """Put load on the server, after a warm-up.

    Raises:
        SystemExit: an answer was not a success.

    """
    for spent in (WARM_UP, seconds):
        seen = load.post(server.port, BODY, connections=CONNECTIONS, seconds=spent, path=path)
    if seen.errors:
        raise SystemExit(f"{path}: {seen.errors} errors under load")
    return seen


def accepts(folder: Path, path: str, seconds: float) -> Accepts:
    """Measure how many submits per second are answered, and how fast the disk is by itself."""
    one, many = (disk.synced(folder, together=count, seconds=1) for count in (1, CONNECTIONS))
    file = folder / "accepts.db"
    with serving(file) as server:
        direct = submitted(server, "/", seconds)
        began = time.perf_counter()
        jobs = submitted(server, path, seconds)
    ended = backlog.count(file, "succeeded") / (time.perf_counter() - began)
    return Accepts(jobs=jobs, direct=direct, one=one, many=many, ended=ended)


def webhooks(folder: Path, jobs: int) -> Webhooks:
    """Measure the time from a submit to its webhook."""
    receiver = free_port()
    synced = disk.synced(folder, together=1, seconds=1)
    with serving(folder / "webhooks.db", receiver) as server:
        script = str(Path(__file__).with_name("webhook_load.py"))
        seen = load.result([sys.executable, script, *map(str, (server.port, receiver, jobs))])
    return Webhooks(**seen, sync=1 / synced)


def start(folder: Path, filled: Path | None, seconds: float) -> Start:
    """Measure a server's start, rate and memory, with the jobs of the file ``filled`` if given."""
    file = folder / "start.db"
    if filled is not None:
        shutil.copy(filled, file)
    began = time.perf_counter()
    with serving(file) as server:
        ready = time.perf_counter() - began
        at_rest = server.resident()
        rate = submitted(server, STUCK, seconds).rate
        return Start(ready=ready, rate=rate, at_rest=at_rest, after_load=server.resident())


class Rounds:
    """Measures in a new folder each time, while other processes leave the machine alone."""

    def __init__(self, parent: str, patience: float) -> None:
        self._parent = parent
        self._patience = Patience(patience)

    @contextmanager
    def folder(self) -> Iterator[Path]:
        with tempfile.TemporaryDirectory(prefix=".jobs-", dir=self._parent) as name:
            yield Path(name)

    def measure(self, take: Callable[[Path], Round]) -> Round:
        """Return the least disturbed measurement."""

        def in_new_folder() -> Round:
            with self.folder() as folder:
                return take(folder)

        seen, others = self._patience.measure(in_new_folder)
        seen.others = others
        return seen


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--seconds", type=float, default=4, help="of load that counts, each time")
    parser.add_argument("--webhooks", type=int, default=500, help="jobs in each round")
    parser.add_argument("--queued", type=int, default=100_000, help="jobs that wait")
    parser.add_argument("--folder", default=".", help="on the disk that is to be measured")
    parser.add_argument(
        "--patience",
        type=float,
        default=120,
        help="seconds to wait in all, while others use the machine",
    )
    parser.add_argument("--postgres", metavar="URL", help="a database that may have new schemas")
    given = parser.parse_args()
    if given.postgres:
        print(f"Machine: {machine()}, load from {load.generator()}")
        jobs_postgres.measure(given.postgres, rounds=given.rounds, seconds=given.seconds)
        return
    rounds = Rounds(given.folder, given.patience)
    seconds: float = given.seconds
    print(__doc__)
    print(f"Machine: {machine()}, load from {load.generator()}")
    seen: dict[str, list[Accepts]] = {}
    for path, name in ((STUCK, "do not run meanwhile"), (DONE, "run meanwhile")):
        take = partial(accepts, path=path, seconds=seconds)
        seen[name] = [rounds.measure(take) for _ in range(given.rounds)]
    jobs_report.accepts(seen)
    post = partial(webhooks, jobs=given.webhooks)
    jobs_report.webhooks([rounds.measure(post) for _ in range(given.rounds)])
    with rounds.folder() as folder:
        filled = folder / "filled.db"
        rate = backlog.fill(filled, given.queued, handler=STUCK, body=BODY)
        print(f"\n{given.queued} jobs were stored by the store itself: {rate:.0f} a second.")
        takes = [partial(start, filled=file, seconds=seconds) for file in (None, filled)]
        starts = [[rounds.measure(take) for take in takes] for _ in range(given.rounds)]
    empty, full = zip(*starts, strict=True)
    jobs_report.starts(empty, full, given.queued)


if __name__ == "__main__":
    main()
