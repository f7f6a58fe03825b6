"""A database file with many queued jobs, and a count of a file's jobs by status."""

import asyncio
import sqlite3
import time
from contextlib import closing
from pathlib import Path

from potassium.jobs.model import NewJob
from potassium.jobs.sqlite.store import SqliteStore

AT_ONCE = 1000  # jobs per transaction
HEADERS = [("host", "127.0.0.1:8000"), ("content-type", "application/json")]


def _job(number: int, handler: str, body: str) -> NewJob:
    return NewJob(
        id=f"{number:032x}",
        handler=handler,
        body=body.encode(),
        headers=HEADERS,
        request_id=f"{number}",
        created_at=time.time(),
        fingerprint=bytes(32),
    )


async def _fill(path: Path, jobs: int, handler: str, body: str) -> None:
    store = SqliteStore(path)
    await store.open()
    for first in range(0, jobs, AT_ONCE):
        numbers = range(first, min(first + AT_ONCE, jobs))
        await asyncio.gather(*(store.submit(_job(one, handler, body)) for one in numbers))
    await store.close()


def fill(path: Path, jobs: int, *, handler: str, body: str) -> float:
    """Queue ``jobs`` jobs in a new file, through the store itself; return the jobs per second."""
    began = time.perf_counter()
    asyncio.run(_fill(path, jobs, handler, body))
    return jobs / (time.perf_counter() - began)


def count(path: Path, status: str) -> int:
    """Return how many jobs in the file have the status; no server may have the file open."""
    with closing(sqlite3.connect(path)) as db:
        ((jobs,),) = db.execute("SELECT count(*) FROM jobs WHERE status = ?", (status,))
        return int(jobs)
