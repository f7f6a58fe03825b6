"""Runs the steps that the streams of a handler make together: its ``step=``."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from potassium.config import Rows
from potassium.engine import Ceiling, Failure, Job, SharedStep
from potassium.errors import UsageError
from potassium.handlers.accelerator import free_memory, is_fatal, is_out_of_memory
from potassium.handlers.generators import GeneratorSteps, refusal_after
from potassium.handlers.in_process import ON_THREAD
from potassium.handlers.options import HandlerOptions
from potassium.handlers.results_list import results_in
from potassium.handlers.step import Step, StepError

__all__ = ["SharedSteps", "shared_step_of"]


NO_GENERATOR = (
    "yield Step(...) works in a generator, which the result is sent to: write a function with "
    "yield, or return the generator of one."
)


class SharedSteps(GeneratorSteps):
    """The steps of a generator that makes some of them together with others.

    Attributes:
        job: the call.
        row: what it waits with; None if it does not wait.

    """

    def __init__(self, iterator: Iterator[Any], job: Job) -> None:
        super().__init__(iterator, job.origin.form)
        self.job = job
        self.row: Any = None
        self._waits = False

    def _advance(self) -> bytes | None:
        try:
            with self._modes:
                chunk = self._resume()
                if type(chunk) is not Step:
                    return self._form.encode(chunk)
        except Exception as error:
            refusal = refusal_after(error)
            if refusal is None:
                raise
            raise refusal from error
        if not hasattr(self._iterator, "send"):
            raise UsageError(NO_GENERATOR)
        self.row, self.cost, self._waits = chunk.row, chunk.cost, True
        return None

    def _resume(self) -> Any:
        if not self._waits:
            return next(self._iterator)
        result, self.result, self.row, self._waits = self.result, None, None, False
        generator: Any = self._iterator
        if isinstance(result, BaseException):
            return generator.throw(result)
        return generator.send(result)


def shared_step_of(
    name: str,
    function: Callable[[list[Any]], Any],
    options: HandlerOptions,
    *,
    begins_at_once: bool,
) -> SharedStep:
    """Return the step that the engine runs for the streams of a handler.

    Args:
        name: that of the handler.
        function: its ``step=``, already given the cache.
        options: all of its options.
        begins_at_once: whether the handler is a generator function.

    """
    streams, rows = options.get("streams", 1), options.get("rows") or Rows()
    return SharedStep(
        SharedRun(name, function),
        max_rows=min(rows.max_size or streams, streams),
        max_cost=rows.max_cost,
        begins_at_once=begins_at_once,
    )


class SharedRun:
    """Runs a ``step=`` function, in halves if memory runs out.

    Args:
        name: that of the handler.
        function: called with a list of rows; returns a result for each.

    """

    def __init__(self, name: str, function: Callable[[list[Any]], Any]) -> None:
        self._name = name
        self._function = function

    def __call__(self, steps: Sequence[SharedSteps], ceiling: Ceiling) -> list[Any]:
        """Return the results, an exception in place of one that fails."""
        token = ON_THREAD.set(steps[0].job)
        try:
            return self._run(steps, ceiling)
        finally:
            ON_THREAD.reset(token)

    def _run(self, steps: Sequence[SharedSteps], ceiling: Ceiling) -> list[Any]:
        results = self._try(steps)
        weight = len(steps) * max(one.cost for one in steps)
        if not isinstance(results, Failure):
            ceiling.fitted(weight)
            return results
        error = results.error
        if not is_out_of_memory(error):
            return self._all_failed(error, len(steps))
        free_memory()
        if len(steps) == 1:
            again = self._try(steps)
            return [again.error] if isinstance(again, Failure) else again
        ceiling.overflowed(weight / 2)
        middle = (len(steps) + 1) // 2
        results = self._run(steps[:middle], ceiling)
        lost = next(
            (one for one in results if isinstance(one, BaseException) and is_fatal(one)), None
        )
        if lost is not None:  # the device runs nothing any more
            return results + [lost] * (len(steps) - middle)
        return results + self._run(steps[middle:], ceiling)

    def _try(self, steps: Sequence[SharedSteps]) -> list[Any] | Failure:
        try:
            return list(results_in(self._function([one.row for one in steps]), len(steps)))
        except BaseException as error:  # noqa: BLE001 - SystemExit is a failure as well
            return Failure(error)

    def _all_failed(self, error: BaseException, count: int) -> list[Any]:
        if count == 1:
            return [error]
        failures = []
        for _ in range(count):  # each its own, as raising one adds to its traceback
            failure = StepError(f"step= of {self._name} raised, and failed all of its {count} rows")
            failure.__cause__ = error
            failures.append(failure)
        return failures
