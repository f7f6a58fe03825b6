"""Libraries that an app needs once it runs, and that are not installed."""

from collections.abc import Iterable
from importlib.util import find_spec

from potassium.http.multipart import can_parse
from potassium.project.finding import Finding, note, problem
from potassium.serving.plan import Plan

__all__ = ["findings"]


def findings(plan: Plan) -> Iterable[Finding]:
    """Yield what is missing.

    Most extras are missed when the app is imported, because that imports them. These are not.
    """
    if plan.jobs is not None and plan.jobs.url is not None and find_spec("psycopg") is None:
        yield problem(
            "jobs",
            "Jobs(url=...) needs psycopg, which is not installed.",
            'pip install "potassium[postgres]"',
        )
    if plan.jobs is not None and plan.jobs.is_in_file and find_spec("aiosqlite") is None:
        yield problem(
            "jobs",
            "Jobs that survive a restart need aiosqlite, which is not installed.",
            'pip install "potassium[jobs]", or keep them in memory: Jobs(path=None)',
        )
    for handler in plan.handlers.values():
        adapter = handler.bind.adapter
        is_known = adapter is None or adapter.pydantic_complete
        if is_known and handler.bind.decodes_files and not can_parse():
            yield problem(
                handler.path,
                "It takes files, which are sent as forms, and python-multipart is not installed.",
                'pip install "potassium[files]"',
            )
    if plan.observation.traces is not None and find_spec("opentelemetry.sdk") is None:
        yield note(
            "traces",
            "Traces are on, but without OpenTelemetry's SDK they go nowhere.",
            "pip install opentelemetry-distro opentelemetry-exporter-otlp",
        )
