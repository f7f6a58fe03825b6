"""The chunks that streaming.py's servers stream: the time of each chunk's yield, and a mark."""

import time
from collections.abc import Iterator

MARK = ";"


def chunks(count: int, delay: float) -> Iterator[str]:
    """Yield ``count`` chunks, each after ``delay`` seconds of work, or at once if that is 0."""
    for _ in range(count):
        if delay:
            time.sleep(delay)
        yield f"{time.monotonic_ns()}{MARK}"
