"""How many replicas an app has, by what waits for the GPU."""

from dataclasses import dataclass
from typing import Any

from potassium.config import check_count
from potassium.errors import UsageError

__all__ = ["Autoscaling"]

POLICY = "potassium.ray.policy:WaitingCalls"


@dataclass(frozen=True, kw_only=True)
class Autoscaling:
    """How many replicas there are: as many as the calls that wait need, and the busy GPUs.

    Attributes:
        min: the fewest replicas; 1 or more, because nothing holds calls while a model loads.
        max: the most.
        waiting: calls that may wait for each replica. If a call takes 100 ms and may wait for a
            second, write 10.
        up_after: seconds for which more replicas have to be needed until they are started.
        down_after: seconds for which fewer have to be enough until some are stopped. A replica that
            has to come back loads its model again.
        window: seconds over which calls that wait are averaged. Ray hears of them every 10 s unless
            ``RAY_SERVE_REPLICA_AUTOSCALING_METRIC_PUSH_INTERVAL_S`` says otherwise.

    Raises:
        UsageError: a value is invalid.

    """

    min: int = 1
    max: int
    waiting: int = 4
    up_after: float = 5.0
    down_after: float = 300.0
    window: float = 10.0

    def __post_init__(self) -> None:
        """Check every value."""
        for name in ("min", "max", "waiting"):
            check_count(name, getattr(self, name))
        if self.min > self.max:
            raise UsageError(f"min={self.min} must be at most max={self.max}.")
        for name in ("up_after", "down_after", "window"):
            value = getattr(self, name)
            if type(value) not in (int, float) or not 0 <= value < float("inf"):
                raise UsageError(f"{name}={value!r} must be a number of seconds.")

    def config(self) -> dict[str, Any]:
        """Return it as Ray Serve's ``autoscaling_config``."""
        return {
            "min_replicas": self.min,
            "max_replicas": self.max,
            "upscale_delay_s": self.up_after,
            "downscale_delay_s": self.down_after,
            "look_back_period_s": self.window,
            "policy": {"policy_function": POLICY, "policy_kwargs": {"waiting": self.waiting}},
        }
