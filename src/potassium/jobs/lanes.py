"""How many jobs of which handlers are claimed ahead."""

from collections.abc import Iterable, Sequence
from math import inf

from potassium.handlers.handler import Handler
from potassium.jobs.inputs import size_of
from potassium.jobs.model import StoredJob

__all__ = ["lanes_of"]

# Short jobs are claimed ahead, so that the thread does not wait for the store: as many as take this
# long together.
AHEAD = 0.2  # seconds
MOST_AHEAD = 64  # jobs

# Jobs that have begun may be in the side pool, while the thread goes on to the next ones. How many
# are claimed in all is bounded, as they are in memory.
MOST_CLAIMED = 256  # jobs, or two batches if those are more
SHORTEST = 1e-6  # seconds
SLACK = 0.001  # seconds


class _Lane:
    """Jobs that wait for one another; see the interface ``Lane``."""

    def __init__(self, *handlers: Handler, workers: int) -> None:
        self.has_workers = workers > 0
        self._places = max(1, workers)  # where they run at the same time
        self.handlers: Sequence[str] = [handler.path for handler in handlers]
        self._spooling = {handler.path for handler in handlers if not handler.bind.needs_bytes}
        self._operations = [handler.operation for handler in handlers]

    def room(self, waiting: int, claimed: int, quiet: float) -> int:
        """Return how many more jobs may be claimed."""
        first = self._operations[0]
        if first.batching is not None:
            size = first.batching.rule.max_size
            most = max(MOST_CLAIMED, 2 * size * self._places)
            return min(size * self._places - waiting, most - claimed)
        means = [operation.service_time.mean for operation in self._operations]
        slowest = max((mean for mean in means if mean is not None), default=inf)
        ahead = self._places * min(MOST_AHEAD, int(AHEAD / max(slowest, SHORTEST)))
        # Under load, the loop may take many times as long to get here as the job takes.
        if quiet > (2 * slowest + SLACK if claimed else AHEAD):
            ahead = 0  # what runs is not a short job, or may not be one
        more = min(ahead - waiting, MOST_CLAIMED - claimed)
        return max(more, (first.concurrency or self._places) - claimed)

    def memory(self, job: StoredJob) -> int:
        """Return how many bytes the input of a claimed job takes in memory."""
        stays_on_disk = not isinstance(job.body, bytes) and job.handler in self._spooling
        return 0 if stays_on_disk else size_of(job.body)


def lanes_of(handlers: Iterable[Handler], *, workers: int) -> list[_Lane]:
    """Return the lanes of the jobs of these handlers; the plain ones share one.

    All but async handlers run in worker processes, if there are ``workers``.
    """
    plain: list[Handler] = []
    lanes = []
    for handler in handlers:
        if handler.operation.batching is None and handler.operation.concurrency is None:
            plain.append(handler)
        else:
            is_async = handler.operation.concurrency is not None
            lanes.append(_Lane(handler, workers=0 if is_async else workers))
    return [*lanes, _Lane(*plain, workers=workers)] if plain else lanes
