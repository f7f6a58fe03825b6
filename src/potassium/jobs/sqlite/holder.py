"""The note beside the file of ``SqliteStore``: which app has it, for those that want it too."""

import json
import os
import re
import socket
from contextlib import suppress
from pathlib import Path

from potassium.errors import UsageError

__all__ = ["Holder"]

PRIVATE = 0o600  # mode of the note


class Holder:
    """Notes that an app has the file at ``path``, or finds out which app has it.

    The lock on the file decides who may use it. The note only says more about it, so it does no
    harm if it is missing, or was left by a process that died.

    Args:
        path: the file of the store.
        app: the name of the app that wants it.

    """

    def __init__(self, path: Path, app: str) -> None:
        self._path = path
        self._app = app
        self._me = [socket.gethostname(), os.getpid()]  # containers share a file, and process ids

    def note(self) -> None:
        """Note that the app has the file now."""
        with suppress(OSError):
            file = os.open(self._file, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE)
            with os.fdopen(file, "w") as note:
                json.dump({"app": self._app, "process": self._me}, note)

    def forget(self) -> None:
        """Remove the note, before the app lets go of the file."""
        with suppress(OSError):
            self._file.unlink()

    def refusal(self) -> UsageError:
        """Return the error for the app if it cannot have the file, because it is in use."""
        try:
            note = json.loads(self._file.read_bytes())
            other, process = str(note["app"]), note["process"]
            host, number = process
        except (OSError, ValueError, KeyError, TypeError):
            return self._by_process("another process")
        if process == self._me:
            return self._by_app(other)
        where = f"process {number}" if host == self._me[0] else f"process {number} on {host}"
        return self._by_process(f'another process (the app "{other}", {where})')

    @property
    def _file(self) -> Path:
        path = self._path.resolve()  # the other app may know it by another name
        return path.with_name(f"{path.name}-holder")

    def _by_process(self, who: str) -> UsageError:
        return UsageError(
            f"{self._path} is in use by {who}; only one process at a time can use a file of "
            "jobs. Start one worker (uvicorn without --workers), give each process a file of its "
            "own with Jobs(path=...), or let them share a database with Jobs(url=...)."
        )

    def _by_app(self, other: str) -> UsageError:
        both = f'The apps "{other}" and "{self._app}"'
        if other == self._app:
            both = f'Two apps named "{self._app}"'
        name = re.sub(r"[^\w.-]+", "-", self._app).strip("-.") or "app"
        if other == self._app or name == self._path.stem:
            name = f"{name}-2"
        free = self._path.with_name(f"{name}.db")
        with suppress(ValueError):
            free = free.relative_to(Path.cwd())
        return UsageError(
            f"{both} in this process both keep background jobs in {self._path}, which only one of "
            f"them can use. Give the second one a file of its own: "
            f'Potassium("{self._app}", jobs=Jobs(path="{free}")).'
        )
