"""Imports an app to look at it: nothing is served, and no model is loaded."""

import contextlib
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from potassium.project.files import is_own
from potassium.project.target import Target
from potassium.serving.import_times import IMPORTS

if TYPE_CHECKING:
    from potassium.app import Potassium

__all__ = ["Unserved", "import_unserved"]

PATIENCE = 5.0  # seconds until somebody is told that the import takes long; then as often again


@dataclass(frozen=True, kw_only=True)
class Unserved:
    """An app that was imported, and what its module did meanwhile.

    Attributes:
        app: the app.
        target: where it was found.
        file: the file of its module.
        seconds: how long the import took, without the libraries that models come with.
        libraries: seconds that it took to import each of these.
        served_at: the lines at which the module would have served something, such as
            ``app.py:20``, if it did not ask for ``__main__`` first.

    """

    app: "Potassium"
    target: Target
    file: Path
    seconds: float
    libraries: dict[str, float]
    served_at: tuple[str, ...]


def import_unserved(
    target: Target,
    *,
    tell: Callable[[str], object] | None = None,
    clock: Callable[[], float] = time.monotonic,
    patience: float = PATIENCE,
) -> Unserved:
    """Import an app without letting it serve, even if its module asks for it right away.

    What the module prints goes to stderr, because stdout belongs to the command; and so do the
    arguments, so the module sees none.

    Args:
        target: where the app is.
        tell: called with a sentence, on another thread, if the import takes long.
        clock: returns seconds.
        patience: seconds until it is called for the first time, and between two calls.

    Raises:
        UsageError: as for ``Target.load``.
        BaseException: whatever the module raised.

    """
    known, began = dict(IMPORTS.seconds), clock()
    with _told(target, tell, patience), redirect_stdout(sys.stderr), _unserved() as served_at:
        sys.argv = sys.argv[:1]
        app = target.load()
    spent = clock() - began
    libraries = {
        name: seconds - known.get(name, 0.0)
        for name, seconds in IMPORTS.seconds.items()
        if seconds > known.get(name, 0.0)
    }
    module = sys.modules[target.module]
    return Unserved(
        app=app,
        target=target,
        file=Path(module.__file__ or target.module),
        seconds=max(0.0, spent - sum(libraries.values())),
        libraries=libraries,
        served_at=tuple(served_at),
    )


@contextmanager
def _unserved() -> Iterator[list[str]]:
    """Let ``app.serve()`` and ``uvicorn.run()`` return at once; yields the lines that call them.

    What has been changed for that, and ``sys.argv``, is put back.
    """
    import uvicorn  # noqa: PLC0415 - for those who look at apps only

    from potassium.app import Potassium  # noqa: PLC0415 - as above

    places: list[str] = []

    def note(*args: Any, **options: Any) -> None:
        del args, options
        frame = sys._getframe(1)  # noqa: SLF001 - documented, in spite of its name
        places.append(f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}")

    with contextlib.ExitStack() as undo:
        undo.callback(setattr, sys, "argv", sys.argv)
        for owner, name in ((Potassium, "serve"), (uvicorn, "run"), (uvicorn.Server, "run")):
            undo.callback(setattr, owner, name, getattr(owner, name))
            setattr(owner, name, note)
        yield places


@contextmanager
def _told(target: Target, tell: Callable[[str], object] | None, patience: float) -> Iterator[None]:
    """Tell, while the context is open, every few seconds where the import is."""
    if tell is None:
        yield
        return
    thread, over = threading.get_ident(), threading.Event()

    def watch() -> None:
        spent = 0.0
        while not over.wait(patience):
            spent += patience
            place = _place(thread)
            tell(f"Importing {target.module}, {spent:.0f} s so far{place and f', at {place}'}")

    watcher = threading.Thread(target=watch, name="potassium-import-watch", daemon=True)
    watcher.start()
    try:
        yield
    finally:
        over.set()
        watcher.join()


def _place(thread: int) -> str:
    """Return the innermost line that a thread runs of the user's own files, if any."""
    frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented, in spite of its name
    while frame is not None:
        if is_own(file := frame.f_code.co_filename):
            return f"{Path(file).name}:{frame.f_lineno}"
        frame = frame.f_back
    return ""
