"""Stores of background jobs: the interface, for a store of your own in ``Jobs(store=...)``.

``potassium.testing.job_store`` has the tests that every store must pass. The modules of this
package are private; the names here are not.
"""

from potassium.errors import IdempotencyKeyReused, StoreFailed, StoreFull
from potassium.jobs.inputs import Input, InputOnDisk
from potassium.jobs.model import (
    Census,
    Event,
    NewJob,
    Status,
    StoredJob,
    queued,
    same_or_refused,
)
from potassium.jobs.store import EVENTS_BYTES, PRIORITY_STEP, JobStore, StoreListener
from potassium.jobs.unshared import Unshared
from potassium.webhooks.model import Delivery, DeliveryAttempt, DeliveryStore, Full
from potassium.webhooks.steady_clock import SteadyClock

__all__ = [
    "EVENTS_BYTES",
    "PRIORITY_STEP",
    "Census",
    "Delivery",
    "DeliveryAttempt",
    "DeliveryStore",
    "Event",
    "Full",
    "IdempotencyKeyReused",
    "Input",
    "InputOnDisk",
    "JobStore",
    "NewJob",
    "Status",
    "SteadyClock",
    "StoreFailed",
    "StoreFull",
    "StoreListener",
    "StoredJob",
    "Unshared",
    "queued",
    "same_or_refused",
]
