"""One replica: what Ray Serve starts, asks, and stops."""

import sys
from pathlib import Path
from typing import Any

from potassium.errors import WorkerFailed
from potassium.project.target import Target
from potassium.ray.front import Front
from potassium.ray.jobs import check_jobs
from potassium.ray.sigterm import Sigterm
from potassium.ray.watch import Watch
from potassium.server import SWITCH_INTERVAL
from potassium.serving.composition import parts_of
from potassium.serving.log_config import set_up_logging

__all__ = ["Replica", "replica_class", "target_of"]


class Replica:
    """An app in a replica of Ray Serve. Ray calls its methods on the app's event loop.

    Args:
        target: where the app is; if it is text, in the working directory of the replica.
        sigterm: hears SIGTERM.

    """

    def __init__(self, target: str | Target, sigterm: Sigterm) -> None:
        self._target = target
        self._sigterm = sigterm

    def __serve_build_asgi_app__(self) -> Front:
        """Import the app, and return it as Ray is to call it; ``init`` runs in its lifespan."""
        import ray.serve  # noqa: PLC0415 - there is none where apps do without it

        context = ray.serve.get_replica_context()
        app = target_of(self._target).load()
        check_jobs(app, context.world_size or 1)  # a config file may have set another number
        parts = parts_of(app)
        # The process only serves, as that of app.serve() does.
        set_up_logging(None, how=parts.observation.log(None, access=None))
        sys.setswitchinterval(SWITCH_INTERVAL)
        self._runtime = parts.runtime
        self._watch = Watch(parts.runtime, self._sigterm)
        self._front = Front(
            app,
            self._watch,
            replica=context.replica_tag,
            all_of=lambda: ray.serve.get_deployment_handle(context.deployment, context.app_name),
            metrics=parts.observation.metrics_path,
        )
        return self._front

    def check_health(self) -> None:
        """Raise if Ray is to put another replica in the place of this one.

        Raises:
            WorkerFailed: the app has failed, or the process was told to end.

        """
        if self._runtime.has_failed:
            raise WorkerFailed("The app has failed; it needs a new process.")
        if self._sigterm.received:
            raise WorkerFailed("The process has got SIGTERM.")

    def record_autoscaling_stats(self) -> dict[str, float]:
        """Return how many calls wait, and the share of the time that the GPU thread is busy."""
        services = self._runtime.services
        if services is None:
            return {"waiting": 0.0, "busy": 0.0}
        load = services.load.load().named_metrics
        return {"waiting": load["queue_length"], "busy": load["busy"]}

    async def answer(self, scope: dict[str, Any]) -> tuple[str, int, bytes]:
        """Return this replica's id, and how it answers a request that another one was sent."""
        return await self._front.answer(scope)


def replica_class() -> type:
    """Return what Ray makes replicas of."""
    from ray import serve  # noqa: PLC0415 - as above

    made: type = serve.ingress()(Replica)
    return made


def target_of(target: str | Target) -> Target:
    """Return where an app is.

    Raises:
        UsageError: there is no such file.

    """
    return target if isinstance(target, Target) else Target.of(target, Path.cwd())
