"""Whether the schema of an app can be made."""

import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from potassium.app import Potassium
from potassium.project.finding import Finding, note, problem

__all__ = ["findings"]


def findings(app: Potassium) -> Iterable[Finding]:
    """Yield why there is no OpenAPI document, or what it does not say."""
    with _warnings() as records:
        try:
            app.openapi()
        except Exception as error:  # noqa: BLE001 - of the app's own types, whatever they do
            yield problem(
                "schema",
                f"The OpenAPI document cannot be made: {type(error).__name__}: {error}",
                "Say with output= what handlers return, if that is no type of pydantic's.",
            )
    for one in records:
        if isinstance(one.args, tuple) and one.args[1:2] == ("serialization",):
            path, _, why = one.args  # see schema/annotations.py
            yield note(
                str(path),
                f"The schema does not say what it returns: {str(why).partition(chr(10))[0]}",
                "Define the types that its annotation names, or say with output= what it returns.",
            )


class _Collector(logging.Handler):
    def __init__(self) -> None:
        super().__init__()
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@contextmanager
def _warnings() -> Iterator[list[logging.LogRecord]]:
    """Collect what is logged in the context, instead of writing it."""
    collector, logger = _Collector(), logging.getLogger("potassium")
    propagates, logger.propagate = logger.propagate, False
    logger.addHandler(collector)
    try:
        yield collector.records
    finally:
        logger.removeHandler(collector)
        logger.propagate = propagates
