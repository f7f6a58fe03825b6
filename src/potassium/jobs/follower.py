"""What a server does about what others do with the store that they share."""

from collections.abc import Collection

from potassium.jobs.runner import Runner
from potassium.jobs.watch import Watch
from potassium.webhooks.service import WebhookService

__all__ = ["Follower"]


class Follower:
    """The ``StoreListener`` of a server. Belongs to the event loop."""

    def __init__(self, runner: Runner, watch: Watch, webhooks: WebhookService) -> None:
        self._runner = runner
        self._watch = watch
        self._webhooks = webhooks

    def queued(self, *, suspects: bool) -> None:
        """Look for jobs to run, and with ``suspects`` for suspects, too."""
        self._runner.wake(for_suspect=suspects)

    def cleared(self) -> None:
        """Claim other jobs, although those that run here have kept suspects waiting."""
        self._runner.expect_no_suspects()

    def changed(self, job_ids: Collection[str]) -> None:
        """Wake those who follow the events of these jobs."""
        for job_id in job_ids:
            self._watch.tell(job_id)

    def ended(self, job_ids: Collection[str]) -> None:
        """Wake all who wait for these jobs."""
        for job_id in job_ids:
            self._watch.tell_end(job_id)

    def asked_to_end(self, job_ids: Collection[str]) -> None:
        """End those of these jobs that run here."""
        for job_id in job_ids:
            self._runner.cancel(job_id)

    def lost_claims(self) -> None:
        """End all that runs here."""
        self._runner.lose_claims()

    def posted(self) -> None:
        """Look for webhooks to deliver."""
        self._webhooks.wake()

    def missed(self) -> None:
        """Look at everything."""
        self._runner.wake(for_suspect=True)
        self._watch.tell_all()
        self._webhooks.wake()
