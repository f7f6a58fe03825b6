"""Send random requests to an app over bare ASGI, in this process, and check every answer.

The app must never raise an exception, never answer 500 unless a handler asked for it, and never
leave a request without an end. Each answer must have a request id, and each error must be a problem
document. Nothing may wait once all requests have been answered. Input N of a seed is always the
same: ``--seed S --only N`` repeats it. With ``--sockets``, inputs are bytes for a server instead;
see fuzz_wire.py.
"""

import argparse
import asyncio
import faulthandler
import logging
import random
import sys
import time
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import orjson
import uvloop
from fuzz_app import PATHS, SLOW_PATH, build
from fuzz_check import faults
from fuzz_input import Input, Message, make
from fuzz_wire import report_wire, run_wire

from potassium import Potassium

TIME_LIMIT = 10.0  # seconds for the inputs that are in flight together
AT_A_TIME = 24  # three times the queue size, so that some are refused
ENOUGH = 10  # failures after which to stop


@dataclass
class Findings:
    """How the inputs were answered, and which of them failed."""

    statuses: Counter[tuple[str, str]] = field(default_factory=Counter)
    failures: list[tuple[int, str]] = field(default_factory=list)


async def call(app: Potassium, given: Input) -> list[Message]:
    """Send one input to the app and return what it sent."""
    coming = iter(given.messages)
    sent: list[Message] = []

    async def receive() -> Any:
        for message in coming:
            if isinstance(message, dict):
                return message
            await asyncio.sleep(message)
        if given.leaves:
            return {"type": "http.disconnect"}  # servers repeat this message
        await asyncio.Event().wait()
        return None

    async def send(message: Any) -> None:
        sent.append(message)

    await app(dict(given.scope), receive, send)
    return sent


async def attempt(app: Potassium, number: int, given: Input, findings: Findings) -> None:
    """Send one input and record the outcome."""
    try:
        sent = await call(app, given)
        fault = faults(given, sent)
    except Exception as error:  # noqa: BLE001 - this is what is looked for
        findings.failures.append((number, f"raised {error!r}"))
        return
    path = given.scope["path"].removeprefix("/model")
    path = path if path in (*PATHS, SLOW_PATH) else "others"
    findings.statuses[path, str(sent[0]["status"]) if sent else "none, client left"] += 1
    if fault:
        findings.failures.append((number, fault))


async def waiting(app: Potassium) -> int:
    """Return how many calls wait, as the app reports."""
    scope = {"type": "http", "method": "GET", "path": "/_k/status", "headers": []}
    _, body = await call(app, Input(scope=scope, messages=[], body=b"", leaves=True, complete=True))
    length: int = orjson.loads(body["body"])["queue"]["length"]
    return length


async def together(app: Potassium, seed: int, numbers: list[int], findings: Findings) -> bool:
    """Send some inputs at once; return whether all have ended and no call still waits."""
    tasks = {
        asyncio.ensure_future(attempt(app, number, make(seed, number), findings)): number
        for number in numbers
    }
    _, pending = await asyncio.wait(tasks, timeout=TIME_LIMIT)
    for task in pending:
        findings.failures.append((tasks[task], f"no end within {TIME_LIMIT:.0f} s"))
        task.cancel()
    if pending:
        await asyncio.wait(pending, timeout=TIME_LIMIT)
        return False
    end = time.monotonic() + TIME_LIMIT
    while left := await waiting(app):
        if time.monotonic() > end:
            findings.failures.append((numbers[0], f"{left} wait when all have been answered"))
            return False
        await asyncio.sleep(0.001)
    return True


def groups(seed: int, inputs: int) -> Iterator[list[int]]:
    """Yield the numbers of the inputs that are sent together."""
    chance = random.Random(seed)  # noqa: S311 - to be repeated, not to be secret
    number = 0
    while number < inputs:
        size = min(chance.randint(1, AT_A_TIME), inputs - number)
        yield list(range(number, number + size))
        number += size


async def run(seed: int, batches: Iterator[list[int]]) -> Findings:
    """Send all inputs to one app; stop early if inputs do not end or enough of them have failed."""
    app, findings = build(), Findings()
    async with app.lifespan():
        tasks = len(asyncio.all_tasks())
        for numbers in batches:
            # A loop that hangs cannot say so: this is another thread, which shows where it hangs.
            faulthandler.dump_traceback_later(4 * TIME_LIMIT, exit=True)
            usable = await together(app, seed, numbers, findings)
            if not usable or len(findings.failures) >= ENOUGH:
                break
        faulthandler.cancel_dump_traceback_later()
        await asyncio.sleep(0.05)  # lets the watchers of ended calls end
        more = len(asyncio.all_tasks()) - tasks
        if more > 0:
            findings.failures.append((0, f"{more} tasks are left"))
    return findings


def report(seed: int, findings: Findings, seconds: float) -> None:
    """Print how the inputs were answered, and each failure with its input."""
    total = findings.statuses.total()
    print(f"Seed {seed}: {total} inputs, {total / seconds:.0f} a second")
    print("| path | answers |")
    print("| --- | --- |")
    for path in sorted({path for path, _ in findings.statuses}):
        counts = sorted((s, n) for (p, s), n in findings.statuses.items() if p == path)
        print(f"| {path} | {', '.join(f'{status}: {count}' for status, count in counts)} |")
    for number, fault in findings.failures:
        print(f"\nFAILED: {fault} (--seed {seed} --only {number})\n{make(seed, number)!r:.800}")
    print(f"\n{len(findings.failures)} failures")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--inputs", type=int, default=100_000)
    parser.add_argument("--seed", type=int, default=random.SystemRandom().randrange(10**6))
    parser.add_argument("--only", type=int, metavar="N", help="send input N alone")
    parser.add_argument("--sockets", action="store_true", help="send bytes to a server")
    options = parser.parse_args()
    # Each of the allowed 500s logs a traceback.
    logging.getLogger("potassium").setLevel(logging.CRITICAL)
    batches = iter([[options.only]]) if options.only is not None else None
    started = time.monotonic()
    if options.sockets:
        numbers = range(options.inputs) if options.only is None else [options.only]
        found = uvloop.run(run_wire(options.seed, numbers, len(numbers)))
        report_wire(options.seed, found, time.monotonic() - started)
        sys.exit(1 if found.failures else 0)
    findings = asyncio.run(run(options.seed, batches or groups(options.seed, options.inputs)))
    report(options.seed, findings, time.monotonic() - started)
    sys.exit(1 if findings.failures else 0)


if __name__ == "__main__":
    main()
