"""What stands in for Ray in tests of what is told to it."""

import sys
from importlib.machinery import ModuleSpec
from types import ModuleType
from typing import Any

import pytest

__all__ = ["Deployed", "pretend"]


class Deployed:
    """What was deployed: the options, the class, and what it is created with."""

    def __init__(self, options: dict[str, Any]) -> None:
        self.options = options
        self.made_of: type | None = None
        self.arguments: tuple[Any, ...] = ()

    def __call__(self, made_of: type) -> "Deployed":
        self.made_of = made_of
        return self

    def bind(self, *arguments: Any) -> "Deployed":
        self.arguments = arguments
        return self


def deployment(  # noqa: PLR0913, PLR0917 - as many as it has
    _func_or_class: Any = None,
    name: Any = None,
    num_replicas: Any = None,
    ray_actor_options: Any = None,
    max_ongoing_requests: Any = None,
    max_queued_requests: Any = None,
    backpressure_config: Any = None,
    autoscaling_config: Any = None,
    graceful_shutdown_wait_loop_s: Any = None,
    graceful_shutdown_timeout_s: Any = None,
    health_check_period_s: Any = None,
) -> Deployed:
    given = {name: value for name, value in locals().items() if value is not None}
    return Deployed(given)


def pretend(patch: pytest.MonkeyPatch, **attributes: Any) -> Any:
    """Let ``from ray import serve`` succeed, and apps be imported; return that module."""
    patch.setattr(sys, "path", [*sys.path])
    ray, serve = ModuleType("ray"), ModuleType("ray.serve")
    ray.__spec__, serve.__spec__ = ModuleSpec("ray", None), ModuleSpec("ray.serve", None)
    ray.__path__ = []
    ray.serve = serve  # type: ignore[attr-defined]
    serve.deployment = deployment  # type: ignore[attr-defined]
    serve.ingress = lambda: lambda made_of: made_of  # type: ignore[attr-defined]
    for name, value in attributes.items():
        setattr(serve, name, value)
    patch.setitem(sys.modules, "ray", ray)
    patch.setitem(sys.modules, "ray.serve", serve)
    return serve
