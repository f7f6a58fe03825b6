"""Drives a Ray of its own: reads commands, as JSON lines, and answers each with one.

Ray reads its environment when it is imported, and there is one Ray in a process; so each proxy is
tried with a process of its own.
"""

import json
import os
import sys
from collections.abc import Callable
from typing import Any

import ray
from ray import serve

from potassium.ray import Autoscaling, deployment

NAME = "tried"


def deploy(app: str, port: int, autoscaling: dict[str, Any] | None = None, **options: Any) -> None:
    """Deploy the app in a file, in place of the one before; return once it is ready."""
    scale = Autoscaling(**autoscaling) if autoscaling else None
    serve.start(http_options={"host": "127.0.0.1", "port": port})
    made = deployment(app, autoscaling=scale, ray_actor_options={"num_cpus": 0}, **options)
    serve.run(made, name=NAME)


def delete() -> None:
    """Delete the app; return once it is gone."""
    serve.delete(NAME)


def replicas() -> list[dict[str, Any]]:
    """Return the id, the process and the state of each replica."""
    controller = serve.context._get_global_client()._controller
    details = ray.get(controller.get_serve_instance_details.remote())
    deployments = details["applications"][NAME]["deployments"].values()
    return [
        {"id": one["replica_id"], "pid": one.get("pid") or 0, "state": str(one["state"])}
        for each in deployments
        for one in each["replicas"]
    ]


COMMANDS: dict[str, Callable[..., Any]] = {
    "deploy": deploy,
    "delete": delete,
    "replicas": replicas,
}


def main() -> None:
    answers = os.fdopen(os.dup(1), "w", buffering=1)
    os.dup2(2, 1)  # Ray prints
    ray.init(
        address="local",
        num_cpus=4,
        include_dashboard=False,
        object_store_memory=100 * 2**20,
    )
    print(json.dumps({"returned": None}), file=answers)
    for line in sys.stdin:
        name, options = json.loads(line)
        try:
            answer = {"returned": COMMANDS[name](**options)}
        except Exception as error:  # noqa: BLE001 - it is the test's
            answer = {"raised": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), file=answers)
    serve.shutdown()
    ray.shutdown()


if __name__ == "__main__":
    main()
