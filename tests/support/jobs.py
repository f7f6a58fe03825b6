"""Jobs and deliveries for tests of the stores."""

from potassium.testing.job_store.samples import (
    NOW,
    attempt,
    delivery,
    new_job,
    take_due,
)

__all__ = ["NOW", "attempt", "delivery", "new_job", "take_due"]
