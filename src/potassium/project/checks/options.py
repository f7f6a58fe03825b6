"""Options that contradict each other, or do nothing."""

from collections.abc import Iterable, Iterator

from starlette.routing import Match, Router

from potassium.handlers.functions import yields
from potassium.handlers.handler import Handler
from potassium.project.finding import Finding, note, problem
from potassium.serving.api_keys import ApiKeys
from potassium.serving.plan import Plan

__all__ = ["findings"]

SERVERS_OWN = ("/docs", "/openapi.json", "/health", "/ping")  # added when it starts


def findings(plan: Plan, keys: ApiKeys | None, router: Router) -> Iterable[Finding]:
    """Yield what the options of an app and of its handlers cannot mean together."""
    for handler in plan.handlers.values():
        yield from _of_handler(handler, plan)
    if plan.jobs is None and plan.webhooks.client_urls:
        yield note(
            "webhooks",
            "client_urls=True does nothing: only background jobs may name a URL.",
            "Use @app.background, or Potassium(jobs=Jobs()).",
        )
    if keys is not None:
        yield from _open_paths(keys, router)


def _of_handler(handler: Handler, plan: Plan) -> Iterator[Finding]:
    options, limits = handler.options, plan.limits
    timeout, batch = options.get("timeout"), options.get("batch")
    if batch is not None and timeout is not None and batch.max_delay >= timeout:
        yield problem(
            handler.path,
            f"timeout={timeout:g} is over before max_delay={batch.max_delay:g} of its batches.",
            "Lower max_delay, or raise timeout.",
        )
    hang = limits.hang_timeout
    if hang is not None and timeout is not None and timeout > hang:
        yield problem(
            handler.path,
            f"A call may take timeout={timeout:g} s, but after Limits(hang_timeout={hang:g}) "
            "without progress the server takes the handler for stuck, and ends.",
            "Raise hang_timeout, or lower timeout.",
        )
    if not handler.is_background and timeout is not None and timeout > limits.grace_period:
        yield note(
            handler.path,
            f"A call may take timeout={timeout:g} s, but has only "
            f"Limits(grace_period={limits.grace_period:g}) to end when the server stops.",
            "Raise grace_period, and the time that your platform waits after SIGTERM.",
        )
    if options.get("streams", 1) != 1 and not yields(handler.function):
        yield note(
            handler.path,
            f"streams={options['streams']} is for generators; this handler has no yield.",
            "Leave it out, unless the handler returns a generator.",
        )


def _open_paths(keys: ApiKeys, router: Router) -> Iterator[Finding]:
    for path in keys.open_paths:
        scope = {"type": "http", "method": "GET", "path": path, "headers": []}
        is_there = any(route.matches(scope)[0] is not Match.NONE for route in router.routes)
        if not is_there and path.rstrip("/") not in SERVERS_OWN:
            yield note("api_keys", f"open_paths has {path}, but there is no such path.")
