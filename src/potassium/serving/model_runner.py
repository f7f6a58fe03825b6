"""Chooses what runs an app's model: the GPU thread of this process, or worker processes."""

import logging
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING

from potassium.engine import GpuThread, ModelRunner, Surroundings
from potassium.handlers.accelerator import is_fatal
from potassium.handlers.cache import InWorkers
from potassium.serving.asked import answers

if TYPE_CHECKING:
    from potassium.serving.plan import Plan

__all__ = ["new_runner"]

Post = Callable[[str, bytes, str], object]

logger = logging.getLogger("potassium")


def new_runner(plan: "Plan", post: Post) -> Callable[[Surroundings], ModelRunner]:
    """Return what makes the runner; ``post`` posts a webhook that a handler has sent.

    Raises:
        UsageError: a device does not exist, or it is not known where workers import the app from.

    """
    if plan.workers is None:
        return partial(GpuThread, is_fatal=is_fatal, host=plan.host)
    from potassium.serving.worker_log import log_of_front  # noqa: PLC0415 - as below
    from potassium.workers.answering import Answering  # noqa: PLC0415 - as below
    from potassium.workers.fleet import Fleet  # noqa: PLC0415 - only for apps with workers
    from potassium.workers.location import location_of  # noqa: PLC0415
    from potassium.workers.placement import names_of, placements  # noqa: PLC0415
    from potassium.workers.process import Start  # noqa: PLC0415

    if not plan.cache.contents:
        plan.cache.replace(InWorkers())
    functions = [handler.function for handler in plan.handlers.values()]
    location = location_of(plan.app, plan.workers.app, functions)
    plan.main = location.module
    places, log = placements(plan.workers), log_of_front()
    names = names_of(places)
    logger.info("%s: %s", _counted(len(names)), ", ".join(names), extra={"workers": names})
    starts = [
        Start(location, place, name, log, tuple(plan.handlers))
        for name, place in zip(names, places, strict=True)
    ]
    return partial(
        Fleet,
        handlers=plan.handlers,
        starts=starts,
        workers=plan.workers,
        answering=Answering(answers(plan.calls), post),
    )


def _counted(number: int) -> str:
    return "1 worker" if number == 1 else f"{number} workers"
