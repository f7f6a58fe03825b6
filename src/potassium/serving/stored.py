"""Background jobs and webhooks on the status page."""

from typing import TYPE_CHECKING, Any

from potassium.observe.held import Held

if TYPE_CHECKING:
    from potassium.serving.services import Services

__all__ = ["stored_by"]

OUTCOMES = ("delivered", "failed", "given_up")  # of an attempt to deliver a webhook


async def stored_by(services: "Services | None") -> dict[str, Any]:
    """Return how many jobs and webhooks there are; what a store does not tell in time is None."""
    if services is None:
        return {"jobs": None, "webhooks": None}
    held = await Held.by(services.jobs, services.webhooks)
    jobs: dict[str, int] | None = None
    if held.census is not None:
        from potassium.jobs.model import Status  # noqa: PLC0415 - only for apps with jobs

        jobs = {status.value: 0 for status in Status}
        for (_, status), count in held.census.jobs.items():
            jobs[status.value] += count
    webhooks = services.webhooks
    return {
        "jobs": jobs,
        "webhooks": {
            "waiting": held.undelivered,
            "attempts": {one: webhooks.attempts.get(one, 0) for one in OUTCOMES},
            "dropped": webhooks.dropped,
        },
    }
