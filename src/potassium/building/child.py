"""What runs in the processes of a build: ``python -m potassium.building.child TASK REPORT``.

The first one starts the app, writes the snapshot and makes the calls; the second one starts it with
the snapshot, compares what was restored, and makes them again.
"""

import asyncio
import json
import sys
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potassium.building.answers import BuildCall, answers_of
from potassium.building.files import FilesRead
from potassium.building.variables import watched
from potassium.errors import UsageError
from potassium.project.target import Target
from potassium.project.traces import user_lines
from potassium.serving.snapshot import asked

if TYPE_CHECKING:
    from potassium.app import Potassium
    from potassium.serving.assembly import Assembly

__all__ = ["Task"]


@dataclass(frozen=True, kw_only=True)
class Task:
    """What a process of a build does.

    Attributes:
        folder: where the app's module is found.
        module: its name.
        name: the app's name in it; None if it has only one.
        snapshot: the new snapshot to restore; None for one to be made.
        tensors: what was found of each tensor in it when it was written.
        settings: the settings of torch then.
        calls: the calls to make: paths, and files with the inputs.

    """

    folder: str
    module: str
    name: str | None
    snapshot: str | None
    tensors: tuple[str, ...]
    settings: dict[str, Any]
    calls: tuple[tuple[str, str], ...]


def main() -> int:
    """Do what the first file says, and write a report to the second; return the exit status."""
    task, place = Task(**json.loads(Path(sys.argv[1]).read_text())), Path(sys.argv[2])
    try:
        report = _make(task) if task.snapshot is None else _restore(task, Path(task.snapshot))
    except Exception as error:  # noqa: BLE001 - told to the process that has started this one
        about_us = isinstance(error, UsageError)
        report = {"error": str(error) if about_us else user_lines(error)}
    place.write_text(json.dumps(report))
    return int("error" in report)


def _make(task: Task) -> dict[str, Any]:
    from potassium.building.recorder import Recorder  # noqa: PLC0415 - imports the app's parts

    files = FilesRead()
    with watched() as variables:
        files.install()
        app, parts = _imported(task)
        recorder = Recorder(app, files, variables)
        parts.init.snapshot = recorder
        try:
            return asyncio.run(_started(app, parts, task)) | recorder.report()
        except BaseException:
            recorder.discard()
            raise


def _restore(task: Task, snapshot: Path) -> dict[str, Any]:
    from potassium.building.verifier import Verifier  # noqa: PLC0415 - as above

    app, parts = _imported(task)
    place = asked(parts.init, snapshot)
    parts.init.snapshot = verifier = Verifier(app, place, task.tensors, task.settings)
    return asyncio.run(_started(app, parts, task)) | verifier.report()


def _imported(task: Task) -> "tuple[Potassium, Assembly]":
    """Import the app so that it serves nobody, keeps no jobs and posts nothing."""
    from potassium.project.unserved import import_unserved  # noqa: PLC0415 - imports the server
    from potassium.serving.composition import parts_of  # noqa: PLC0415

    app = import_unserved(Target(Path(task.folder), task.module, task.name)).app
    parts = parts_of(app)
    if parts.init.function is None:
        raise UsageError(f"{task.module} has no @app.init, so there is nothing to keep.")
    parts.try_out()
    return app, parts


async def _started(app: "Potassium", parts: "Assembly", task: Task) -> dict[str, Any]:
    calls = [BuildCall(path, Path(body)) for path, body in task.calls]
    async with app.lifespan():
        answers = await answers_of(app, calls)
        return {
            "startup": parts.plan.startup.document(),
            "answers": [asdict(one) for one in answers],
        }


if __name__ == "__main__":
    sys.exit(main())
