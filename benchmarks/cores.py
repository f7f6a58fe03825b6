"""Whether this machine has two cores to give: as a script, time a computation in pure Python."""

import statistics
import subprocess
import sys
import time

import work

SECONDS = 0.2  # of CPU time
TRIES = 3
FREE = 1.8  # times the work of one process: what counts as two free cores


def twice() -> float:
    """Return how many times the work of one busy process two of them do in the same time."""
    iterations = work.calibrated(SECONDS)
    return statistics.median(_together(iterations) for _ in range(TRIES))


def _together(iterations: int) -> float:
    (alone,), (one, other) = _timed(iterations, 1), _timed(iterations, 2)
    return alone / one + alone / other


def _timed(iterations: int, processes: int) -> list[float]:
    """Return the seconds that the computation takes in each of the processes, all at once."""
    command = [sys.executable, __file__, str(iterations)]
    started = [
        subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(processes)
    ]
    return [float(process.communicate()[0]) for process in started]


if __name__ == "__main__":
    began = time.perf_counter()
    work.compute(int(sys.argv[1]))
    print(time.perf_counter() - began)
