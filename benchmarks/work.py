"""The work that the handlers of workers.py do, behind Potassium and behind its peers alike.

What a server does is in environment variables, which its workers see, too.
"""

import os
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

WORK = "WORK"  # which of the works below a peer does; Potassium does all of them
ITERATIONS = "ITERATIONS"  # of a call that computes in pure Python
INIT_SECONDS = "INIT_SECONDS"  # how long init takes

Work = Callable[[Any], Any]


def init() -> None:
    time.sleep(float(os.environ.get(INIT_SECONDS, "0")))


def compute(iterations: int) -> int:
    """Compute in pure Python, without ever releasing the GIL by itself."""
    value = 0
    for number in range(iterations):
        value ^= number
    return value


def calibrated(seconds: float, *, tries: int = 20) -> int:
    """Return how many iterations take that much CPU time."""
    iterations, fastest = 20_000, float("inf")
    for _ in range(tries):
        began = time.thread_time()
        compute(iterations)
        fastest = min(fastest, time.thread_time() - began)
    return round(iterations * seconds / fastest)


def busy(_: Any) -> dict[str, Any]:
    return {"out": compute(int(os.environ[ITERATIONS]))}


def noop(json_in: dict[str, Any]) -> dict[str, Any]:
    return {"out": json_in["x"]}


def echo(body: Any) -> Any:
    return body


def nap(json_in: dict[str, Any]) -> dict[str, Any]:
    """Wait, as a handler does for a GPU; return the process, and write it into a file before."""
    if json_in.get("tell"):
        Path(json_in["tell"]).write_text(f"{os.getpid()}\n")
    time.sleep(json_in["seconds"])
    return {"process": os.getpid()}


ALL: dict[str, Work] = {"busy": busy, "noop": noop, "json": echo, "bytes": echo, "nap": nap}
