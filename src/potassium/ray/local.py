"""Runs an app on Ray on this machine, until it is told to stop."""

import logging
import os
import signal
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Literal

from potassium.config import check_count
from potassium.errors import UsageError
from potassium.project.target import Target
from potassium.ray.deployment import deployment
from potassium.ray.extra import check_ray
from potassium.serving.signals import SIGNALS

__all__ = ["PROXIES", "Local", "Proxy"]

Proxy = Literal["haproxy", "python"]
PROXIES: tuple[Proxy, ...] = ("haproxy", "python")

APPLICATION = "potassium"

# Seconds for which a replica that stops is still reachable. Ray's 30 are for balancers in front of
# a cluster.
DRAINING = {
    "RAY_SERVE_DIRECT_INGRESS_MIN_DRAINING_PERIOD_S": "2",
    "RAY_SERVE_PROXY_MIN_DRAINING_PERIOD_S": "2",
}
# Ray reports how it is used to its makers unless it is told not to.
PRIVATE = {"RAY_USAGE_STATS_ENABLED": "0"}

logger = logging.getLogger("potassium")


@dataclass(frozen=True, kw_only=True)
class Local:
    """How an app runs on a Ray of its own.

    Attributes:
        app: where the app is.
        replicas: how many there are.
        proxy: what balances between them. ``"haproxy"`` is many times as fast.
        host: the address that Ray's own proxy listens on; HAProxy listens on all.
        port: the port.
        gpus: GPUs that each replica takes; None for one if there are any.

    """

    app: Target
    replicas: int = 1
    proxy: Proxy = "haproxy"
    host: str = "127.0.0.1"
    port: int = 8000
    gpus: float | None = None

    def run(self) -> None:
        """Serve until SIGINT or SIGTERM, then let open calls end and stop Ray; blocks.

        Raises:
            UsageError: Ray is not installed, the app cannot be deployed, or there are not as many
                GPUs.
            RuntimeError: the app did not start.

        """
        check_count("replicas", self.replicas)
        for name, value in {**DRAINING, **PRIVATE}.items():
            os.environ.setdefault(name, value)
        os.environ["RAY_SERVE_ENABLE_HA_PROXY"] = str(int(self.proxy == "haproxy"))
        serve = check_ray()  # which reads these variables
        import ray  # noqa: PLC0415 - as above

        if ray.is_initialized():
            raise UsageError("The app starts Ray when it is imported: leave that to this command.")
        deployment(self.app, num_replicas=self.replicas)  # is refused before anything starts
        ray.init(address="local", include_dashboard=False)
        with _told() as told:
            try:
                options = {"num_cpus": 0, "num_gpus": self._gpus_of_each(ray.cluster_resources())}
                serve.start(http_options={"host": self.host, "port": self.port})
                serve.run(
                    deployment(self.app, num_replicas=self.replicas, ray_actor_options=options),
                    name=APPLICATION,
                )
                logger.info("%s is on %s", self.app.module, self._shown())
                told.wait()
                logger.info("open calls have the grace period to finish; Ctrl-C ends them now")
                serve.delete(APPLICATION)
            finally:
                serve.shutdown()
                ray.shutdown()

    def _gpus_of_each(self, resources: Mapping[str, float]) -> float:
        has = resources.get("GPU", 0.0)
        each = self.gpus if self.gpus is not None else float(has > 0)
        if (needed := each * self.replicas) > has:
            raise UsageError(
                f"{self.replicas} replicas of {each:g} GPUs need {needed:g}, and this machine has "
                f"{has:g}. With --gpus {has / self.replicas:g}, they share."
            )
        return each

    def _shown(self) -> str:
        if self.proxy == "haproxy":
            return f"http://127.0.0.1:{self.port}, and on all other addresses of this machine"
        return f"http://{self.host}:{self.port}"


@contextmanager
def _told() -> Iterator[threading.Event]:
    """Yield what is set when the process is told to end; a second time, it ends at once."""
    told = threading.Event()

    def handle(sig: int, _: object) -> None:
        if told.is_set():
            os._exit(128 + sig)
        told.set()

    before = {sig: signal.signal(sig, handle) for sig in SIGNALS}
    try:
        yield told
    finally:
        for sig, handler in before.items():
            signal.signal(sig, handler)
