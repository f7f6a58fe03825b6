"""Checks what an app is created with."""

import inspect
import warnings
from collections.abc import Mapping, Sequence
from types import NoneType
from typing import Any

from starlette.middleware import Middleware
from starlette.routing import BaseRoute

from potassium.config import (
    Jobs,
    Limits,
    Metrics,
    Traces,
    Webhooks,
    Workers,
    check_count,
    check_options,
    default_workers,
)
from potassium.errors import UsageError

__all__ = ["check_groups", "check_options_of", "check_parts", "check_switches", "workers_of"]

GROUPS = {"limits": Limits, "jobs": Jobs, "webhooks": Webhooks}
SWITCHES: dict[str, tuple[type, ...]] = {
    "debug": (bool,),
    "docs": (bool, NoneType),
    "metrics": (bool, NoneType, Metrics),
    "server_timing": (bool,),
    "traces": (bool, NoneType, Traces),
}
OLD_WORKERS = "experimental_num_workers"  # an option of Potassium 0.5


def check_options_of(app: type, name: object, unknown: Mapping[str, object]) -> None:
    """Check the name of an app, and the options that its class does not know.

    Raises:
        UsageError: it is no name, or there is such an option; the message says what to write.

    """
    if not isinstance(name, str):
        raise UsageError(f'Potassium({name!r}): write a name, as in Potassium("server").')
    others = [option for option in unknown if option != OLD_WORKERS]
    if not others:
        return
    for option in others:
        if option in Limits.__dataclass_fields__:
            raise UsageError(f"Potassium({option}=...): write limits=Limits({option}=...).")
    parameters = inspect.signature(app).parameters.values()
    known = [one.name for one in parameters if one.kind is not one.VAR_KEYWORD]
    check_options("Potassium", others, known)


def check_groups(**given: object) -> None:
    """Check that each of ``GROUPS`` is one, or None.

    Raises:
        UsageError: it is something else.

    """
    for option, value in given.items():
        kind = GROUPS[option]
        if not isinstance(value, kind | None):
            raise UsageError(f"Potassium({option}={value!r}): write {option}={kind.__name__}(...).")


def check_switches(**given: object) -> None:
    """Check that each of ``SWITCHES`` is on, off, or what else it may be.

    Raises:
        UsageError: it is something else.

    """
    for option, value in given.items():
        if type(value) not in SWITCHES[option]:
            raise UsageError(f"Potassium({option}={value!r}): write {option}=True.")


def check_parts(routes: object, middleware: object, answers: object) -> None:
    """Check what Starlette is given.

    Raises:
        UsageError: it would not understand it.

    """
    form = "write middleware=[Middleware(CORSMiddleware, allow_origins=[...])]."
    _check_each("middleware", middleware, Middleware, form)
    form = 'write routes=[Route("/path", endpoint)]; handlers are decorated with @app.handler.'
    _check_each("routes", routes, BaseRoute, form)
    if not isinstance(answers, Mapping | None):
        raise UsageError(f"Potassium(exception_handlers={answers!r}): write {{KeyError: answer}}.")


def workers_of(workers: Any, unknown: Mapping[str, object]) -> Workers | None:
    """Return the workers that an app is created with, or those of the environment, if any.

    The option of Potassium 0.5 is taken, too: a number, of which 1 means none. A
    ``DeprecationWarning`` says what to write instead.

    Raises:
        UsageError: a value is invalid, or both options are given.

    """
    if OLD_WORKERS in unknown:
        number: Any = unknown[OLD_WORKERS]
        check_count(OLD_WORKERS, number)
        if workers is not None:
            raise UsageError(f"Potassium({OLD_WORKERS}=...) is workers=...: leave it out.")
        instead = f"write workers={number}" if number > 1 else "leave it out"
        hint = f"{OLD_WORKERS}={number} is an option of Potassium 0.5: {instead}."
        warnings.warn(hint, DeprecationWarning, stacklevel=3)  # where the app is created
        return Workers(number) if number > 1 else None
    if workers is None:
        return default_workers()
    return workers if isinstance(workers, Workers) else Workers(workers)


def _check_each(option: str, values: Any, kind: type, form: str) -> None:
    if values is None:
        return
    if not isinstance(values, Sequence):
        raise UsageError(f"Potassium({option}={values!r}): this is not a list; {form}")
    for one in values:
        if not isinstance(one, kind):
            raise UsageError(f"Potassium({option}=...): {one!r} is not a {kind.__name__}; {form}")
