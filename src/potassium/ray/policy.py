"""How many replicas Ray Serve is to aim at. Runs in its controller, which has a copy of this file.

Ray copies the class by value, so the file imports nothing of ours.
"""

from typing import Any

__all__ = ["WaitingCalls"]

BUSIEST = 0.8  # share of the time that the GPU threads are to be busy


class WaitingCalls:
    """Ray Serve's policy for ``Autoscaling``.

    Args:
        waiting: calls that may wait for each replica.

    """

    def __init__(self, waiting: float) -> None:
        self._waiting = waiting

    def __call__(self, ctx: Any) -> tuple[float, dict[str, Any]]:
        """Return how many replicas are needed, before bounds and delays, and no state.

        ``ctx`` is Ray's ``AutoscalingContext``. What waits decides, and so do the GPUs that are
        busy: without them, replicas would be taken away while all are busy and nothing waits.
        """
        measured = ctx.aggregated_metrics or {}
        waiting, busy = measured.get("waiting"), measured.get("busy")
        if not waiting or not busy:
            return ctx.target_num_replicas, {}  # nobody has reported yet
        needed = max(sum(waiting.values()) / self._waiting, sum(busy.values()) / BUSIEST)
        # Those that have not reported yet, such as new ones, are not idle for that.
        return max(needed, 1), {}
