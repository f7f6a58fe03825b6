"""What the servers of streaming.py stream: the time of each chunk's yield, and a mark."""

import time
from collections.abc import Iterator

MARK = ";"


def chunks(count: int, delay: float) -> Iterator[str]:
    """Yield chunks, each after ``delay`` seconds of work where there is any."""
    for _ in range(count):
        if delay:
            time.sleep(delay)
        yield f"{time.monotonic_ns()}{MARK}"
