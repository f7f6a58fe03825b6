"""What the metrics of a running app read when they are scraped."""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Protocol

from potassium.engine import Engine, Heartbeat, Lifecycle, Operation, WorkerReport
from potassium.webhooks.service import WebhookService

if TYPE_CHECKING:
    from potassium.jobs.service import JobService

__all__ = ["Running", "Source"]


class Running(Protocol):
    """What lives from an app's start to its stop."""

    @property
    def engine(self) -> Engine:
        """Runs the calls."""

    @property
    def jobs(self) -> "JobService | None":
        """The background jobs; None if the app has none."""

    @property
    def webhooks(self) -> WebhookService:
        """Posts results to webhooks."""


class Source(Protocol):
    """The app, whether it runs or not."""

    @property
    def name(self) -> str:
        """Its name."""

    @property
    def lifecycle(self) -> Lifecycle:
        """Its state."""

    @property
    def services(self) -> Running | None:
        """What serves its handlers; None until it has started and after it has stopped."""

    def operations(self) -> Sequence[Operation]:
        """Return the operation of every handler."""

    def startup_seconds(self) -> Mapping[str, float]:
        """Return how long each phase of the last start took, by its name."""

    def unready(self) -> dict[str, str] | None:
        """Return why a call would not be admitted now; None if it would be."""

    def workers(self) -> Sequence[WorkerReport]:
        """Return what there is to say of each worker process; nothing without any."""

    def heartbeat(self) -> Heartbeat:
        """Return whether its threads are idle, busy or stuck."""
