"""Kill one of two workers, and measure who notices, and when there are two again.

Every kill has a server of its own. First, calls come at a steady rate, of which one worker could do
twice as many; the killed worker is idle, or in a call that is none of these. Then, without such a
load, the other worker is held, so that calls wait for the new one.
"""

import os
import signal
import sys
import tempfile
import time
import urllib.error
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from contextlib import contextmanager
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import load
import variants
import work
from serving import Server
from variants import Variant

LOAD = str(Path(__file__).with_name("steady_load.py"))
INIT = 0.5  # seconds that init takes
RATE, NAP = 100, 0.005  # calls a second, and the seconds that each takes
WARM_UP, BEFORE, AFTER = 1.0, 2.0, 2.0  # seconds of load
HELD = 0.2  # seconds from a call's beginning to its worker's end
BOUND = 8.0  # seconds to wait for an answer
AGAIN = 0.1  # seconds from one such call to the next
THREADS = 100  # more than there are calls at a time
NOTHING = 0  # instead of a status


@dataclass(frozen=True, kw_only=True)
class Answer:
    """What a caller got: a status or nothing, when, and from which process."""

    status: int
    at: float
    process: int | None = None


@dataclass(frozen=True, kw_only=True)
class Death:
    """A kill under load. Times are in seconds.

    Args:
        killed: when.
        caller: what the killed worker's caller got, if it had one.
        before: the latencies of the calls before it.
        after: those of all other calls that ended after it.
        failed: how many of those did not get 200, by what they got.

    """

    killed: float
    caller: Answer | None
    before: list[float]
    after: list[float]
    failed: Counter[int]


def _call(server: Server, **body: object) -> Answer:
    try:
        process = variants.nap(server, timeout=BOUND, **body)
    except urllib.error.HTTPError as error:
        return Answer(status=error.code, at=time.monotonic())
    except (OSError, ValueError):  # closed, or nothing in time
        return Answer(status=NOTHING, at=time.monotonic())
    return Answer(status=HTTPStatus.OK, at=time.monotonic(), process=process)


def _hold(server: Server, folder: Path, pool: ThreadPoolExecutor) -> tuple[int, Future[Answer]]:
    """Call what takes long; return the process that has begun it, and the answer to be."""
    file = folder / f"{time.monotonic_ns()}"
    answer = pool.submit(_call, server, seconds=BOUND, tell=str(file))
    end = time.monotonic() + BOUND
    while time.monotonic() < end:
        if file.exists() and (told := file.read_text()).endswith("\n"):
            return int(told), answer
        time.sleep(0.002)
    raise SystemExit(f"{server.name} does not begin a call")


@contextmanager
def _running(variant: Variant) -> Iterator[tuple[Server, Path, ThreadPoolExecutor]]:
    """Run a server, with a folder and threads for calls that are held."""
    env = {work.INIT_SECONDS: str(INIT)}
    with (
        tempfile.TemporaryDirectory() as folder,
        ThreadPoolExecutor(THREADS) as pool,  # left last: its calls end with the server
        variants.started([variant], "nap", env) as servers,
    ):
        yield servers[variant.name], Path(folder), pool


def under_load(variant: Variant, *, in_a_call: bool) -> Death:
    """Kill a worker, in a call or idle, while other calls come at a steady rate."""
    with _running(variant) as (server, folder, pool):
        seconds = WARM_UP + BEFORE + HELD + AFTER
        body = f'{{"seconds": {NAP}}}'
        arguments = map(str, (server.port, "/nap", body, RATE, seconds))
        seen = pool.submit(load.result, [sys.executable, LOAD, *arguments])
        time.sleep(WARM_UP)
        began = time.monotonic()
        time.sleep(BEFORE)
        until = time.monotonic()
        if in_a_call:
            process, answer = _hold(server, folder, pool)
            time.sleep(HELD)
        else:
            process, answer = variants.nap(server, timeout=BOUND, seconds=0), None
        killed = time.monotonic()
        os.kill(process, signal.SIGKILL)
        calls = seen.result()["calls"]
        caller = answer.result() if answer else None
    after = [(latency, status) for due, latency, status in calls if due + latency >= killed]
    return Death(
        killed=killed,
        caller=caller,
        before=[latency for due, latency, _ in calls if began <= due < until],
        after=[latency for latency, _ in after],
        failed=Counter(status for _, status in after if status != HTTPStatus.OK),
    )


def until_it_serves(variant: Variant) -> float | None:
    """Return the seconds from a worker's death until a new one answers, if it does in time.

    Calls are sent again and again, as some may wait for the worker that is held.
    """
    with _running(variant) as (server, folder, pool):
        held = [_hold(server, folder, pool)[0] for _ in range(variant.processes)]
        killed = time.monotonic()
        os.kill(held[0], signal.SIGKILL)
        calls: list[Future[Answer]] = []
        while time.monotonic() < killed + BOUND:
            calls.append(pool.submit(_call, server, seconds=0))
            wait(calls, timeout=AGAIN, return_when=FIRST_COMPLETED)
            for answer in (one.result() for one in calls if one.done()):
                if answer.status == HTTPStatus.OK and answer.process not in held:
                    return answer.at - killed
            calls = [one for one in calls if not one.done()]
    return None
