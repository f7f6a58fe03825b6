"""What an app consists of once all its decorators have run."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from potassium.config import Jobs, Limits, Webhooks, Workers
from potassium.engine import Host, Operation, new_thread
from potassium.handlers.cache import Cache
from potassium.handlers.handler import Handler
from potassium.handlers.intake import Intake
from potassium.observe import Observation
from potassium.serving.asked import Calling
from potassium.serving.bodies import Bodies
from potassium.serving.startup import Startup

__all__ = ["Plan"]


@dataclass(kw_only=True)
class Plan:
    """The parts of an app, complete when it starts.

    Attributes:
        name: the app's name.
        handlers: the handlers by path.
        cache: holds what that loads.
        init: the operation that loads the model.
        loading_at: returns the line at which that is; None if it does not run.
        bodies: reads the bodies of requests.
        intake: binds requests to the handlers' arguments.
        limits: how much work the server accepts.
        jobs: where background jobs are kept; None if the app has none.
        webhooks: how results are posted to webhooks.
        observation: what is measured.
        calls: returns what makes calls from Python code.
        debug: whether tracebacks are sent to clients.
        schema: the OpenAPI document; empty until somebody has asked for it.
        startup: what the time of the last start went into.
        is_warm: whether the handlers need not be run before they are served, as others were that
            have the same model.
        host: runs on its thread what the GPU thread does.
        workers: the processes that run the model; None for the GPU thread of this one.
        app: the app, which workers import; recognised by its identity.
        main: the name by which they import the main module; None until that is known.

    """

    name: str
    handlers: Mapping[str, Handler]
    cache: Cache
    init: Operation
    loading_at: Callable[[], str | None]
    bodies: Bodies
    intake: Intake
    limits: Limits
    jobs: Jobs | None
    webhooks: Webhooks
    observation: Observation
    calls: Callable[[], Calling]
    debug: bool
    schema: dict[str, Any] = field(default_factory=dict)
    startup: Startup = field(default_factory=Startup)
    is_warm: bool = False
    host: Host = new_thread
    workers: Workers | None = None
    app: object = None
    main: str | None = None
