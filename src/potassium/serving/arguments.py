"""Checks what an app is created with."""

from collections.abc import Iterable, Mapping, Sequence
from types import NoneType
from typing import Any

from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from potassium.config import Jobs, Limits, Metrics, Webhooks, check_options
from potassium.errors import UsageError

__all__ = ["check_arguments"]

GROUPS = {"limits": Limits, "jobs": Jobs, "webhooks": Webhooks}
SWITCHES: dict[str, tuple[type, ...]] = {
    "debug": (bool,),
    "docs": (bool, NoneType),
    "metrics": (bool, NoneType, Metrics),
    "server_timing": (bool,),
}


def check_arguments(unknown: Iterable[str], **given: Any) -> None:
    """Check the arguments of ``Potassium``: those that are ``unknown``, and those ``given``.

    Raises:
        UsageError: one is unknown or of another type; the message says what to write.

    """
    name = given["name"]
    if not isinstance(name, str):
        raise UsageError(f'Potassium({name!r}): write a name, as in Potassium("server").')
    for option in unknown:
        if option in Limits.__dataclass_fields__:
            raise UsageError(f"Potassium({option}=...): write limits=Limits({option}=...).")
        if option == "workers":
            raise UsageError(
                "Potassium(workers=...): one process holds one model. For more of them, start "
                "more servers, each with its own port and Jobs(path=...)."
            )
    check_options("Potassium", unknown, given)
    for option, kind in GROUPS.items():
        if not isinstance(given[option], kind | None):
            raise UsageError(
                f"Potassium({option}={given[option]!r}): write {option}={kind.__name__}(...)."
            )
    for option, kinds in SWITCHES.items():
        if type(given[option]) not in kinds:
            raise UsageError(f"Potassium({option}={given[option]!r}): write {option}=True.")
    form = "write middleware=[Middleware(CORSMiddleware, allow_origins=[...])]."
    _check_each("middleware", given["middleware"], Middleware, form)
    form = 'write routes=[Route("/path", endpoint)]; handlers are decorated with @app.handler.'
    _check_each("routes", given["routes"], BaseRoute, form)
    answers = given["exception_handlers"]
    if not isinstance(answers, Mapping | None):
        raise UsageError(f"Potassium(exception_handlers={answers!r}): write {{KeyError: answer}}.")


def _check_each(option: str, values: Any, kind: type, form: str) -> None:
    if values is None:
        return
    if not isinstance(values, Sequence):
        raise UsageError(f"Potassium({option}={values!r}): this is not a list; {form}")
    for one in values:
        if not isinstance(one, kind):
            raise UsageError(f"Potassium({option}=...): {one!r} is not a {kind.__name__}; {form}")
