"""Both of ``ray_potassium.py`` and ``ray_fastapi.py`` on one Ray, with two replicas each."""

import os
import signal
import sys
from pathlib import Path

import ray
from ray import serve
from servers import ray_fastapi

from potassium.ray import deployment

HERE = Path(__file__).parent


def main(port: int) -> None:
    path = os.pathsep.join([str(HERE), str(HERE.parent), os.environ.get("PYTHONPATH", "")])
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
        runtime_env={"env_vars": {"PYTHONPATH": path}},
    )
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    ours = deployment(
        str(HERE / "ray_potassium.py"), num_replicas=2, ray_actor_options={"num_cpus": 0}
    )
    serve.run(ours, name="ours", route_prefix="/ours")
    serve.run(ray_fastapi.main, name="by-hand", route_prefix="/by-hand")
    signal.sigwait({signal.SIGTERM})
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGTERM})
    main(int(sys.argv[1]))
