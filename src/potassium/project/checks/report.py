"""Checks an app: what it has, and what is wrong with it."""

from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any

from potassium.errors import UsageError
from potassium.project.checks import (
    document,
    extras,
    functions,
    imports,
    options,
    receivers,
    routes,
    storage,
    warm_ups,
)
from potassium.project.checks.rows import Row, row_of
from potassium.project.finding import Finding, Level, problem
from potassium.project.unserved import Unserved
from potassium.serving.assembly import Assembly
from potassium.serving.composition import parts_of

__all__ = ["Report", "report_on"]


@dataclass(frozen=True, kw_only=True)
class Report:
    """What an app has, and what was found.

    Attributes:
        app: its name; None if it could not be imported.
        file: the file of its module.
        handlers: a row for each handler, in the order of registration.
        findings: what was found; nothing is said of what is right.

    """

    app: str | None
    file: str
    handlers: Sequence[Row] = ()
    findings: Sequence[Finding] = ()

    @property
    def is_good(self) -> bool:
        """Whether there is no problem."""
        return all(one.level is not Level.PROBLEM for one in self.findings)

    def document(self) -> dict[str, Any]:
        """Return it as JSON."""
        return {**asdict(self), "ok": self.is_good}


def report_on(imported: Unserved) -> Report:
    """Check an app that was imported."""
    return Report(
        app=imported.app.name,
        file=imported.file.name,
        handlers=[row_of(one) for one in parts_of(imported.app).handlers.values()],
        findings=list(_findings(imported)),
    )


def _findings(imported: Unserved) -> Iterable[Finding]:
    app = imported.app
    parts, keys = parts_of(app), app._api_keys  # noqa: SLF001 - nobody else asks for them
    plan = parts.plan
    yield from imports.findings(imported)
    yield from _registration(parts)
    yield from functions.findings(parts)
    yield from options.findings(plan, keys, app.router)
    yield from warm_ups.findings(plan)
    yield from routes.findings(app.router)
    yield from receivers.findings(plan)
    yield from storage.findings(plan.jobs)
    yield from extras.findings(plan)
    yield from document.findings(app)


def _registration(parts: Assembly) -> Iterable[Finding]:
    try:
        parts.check_served()
    except UsageError as error:
        yield problem("registration", str(error))
