"""Turns an app into an application of Ray Serve."""

import inspect
from typing import Any

from potassium.config import check_count, check_options
from potassium.errors import UsageError
from potassium.project.target import Target
from potassium.project.unserved import import_unserved
from potassium.ray.autoscaling import Autoscaling
from potassium.ray.extra import check_ray
from potassium.ray.jobs import check_jobs
from potassium.ray.options import options_of
from potassium.ray.replica import replica_class, target_of
from potassium.ray.sigterm import Sigterm
from potassium.serving.composition import parts_of

__all__ = ["build", "deployment"]


def deployment(
    app: str | Target,
    *,
    num_replicas: int | None = None,
    autoscaling: Autoscaling | None = None,
    ray_actor_options: dict[str, Any] | None = None,
    **options: Any,
) -> Any:
    """Return an application of Ray Serve, each replica of which serves ``app`` on a GPU of its own.

    Give it a name in a module, and ``serve run module:name`` runs it. The app is imported here, for
    its limits, and again in each replica, where ``init`` runs; nothing of it is pickled. So its
    module must be importable on every node: in the image, or in the ``working_dir`` of Ray.

    Args:
        app: a module and the app's name, such as ``"app:app"``; each replica looks for it in its
            own working directory, or in the folder of a ``Target``.
        num_replicas: how many replicas there are; 1 if there is no ``autoscaling`` either.
        autoscaling: from how many to how many, and by what.
        ray_actor_options: what each replica takes, such as ``{"num_gpus": 1}``.
        options: any other of ``serve.deployment``, in place of what follows from the app:
            ``max_ongoing_requests``, ``graceful_shutdown_timeout_s``, ``health_check_period_s``.

    Raises:
        UsageError: Ray is not installed, there is no such app, an option is invalid, or several
            replicas would each keep background jobs of their own.
        BaseException: whatever the module raised.

    """
    serve = check_ray()
    check_options("deployment", options, inspect.signature(serve.deployment).parameters)
    if "autoscaling_config" in options:
        raise UsageError(
            "deployment(autoscaling_config=...): write autoscaling=Autoscaling(min=1, max=8)."
        )
    if num_replicas is not None and autoscaling is not None:
        raise UsageError("deployment(num_replicas=..., autoscaling=...): write one of them.")
    if num_replicas is not None:
        check_count("num_replicas", num_replicas)
    found = import_unserved(target_of(app)).app
    parts_of(found).check_served()
    most = num_replicas or 1 if autoscaling is None else autoscaling.max
    check_jobs(found, most)
    scale: dict[str, Any] = {"num_replicas": num_replicas or 1}
    if autoscaling is not None:
        scale = {"autoscaling_config": autoscaling.config()}
    chosen = {"ray_actor_options": ray_actor_options} if ray_actor_options else {}
    made = serve.deployment(**{**options_of(found), **scale, **chosen, **options})
    return made(replica_class()).bind(app, Sigterm())


def build(args: dict[str, Any]) -> Any:
    """Return what ``deployment`` does, for a config file: ``import_path: potassium.ray:build``.

    Args:
        args: the arguments of ``deployment``, under ``args:``; ``autoscaling`` as a mapping.

    Raises:
        UsageError: as for ``deployment``, or ``app`` is missing.

    """
    given = dict(args)
    if "app" not in given:
        raise UsageError('potassium.ray:build needs an app. Write args: {app: "app:app"}.')
    scale = given.pop("autoscaling", None)
    if isinstance(scale, dict):
        check_options("autoscaling", scale, Autoscaling.__dataclass_fields__)
        scale = Autoscaling(**scale)
    if isinstance(count := given.get("num_replicas"), str):  # from serve run ... num_replicas=2
        given["num_replicas"] = int(count) if count.isdecimal() else count
    return deployment(**given, autoscaling=scale)
