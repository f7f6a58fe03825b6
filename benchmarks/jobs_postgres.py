"""Measure background jobs in PostgreSQL: submits, two servers that run them, a long queue.

Run with ``nox -s jobs -- --postgres URL``. The database keeps its settings: ``fsync`` and
``synchronous_commit`` should be on. Servers, the load generator and the database share the machine.
Each round has schemas of its own.
"""

import asyncio
import json
import os
import statistics
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from itertools import count
from typing import Any

import load
import psycopg
from report import milliseconds, row, table, verdict
from serving import Server

from potassium import Jobs
from potassium.jobs.model import NewJob
from potassium.jobs.postgres.store import PostgresStore

BODY = '{"x": 1.0}'
CONNECTIONS = 64
NOBODY = "http://127.0.0.1:9/"
STUCK, DONE = "/stuck", "/done"  # jobs that never run, and jobs that do
DRAINED = 20_000  # jobs that two servers run
STARTS = 300  # jobs, one after the other
QUEUED = 500_000
CLAIMS = 100
TOGETHER = 8  # jobs in a claim

ACCEPTED = 4000  # a second, at least
ENDED = 2000  # a second, at least
START = 0.015  # seconds, at most
CLAIM = 0.020  # seconds, at most
RATE = 0.8  # of that of an empty queue, at least

COLUMNS = """
    SELECT string_agg(column_name, ', ') FROM information_schema.columns
    WHERE table_schema = %s AND table_name = 'jobs' AND column_name NOT IN ('seq', 'id', 'rank')
"""

_numbers = count()


class Database:
    """A database in which every measurement gets a schema of its own."""

    def __init__(self, url: str) -> None:
        self.url = url

    @contextmanager
    def schema(self) -> Iterator[str]:
        name = f"benchmark_{os.getpid()}_{next(_numbers)}"
        try:
            yield name
        finally:
            self.execute(f"DROP SCHEMA IF EXISTS {name} CASCADE")

    def execute(self, statement: str, *values: object) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(statement.encode(), values or None)
            return cursor.fetchall() if cursor.description else []

    @contextmanager
    def servers(self, schema: str, number: int) -> Iterator[list[Server]]:
        with ExitStack() as stack:
            servers = []
            for _ in range(number):
                servers.append(Server("jobs_potassium", f"{self.url}#{schema}", NOBODY))
                stack.callback(servers[-1].stop)
            for server in servers:
                server.wait_until_it_is_ready()
            yield servers

    def fill(self, schema: str, jobs: int, handler: str) -> None:
        """Queue ``jobs`` jobs, all like one that is submitted."""

        async def submit() -> None:
            async with opened(self.url, schema) as store:
                await store.submit(_job(handler))

        asyncio.run(submit())
        ((columns,),) = self.execute(COLUMNS, schema)
        self.execute(
            f"INSERT INTO {schema}.jobs (id, {columns}) SELECT md5(n::text), {columns} "  # noqa: S608
            f"FROM {schema}.jobs, generate_series(2, {jobs}) AS n"
        )
        self.execute(f"ANALYZE {schema}.jobs")


class opened:  # noqa: N801 - used as a function
    """A store that is open in a ``with`` block."""

    def __init__(self, url: str, schema: str) -> None:
        self._store = PostgresStore(url, Jobs(url=url, schema=schema, max_queued=10**9))

    async def __aenter__(self) -> PostgresStore:
        await self._store.open()
        return self._store

    async def __aexit__(self, *_: object) -> None:
        await self._store.close()


def _job(handler: str) -> NewJob:
    headers = [("host", "127.0.0.1:8000"), ("content-type", "application/json")]
    return NewJob(
        id=f"{next(_numbers):032x}",
        handler=handler,
        body=BODY.encode(),
        headers=headers,
        request_id="1",
        created_at=time.time(),
        fingerprint=bytes(32),
    )


def accepts(database: Database, seconds: float, queued: int = 0) -> tuple[load.Load, load.Load]:
    """Return what submits and direct calls saw, with so many jobs in the queue already."""
    with database.schema() as schema:
        if queued:
            database.fill(schema, queued, STUCK)
        with database.servers(schema, 1) as (server,):
            seen = {}
            for path in (STUCK, "/"):
                for spent in (1.0, seconds):
                    seen[path] = load.post(
                        server.port, BODY, connections=CONNECTIONS, seconds=spent, path=path
                    )
                if seen[path].errors:
                    raise SystemExit(f"{path}: {seen[path].errors} errors under load")
        return seen[STUCK], seen["/"]


def drained(database: Database) -> float:
    """Return how many jobs end per second while two servers run what is queued."""
    with database.schema() as schema:
        database.fill(schema, DRAINED, DONE)
        with database.servers(schema, 2):
            first, last = None, None
            while last is None or last[1] < DRAINED:
                ((ended,),) = database.execute(
                    f"SELECT count(*) FROM {schema}.jobs WHERE status = 'succeeded'"  # noqa: S608
                )
                last = (time.perf_counter(), ended)
                first = first if first or ended < DRAINED / 10 else last
                time.sleep(0.05)
    assert first is not None
    return float(last[1] - first[1]) / (last[0] - first[0])


def starts(database: Database) -> list[float]:
    """Return the seconds from a submit until the job began on another server."""
    seen = []
    with database.schema() as schema, database.servers(schema, 2) as (here, _):
        for number in range(STARTS):
            request = urllib.request.Request(
                f"http://127.0.0.1:{here.port}/where",
                BODY.encode(),
                {"Content-Type": "application/json", "Prefer": "wait=10"},
            )
            began = time.time()
            with urllib.request.urlopen(request) as answer:
                told = json.load(answer)
            if told["process"] != here.process.pid and number >= STARTS / 10:
                seen.append(told["at"] - began)
    return seen


def claims(database: Database, queued: int) -> list[float]:
    """Return the seconds that claims take while so many jobs are queued."""

    async def claim(schema: str) -> list[float]:
        seen = []
        async with opened(database.url, schema) as store:
            for _ in range(CLAIMS):
                began = time.perf_counter()
                jobs = await store.claim(handlers=[STUCK, DONE], limit=TOGETHER, now=store.clock())
                seen.append(time.perf_counter() - began)
                assert len(jobs) == TOGETHER
        return seen

    with database.schema() as schema:
        database.fill(schema, queued, STUCK)
        return asyncio.run(claim(schema))


def measure(url: str, *, rounds: int, seconds: float) -> None:
    """Print the medians of the rounds."""
    print(__doc__)
    database = Database(url)
    ((version,),) = database.execute("SHOW server_version")
    settings = [
        f"{name} {database.execute(f'SHOW {name}')[0][0]}"
        for name in ("fsync", "synchronous_commit", "shared_buffers")
    ]
    print(f"PostgreSQL {version}, {', '.join(settings)}; medians of {rounds} rounds")
    rates, direct, latencies, tails, ended, began, claimed, long = ([] for _ in range(8))
    for _ in range(rounds):
        jobs, calls = accepts(database, seconds)
        full, _ = accepts(database, seconds, QUEUED)
        rates.append(jobs.rate)
        direct.append(jobs.rate / calls.rate)
        latencies.append(jobs.p50)
        tails.append(jobs.p99)
        long.append(full.rate / jobs.rate)
        ended.append(drained(database))
        began.append(statistics.median(starts(database)))
        claimed.append(statistics.median(claims(database, QUEUED)))
    middle = statistics.median
    table("", "measured", "target", "")
    least("submits accepted a second, 64 connections", middle(rates), ACCEPTED)
    row("their median and p99", f"{milliseconds(middle(latencies))}, {milliseconds(middle(tails))}")
    row("ratio to direct calls", f"{middle(direct):.2f}")
    least("jobs ended a second by two servers", middle(ended), ENDED)
    most("from submit to start on the other server", middle(began), START)
    most(f"a claim with {QUEUED} queued", middle(claimed), CLAIM)
    least(f"submits with {QUEUED} queued, ratio to none", middle(long), RATE)


def least(name: str, seen: float, target: float) -> None:
    row(name, f"{seen:.2f}", f"at least {target}", verdict(reached=seen >= target))


def most(name: str, seen: float, target: float) -> None:
    reached = verdict(reached=seen <= target)
    row(name, milliseconds(seen), f"at most {milliseconds(target)}", reached)
