"""The server cannot serve a request now: 503."""

from collections.abc import Mapping

from potassium.errors.base import PotassiumError

__all__ = [
    "DiskFailed",
    "Draining",
    "OutOfMemory",
    "Overloaded",
    "QueueFull",
    "Starting",
    "StoreFailed",
    "StoreFull",
    "StoreUnavailable",
    "TooManyConnections",
    "TooManyWatchers",
    "Unavailable",
    "WorkerDied",
    "WorkerFailed",
]


class Unavailable(PotassiumError):
    """The server cannot serve this request now."""

    status = 503
    code = "unavailable"

    def __init__(self, detail: str = "", retry_after: int | None = None) -> None:
        """Take ``retry_after``, seconds after which a retry may help, or None."""
        super().__init__(detail)
        self.retry_after = retry_after

    @property
    def headers(self) -> Mapping[str, str]:
        """``Retry-After`` (RFC 9110, section 10.2.3), if a retry may help."""
        after = {} if self.retry_after is None else {"Retry-After": str(self.retry_after)}
        return {**super().headers, **after}


class QueueFull(Unavailable):
    """The queue is full."""

    code = "queue_full"


class Overloaded(Unavailable):
    """The bodies of other requests take up ``Limits.body_memory`` or ``Limits.body_disk``."""

    code = "overloaded"
    default_detail = "The bodies of other requests take up all the room that is allowed for them."


class DiskFailed(Unavailable):
    """A large body cannot be kept on disk now, for example because the disk is full."""

    code = "disk_failed"
    default_detail = "Large bodies cannot be received at the moment."


class Starting(Unavailable):
    """``init`` has not finished yet."""

    code = "starting"


class Draining(Unavailable):
    """The server is stopping and accepts no new work."""

    code = "draining"


class WorkerFailed(Unavailable):
    """The GPU thread is unusable. A retry does not help: the process must be restarted."""

    code = "worker_failed"
    default_detail = "The model can no longer be served."


class WorkerDied(WorkerFailed):
    """The worker process that had begun this call has died. The server goes on with others.

    Whoever notices the death calls the call off with it.

    Attributes:
        was_alone: whether the worker had begun no other background job that had not ended. If it
            had, any of them may be why it died.

    """

    default_detail = "The worker process that ran this call has died."

    def __init__(
        self, detail: str = "", retry_after: int | None = None, *, was_alone: bool = True
    ) -> None:
        super().__init__(detail, retry_after)
        self.was_alone = was_alone


class StoreFailed(Unavailable):
    """Background jobs cannot be stored or read now, for example because the disk is full."""

    code = "store_failed"


class StoreFull(StoreFailed):
    """The store holds as many background jobs, or as many bytes, as ``Jobs`` allows."""

    code = "store_full"


class StoreUnavailable(Unavailable):
    """The store that the handler uses, a ``potassium.store.Store``, does not answer or refuses.

    It has no ``Retry-After``: the handler has run up to here, and may have had effects.
    """

    code = "store_unavailable"
    default_detail = "The store that the handler uses is not available at the moment."


class TooManyConnections(Unavailable):
    """All the connections that ``Limits.connections`` allows are in use."""

    code = "too_many_connections"
    default_detail = "The server has too many connections."


class TooManyWatchers(Unavailable):
    """As many clients wait for jobs or follow them as ``Jobs(max_watchers=)`` allows."""

    code = "too_many_watchers"


class OutOfMemory(Unavailable):
    """The accelerator ran out of memory, even after all that could be freed was freed."""

    code = "out_of_memory"
