"""How many replicas are asked for."""

from dataclasses import dataclass, field

import pytest

from potassium.ray import Autoscaling
from potassium.ray.policy import WaitingCalls


@dataclass
class Context:
    """What Ray tells a policy, as far as it is read."""

    aggregated_metrics: dict[str, dict[str, float]] | None = field(default_factory=dict)
    target_num_replicas: int = 2


def measured(waiting: list[float], busy: list[float]) -> Context:
    by_replica = [dict(enumerate(map(str, range(len(one))))) for one in (waiting, busy)]
    names = [[*one.values()] for one in by_replica]
    return Context(
        {
            "waiting": dict(zip(names[0], waiting, strict=True)),
            "busy": dict(zip(names[1], busy, strict=True)),
        }
    )


@pytest.mark.parametrize(
    ("waiting", "busy", "needed"),
    [
        ([0], [0], 1),
        ([4], [0.5], 1),
        ([9], [1], 2.25),
        ([0, 0], [0.8, 0.8], 2),  # busy, and nothing waits: both are needed
        ([1, 1, 1], [0.1, 0.1, 0.1], 1),
        ([40, 8], [1, 1], 12),
    ],
)
def test_replicas_follow_what_waits_and_what_is_busy(
    waiting: list[float], busy: list[float], needed: float
) -> None:
    """One for every four that wait, and enough that none is busy for more than 0.8 of the time."""
    replicas, _ = WaitingCalls(waiting=4)(measured(waiting, busy))
    assert replicas == pytest.approx(needed)


@pytest.mark.parametrize("nothing", [None, {}, {"waiting": {}, "busy": {}}])
def test_nothing_changes_while_nobody_reports(
    nothing: dict[str, dict[str, float]] | None,
) -> None:
    """A replica that has just started is not idle."""
    assert WaitingCalls(waiting=4)(Context(nothing))[0] == 2


def test_the_options_reach_ray() -> None:
    told = Autoscaling(min=2, max=8, waiting=3, up_after=1, down_after=60, window=5).config()
    assert told == {
        "min_replicas": 2,
        "max_replicas": 8,
        "upscale_delay_s": 1,
        "downscale_delay_s": 60,
        "look_back_period_s": 5,
        "policy": {
            "policy_function": "potassium.ray.policy:WaitingCalls",
            "policy_kwargs": {"waiting": 3},
        },
    }
