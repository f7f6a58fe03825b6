"""Operations made of functions that take a job's argument."""

from collections.abc import Callable
from typing import Any

from potassium.config import Batch
from potassium.engine import Batching, Operation

__all__ = ["operation_on"]


def operation_on(
    name: str,
    run: Callable[[Any], Any],
    *,
    batch: Batch | None = None,
    prepare: Callable[[Any], Any] | None = None,
    finish: Callable[[Any], Any] | None = None,
    **options: Any,
) -> Operation:
    """Return an operation whose functions get the argument, or the outcome, instead of the job."""
    batching = None if batch is None else Batching(batch)
    by_cost = batching is not None and batch is not None and batch.cost is not None
    return Operation(
        name,
        (lambda job: run(job.argument))
        if batching is None
        else (lambda jobs: run([job.argument for job in jobs])),
        batching=batching,
        prepare=None if prepare is None else lambda job: prepare(job.argument),
        cost=(lambda job: batching.cost_of(job.argument)) if batching and by_cost else None,
        finish=None if finish is None else lambda _, outcome: finish(outcome),
        **options,
    )
