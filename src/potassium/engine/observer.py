"""What the engine tells whoever measures it: metrics and traces."""

import enum
from collections.abc import Sequence
from typing import Protocol

from potassium.engine.job import Job
from potassium.engine.operation import Operation
from potassium.errors import PotassiumError

__all__ = ["End", "Observer"]


class End(enum.Enum):
    """How a call ended.

    Attributes:
        SUCCEEDED: its caller has the result.
        FAILED: its operation raised.
        CANCELLED: its caller has left or it was called off; ``Job.called_off`` may say why.

    """

    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Observer(Protocol):
    """Is notified of what happens to an engine's jobs. An engine has none by default.

    Its methods are called on the event loop, except ``begin_batch``. They must not block and must
    not raise. A job carries its times: ``admitted_at``, ``preparation``, ``queued_at``,
    ``began_at``, ``ended_at`` and ``finishing``; its stream carries when it began and how much it
    has sent. They are written before the call that reports them. It is told of nothing that happens
    before jobs are admitted, such as ``init``.
    """

    def refused(self, operation: Operation, error: PotassiumError) -> None:
        """Note that a call of ``operation`` was not admitted."""

    def streams(self, job: Job) -> None:
        """Note that the first chunk of ``job`` has arrived."""

    def ran(self, jobs: Sequence[Job]) -> None:
        """Note that ``jobs`` have run: some of a group, a batch, or one stream that has ended.

        Those without ``began_at`` did not run, as nobody wanted them any more.
        """

    def closed(self, job: Job, end: End) -> None:
        """Note that nobody waits for ``job`` any more.

        If its caller left early, the GPU thread may still be running it; then ``ran`` follows.
        """

    def begin_batch(self, jobs: Sequence[Job]) -> None:
        """Note that a batch is about to run: called on the GPU thread, in the batch's context."""
