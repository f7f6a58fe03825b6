"""A PostgreSQL server of the tests' own, on a Unix socket, in a temporary folder."""

import atexit
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from itertools import count
from pathlib import Path

import pytest

from potassium.config import Jobs

__all__ = ["Postgres", "jobs", "server"]

_numbers = count()


def program(name: str) -> str:
    """Return the path of a program of PostgreSQL; without PostgreSQL, skip or fail."""
    folders = Path("/usr/lib/postgresql").glob("*/bin")  # where Debian keeps them
    newest = max(folders, key=lambda folder: int(folder.parent.name), default=Path())
    found = shutil.which(name, path=newest) or shutil.which(name)
    if found is None and os.environ.get("CLUSTER") == "required":
        pytest.fail("PostgreSQL is not installed: apt-get install postgresql")
    if found is None:
        pytest.skip("PostgreSQL is not installed")
    return found


class Postgres:
    """A database cluster that can be started, stopped and killed.

    It runs as the user ``postgres`` where the tests run as root, whom it refuses.

    Args:
        settings: for its command line, beside those that keep it off the network.

    """

    def __init__(self, *settings: str) -> None:
        self.folder = Path(tempfile.mkdtemp(prefix="potassium-postgres-"))
        self._user = "postgres" if os.geteuid() == 0 else None
        if self._user is not None:
            shutil.chown(self.folder, self._user)
        self._settings = ["listen_addresses=", f"unix_socket_directories={self.folder}", *settings]
        try:
            self._run("initdb", "--auth=trust", "--username=tests", "--encoding=UTF8", "--locale=C")
        except BaseException:
            self.remove()
            raise

    @property
    def url(self) -> str:
        """That of the database."""
        return f"postgresql://tests@/postgres?host={self.folder}"

    @property
    def is_running(self) -> bool:
        """Whether the server was started and not stopped."""
        return (self.folder / "data" / "postmaster.pid").exists()

    def start(self) -> None:
        """Start the server, and wait until it is up."""
        options = " ".join(f"-c {setting}" for setting in self._settings)
        self._run("pg_ctl", "--wait", f"--options={options}", f"--log={self.folder}/log", "start")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; ``immediate`` is as if it had crashed."""
        self._run("pg_ctl", "--wait", f"--mode={mode}", "stop")

    def processes(self) -> list[int]:
        """Return the process ids of the server: of the first process, and of its children."""
        first = (self.folder / "data" / "postmaster.pid").read_text().partition("\n")[0]
        children = Path(f"/proc/{first}/task/{first}/children").read_text().split()
        return [int(first), *map(int, children)]

    def remove(self) -> None:
        """Stop the server for good, and delete all of it."""
        if self.is_running:
            self.stop("immediate")
        shutil.rmtree(self.folder)

    def _run(self, name: str, *arguments: str) -> None:
        command = [program(name), f"--pgdata={self.folder / 'data'}", *arguments]
        with (self.folder / "out").open("ab") as out:
            subprocess.run(
                command,
                check=True,
                cwd=self.folder,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                user=self._user,
            )


@contextmanager
def running(*settings: str) -> Iterator[Postgres]:
    """Return a running server of one's own."""
    postgres = Postgres(*settings)
    try:
        postgres.start()
        yield postgres
    finally:
        postgres.remove()


@cache
def server() -> Postgres:
    """Return the server that all tests of a process share. It need not survive anything."""
    postgres = Postgres("fsync=off", "synchronous_commit=off", "shared_buffers=32MB")
    atexit.register(postgres.remove)
    postgres.start()
    return postgres


def jobs(**options: object) -> Jobs:
    """Return options for a store with tables of its own on the shared server."""
    schema = f"tests_{os.getpid()}_{next(_numbers)}"
    return Jobs(**{"url": server().url, "schema": schema, **options})  # type: ignore[arg-type]
