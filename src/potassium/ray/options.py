"""What Ray Serve is told of an app, so that the queue, the batches and the streams stay ours."""

from math import ceil
from typing import Any

from potassium.app import Potassium
from potassium.config import Limits
from potassium.engine import Operation
from potassium.serving.composition import parts_of
from potassium.serving.runtime import STOP_TIME

__all__ = ["options_of"]

# Calls beyond those that an app admits: bodies that still arrive, calls that are being refused,
# health checks, scrapes.
ROOM = 256

# Behind HAProxy, Ray keeps a replica reachable for so long before it stops it, in seconds:
# RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S.
REACHABLE = 30.0
LAST_MOMENTS = 5.0  # seconds in which Ray closes what is its own

HEALTH_PERIOD = 2.0  # seconds; Ray's own 10 would leave a failed replica among the others
LOOKS = 0.5  # seconds between two looks at what a replica that stops has left to do


def options_of(app: Potassium) -> dict[str, Any]:
    """Return the options of ``serve.deployment`` that follow from an app.

    Ray's own limit of 5 calls for each replica would keep batches small, and let calls wait where
    nobody bounds or refuses them.
    """
    parts = parts_of(app)
    operations = [handler.operation for handler in parts.handlers.values()]
    most = admitted(parts.limits, operations) + ROOM
    if parts.plan.jobs is not None:
        most += parts.plan.jobs.max_watchers
    return {
        "name": app.name,
        "max_ongoing_requests": most,
        "max_queued_requests": most,
        "backpressure_config": {"status_code": 503, "retry_after_s": 1},
        "graceful_shutdown_timeout_s": stop_seconds(parts.limits),
        "graceful_shutdown_wait_loop_s": LOOKS,
        "health_check_period_s": HEALTH_PERIOD,
    }


def admitted(limits: Limits, operations: list[Operation]) -> int:
    """Return how many calls an app may have admitted at a time."""
    lanes = [one for one in operations if one.concurrency is not None]
    thread = [one for one in operations if one.concurrency is None]
    queues = len(lanes) + bool(thread)
    running = sum(one.concurrency or 0 for one in lanes)
    for one in thread:
        # One batch runs and the next one is at hand; streams that stall make room for others.
        running += 2 * (one.batching.rule.max_size if one.batching else 1)
        running += 2 * one.streams if one.may_stream else 0
    return queues * limits.queue_size + running


def stop_seconds(limits: Limits) -> float:
    """Return the seconds after which Ray may kill a replica that it has told to stop."""
    return ceil(REACHABLE + limits.grace_period + STOP_TIME + LAST_MOMENTS)
