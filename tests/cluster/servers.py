"""Servers of one app, on one database, each behind a proxy of its own."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from textwrap import dedent
from typing import Any, LiteralString

import httpx
import psycopg
from cluster.proxy import Proxy, proxying
from e2e.jobs import SERVE, Document
from e2e.receiver import SECRET
from e2e.server import Server, free_port, python, wait_until
from support.postgres import Postgres, running

__all__ = ["Cluster", "Member", "clustered"]

GRACE = 3.0  # seconds
START_TIME = 120.0  # seconds; on a machine that has other work, a start has taken 30
SOURCE = (
    f"""
import asyncio
import os
import time
from pathlib import Path

from potassium import Batch, Jobs, Limits, Potassium, Request, Webhooks

app = Potassium(
    os.environ["NAME"],
    jobs=Jobs(url=os.environ["DATABASE"], lease=float(os.environ["LEASE"])),
    webhooks=Webhooks(
        secret="{SECRET}", client_urls=True, allow=["127.0.0.0/8"], per_host=32, timeout=2
    ),
    limits=Limits(grace_period={GRACE}),
)


@app.handler("/direct")
def direct(cache, json_in):
    return json_in


@app.background("/work")
def work(cache, json_in):
    time.sleep(json_in["seconds"])
    return json_in["number"]


@app.handler("/batch", batch=Batch(max_size=8))
def batch(cache, items: list[dict]):
    time.sleep(0.01)
    return [item["number"] for item in items]


@app.background("/flaky", attempts=3, backoff=0.1)
def flaky(cache, json_in):
    mark = Path(json_in["folder"], str(json_in["number"]))
    if mark.exists():
        return json_in["number"]
    mark.touch()
    raise ValueError("the first attempt fails")


@app.background("/fails", attempts=2, backoff=0.1)
def fails(cache, json_in):
    raise ValueError("each attempt fails")


@app.background("/stream")
def stream(cache, request: Request):
    number = request.json["number"]
    for chunk in range(10):
        request.progress(chunk / 10, f"chunk {{chunk}}")
        yield [number, chunk]
        time.sleep(0.005)


@app.background("/long", concurrency=64)
async def long(cache, json_in):
    while not os.path.exists(json_in["gate"]):
        await asyncio.sleep(0.02)
    return json_in["number"]
"""
    + SERVE
)

RUNS = """
    SELECT name FROM potassium.jobs JOIN potassium.servers ON servers.id = claimant
    WHERE jobs.id = %s AND status = 'running'
"""
POSTS = """
    SELECT name FROM potassium.deliveries JOIN potassium.servers ON servers.id = taken_by
    WHERE job_id = %s
"""


class Member:
    """One server of the cluster; it can be killed and started again on the same port.

    Attributes:
        name: that of its app, which the database knows.
        proxy: what is between it and the database.
        logs: the files of its log, one for each start.

    """

    def __init__(
        self, folder: Path, number: int, proxy: Proxy, environment: dict[str, str]
    ) -> None:
        self.name = f"server-{number}"
        self.proxy = proxy
        self.logs: list[Path] = []
        self._folder = folder
        self._port = free_port()
        self._environment = environment
        self._process: Server | None = None

    @property
    def server(self) -> Server:
        """The process that was started last."""
        assert self._process is not None
        return self._process

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def start(self) -> None:
        """Start the server, and wait until it is ready."""
        self.begin()
        wait_until(self.is_ready, "the server is ready", seconds=START_TIME)

    def begin(self) -> None:
        """Start the server."""
        self.logs.append(self._folder / f"{self.name}-{len(self.logs) + 1}.log")
        database = f"postgresql://tests@127.0.0.1:{self.proxy.port}/postgres"
        with self.logs[-1].open("wb") as log:
            process = subprocess.Popen(
                python(self._folder / "app.py"),
                cwd=self._folder,
                stdout=log,
                stderr=subprocess.STDOUT,
                env={
                    **os.environ,
                    **self._environment,
                    "DATABASE": database,
                    "NAME": self.name,
                    "POTASSIUM_PORT": str(self._port),
                    "PYTHONFAULTHANDLER": "1",
                    "PYTHONUNBUFFERED": "1",
                },
            )
        self._process = Server(process, self._port, self.logs[-1])

    @property
    def is_up(self) -> bool:
        """Whether the process runs."""
        return self._process is not None and self._process.process.poll() is None

    def is_ready(self) -> bool:
        """Return whether the server says that it is ready."""
        assert self.is_up, f"the server has ended:\n{self.server.log()}"
        try:
            return self.server.get("/readyz").status_code == httpx.codes.OK
        except httpx.TransportError:
            return False

    def kill(self) -> None:
        """End the server at once, if it has not ended."""
        if self._process is not None:
            self._process.process.kill()
            self._process.process.wait()

    def ended(self, seconds: float) -> int:
        """Return the exit status of the process; show what it does if it does not end."""
        try:
            return self.server.process.wait(seconds)
        except subprocess.TimeoutExpired:
            self.server.process.send_signal(signal.SIGABRT)
            self.server.process.wait()
            raise AssertionError(f"it does not end:\n{self.server.log()[-5000:]}") from None

    @contextmanager
    def paused(self) -> Iterator[None]:
        """Stop the process for as long as the context lasts."""
        self.server.process.send_signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.server.process.send_signal(signal.SIGCONT)


class Cluster:
    """A database and the servers on it.

    Attributes:
        lease: that of the servers, in seconds.

    """

    def __init__(
        self, folder: Path, postgres: Postgres, members: list[Member], lease: float
    ) -> None:
        self.folder = folder
        self.postgres = postgres
        self.members = members
        self.lease = lease

    def restore(self) -> None:
        """Start whatever was stopped, and wait until all servers are ready."""
        if not self.postgres.is_running:
            self.postgres.start()
        for member in self.members:
            member.proxy.pass_on()
            if not member.is_up:
                member.begin()
        for member in self.members:
            wait_until(member.is_ready, "the server is ready", seconds=START_TIME)

    def connect(self) -> "psycopg.Connection[tuple[Any, ...]]":
        """Return a connection to the database that nothing disturbs."""
        return psycopg.connect(self.postgres.url, autocommit=True)

    def running(self, job: Document, *, seconds: float = 10.0) -> Member:
        """Return the server that runs a job, once one does."""
        return self._one(RUNS, job["id"], seconds)

    def posting(self, job: Document, *, seconds: float = 10.0) -> Member:
        """Return the server that posts the webhook about a job, once one does."""
        return self._one(POSTS, job["id"], seconds)

    def others(self, member: Member) -> list[Member]:
        """Return all servers but one."""
        return [one for one in self.members if one is not member]

    def _one(self, ask: LiteralString, job_id: str, seconds: float) -> Member:
        """Return the server that a statement names."""
        names: list[str] = []

        def is_there() -> bool:
            names[:] = [name for (name,) in connection.execute(ask, [job_id]).fetchall()]
            return bool(names)

        with self.connect() as connection:
            wait_until(is_there, "a server has it", seconds=seconds)
        (member,) = [one for one in self.members if one.name == names[0].split()[0]]
        return member

    def logs(self) -> list[Path]:
        """Return the logs of all servers, those that have ended too."""
        return [log for member in self.members for log in member.logs]


@contextmanager
def clustered(
    folder: Path,
    *,
    servers: int,
    lease: float = 3.0,
    environment: dict[str, str] | None = None,
    source: str = SOURCE,
) -> Iterator[Cluster]:
    """Run servers of an app on a PostgreSQL of their own, whose commits are durable."""
    (folder / "app.py").write_text(dedent(source))
    environment = {
        "LEASE": str(lease),
        "POTASSIUM_LOG": "json",
        "POTASSIUM_METRICS": "1",
        **(environment or {}),
    }
    with ExitStack() as stack:
        postgres = stack.enter_context(running())
        socket = postgres.folder / ".s.PGSQL.5432"
        proxies = [stack.enter_context(proxying(socket)) for _ in range(servers)]
        members = [
            Member(folder, number, proxy, environment)
            for number, proxy in enumerate(proxies, start=1)
        ]
        for member in members:
            stack.callback(member.kill)
            member.start()
        yield Cluster(folder, postgres, members, lease)
