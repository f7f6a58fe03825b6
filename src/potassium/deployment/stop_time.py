"""How long a server may take to stop."""

from math import ceil

from potassium.config import Limits
from potassium.server import CLOSING_TIME
from potassium.serving.leftovers import LAST_MOMENTS, PATIENCE
from potassium.serving.runtime import STOP_TIME

__all__ = ["stop_seconds"]

STEP = 10  # seconds; a round number is easier to recognize in a manifest


def stop_seconds(limits: Limits) -> int:
    """Return the seconds to wait between SIGTERM and SIGKILL, so that a drain is never cut short.

    Admitted calls have ``Limits.grace_period``. Then connections are closed, webhooks are posted,
    and tasks and threads of the app's own end; each of these has a limit.
    """
    most = limits.grace_period + CLOSING_TIME + STOP_TIME + LAST_MOMENTS + PATIENCE
    return ceil(most / STEP) * STEP
