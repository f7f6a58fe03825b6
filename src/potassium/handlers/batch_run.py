"""Runs a batched handler so that an item that fails does not fail the others."""

from collections.abc import Callable, Generator, Iterator, Sequence
from math import inf
from typing import Any

from potassium.engine import Ceiling, Failure
from potassium.errors import WorkerFailed
from potassium.handlers.accelerator import (
    free_memory,
    is_fatal,
    is_out_of_memory,
    out_of_memory,
    to_host,
)
from potassium.handlers.results_list import WrongCountError, results_in
from potassium.handlers.rewind import rewind

__all__ = ["BatchRun"]

Outcome = tuple[int, Any]  # an item's index, and its result or Failure


class BatchRun:
    """One run of a batch through a handler.

    The handler returns or yields one result for each item, in order. An exception in place of a
    result is that item's failure. If the handler raises, the items are run again in halves, and a
    half that fails in halves again: the culprit is found within log2(n) more rounds, and fails
    alone. If the accelerator runs out of memory, the same halving finds what fits, and
    ``ceiling`` records it.

    Args:
        function: the handler; called with a list of items.
        items: the batch.
        weight: called with the indices of some items; returns their weight, a measure of the
            memory that they take.
        ceiling: the largest weight that fits, as known so far.
        is_wanted: called with an item's index; returns whether its caller still waits. If not, the
            item is not run again.

    """

    def __init__(
        self,
        function: Callable[[list[Any]], Any],
        items: Sequence[Any],
        *,
        weight: Callable[[Sequence[int]], float],
        ceiling: Ceiling,
        is_wanted: Callable[[int], bool] = lambda _: True,
    ) -> None:
        self._function = function
        self._items = items
        self._weight = weight
        self._ceiling = ceiling
        self._is_wanted = is_wanted
        self._fatal: Failure | None = None  # for items after one that has poisoned the device
        self._has_run = False
        self._fits = 0.0  # the largest weight that fitted
        self._overflows = inf  # the smallest weight that did not

    def outcomes(self) -> Iterator[Outcome]:
        """Run the batch and yield the outcome of each wanted item as soon as it is known."""
        yield from self._solve(list(range(len(self._items))))
        if self._overflows < inf:
            self._ceiling.overflowed(self._fits or self._overflows / 2)
        else:
            self._ceiling.fitted(self._fits)

    def _solve(self, part: list[int], *, fails: bool = False) -> Generator[Outcome, None, bool]:
        """Yield the outcomes of ``part``, and return whether all of it ran in one call.

        ``fails`` says that a run of ``part`` is already known to raise.
        """
        wanted = [index for index in part if self._is_wanted(index)]
        if not wanted:
            return False
        if self._fatal is not None:
            yield from ((index, self._fatal) for index in wanted)
            return False
        no_memory = False
        if not fails or len(wanted) < len(part) or len(part) == 1:
            results = self._try(wanted)
            if not isinstance(results, Failure):
                yield from results
                return len(wanted) == len(part)
            no_memory = is_out_of_memory(results.error)
            is_told = self._fatal is not None or isinstance(results.error, WrongCountError)
            if is_told or len(wanted) == 1:
                failure = self._again(wanted) if no_memory and not is_told else results
                yield from ((index, failure) for index in wanted)
                return False
        middle = (len(wanted) + 1) // 2
        first_half_ran = yield from self._solve(wanted[:middle])
        # The whole raised, so one of the halves does: if the first did not, the second will.
        yield from self._solve(wanted[middle:], fails=first_half_ran and not no_memory)
        return False

    def _try(self, part: list[int]) -> list[Outcome] | Failure:
        try:
            results = self._run(part)
        except BaseException as error:  # noqa: BLE001 - SystemExit is a failure as well
            failure = Failure(error)
        else:
            self._fits = max(self._fits, self._weight(part))
            return results
        if is_fatal(failure.error):
            self._fatal = Failure(WorkerFailed())
        elif is_out_of_memory(failure.error):
            free_memory()
            if len(part) > 1:  # an item that does not fit alone says little about others
                self._overflows = min(self._overflows, self._weight(part))
        return failure

    def _run(self, part: list[int]) -> list[Outcome]:
        items = [self._items[index] for index in part]
        if self._has_run:
            rewind(items)
        self._has_run = True
        results = results_in(self._function(items), len(part))
        return [
            (index, Failure(result) if isinstance(result, BaseException) else result)
            for index, result in zip(part, to_host(results), strict=True)
        ]

    def _again(self, part: list[int]) -> Any:
        """Run the one item that ran out of memory once more, now that memory has been freed."""
        try:
            return self._run(part)[0][1]
        except BaseException as error:  # noqa: BLE001 - as above
            if not is_out_of_memory(error):
                failure = Failure(error)
                if is_fatal(error):
                    self._fatal = failure
                return failure
            refusal = out_of_memory()
            refusal.__cause__ = error
            return Failure(refusal)
