"""Items that handlers are run with before they are served."""

from collections.abc import Iterable, Iterator

from potassium.errors import UsageError
from potassium.handlers.handler import Handler
from potassium.handlers.warm_up import bind_items, items_of
from potassium.project.finding import Finding, note, problem
from potassium.serving.plan import Plan

__all__ = ["findings"]


def findings(plan: Plan) -> Iterable[Finding]:
    """Yield what handlers do not take of their ``warmup=``."""
    for handler in plan.handlers.values():
        yield from _of_handler(handler)


def _of_handler(handler: Handler) -> Iterator[Finding]:
    try:
        items = items_of(handler)
    except Exception as error:  # noqa: BLE001 - of the app's own, whatever it does
        yield note(
            handler.path,
            f"The function that makes its warmup= cannot be called without a model: {error!r}.",
            "That is fine if it uses what init loads; otherwise the start fails.",
        )
        return
    try:
        bind_items(handler, items)
    except UsageError as error:
        what = str(error).partition(": ")[2]
        yield problem(handler.path, f"{what[:1].upper()}{what[1:]}", "The start would fail.")
