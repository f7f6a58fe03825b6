"""Where in an app's code a thread is at the moment."""

import inspect
import sys
from pathlib import Path
from types import CodeType, FrameType

__all__ = ["place_below", "place_of_step"]

OURS = str(Path(__file__).parent.parent)
COROUTINE = inspect.CO_COROUTINE | inspect.CO_ASYNC_GENERATOR


def place_below(thread: int, caller: CodeType) -> str | None:
    """Return the line of the app that ``caller`` is running on a thread: ``app.py:12 in load``.

    It is in the first function that is not ours below ``caller``. If that has called something
    else, which is usually where the time goes, the innermost line follows in parentheses.

    Args:
        thread: the thread's identifier, as from ``threading.get_ident``.
        caller: the code of ours that runs the app's code.

    Returns:
        None if ``caller`` does not run on the thread, or no code of the app is below it.

    """
    innermost = frame = sys._current_frames().get(thread)  # noqa: SLF001 - documented, in spite of its name
    app: FrameType | None = None
    while frame is not None and frame.f_code is not caller:
        if not frame.f_code.co_filename.startswith(OURS):
            app = frame
        frame = frame.f_back
    if frame is None or app is None or innermost is None:
        return None
    return _place(app, innermost)


def place_of_step(thread: int) -> tuple[CodeType, str] | None:
    """Return the code and the line of the coroutine that is running on a thread.

    It is the innermost one that is not of the standard library: whatever that has called runs in
    the same step of it.

    Args:
        thread: the thread's identifier, as from ``threading.get_ident``.

    Returns:
        None if no coroutine runs on the thread, or if it is one of ours.

    """
    innermost = frame = sys._current_frames().get(thread)  # noqa: SLF001 - as above
    while frame is not None and innermost is not None:
        if frame.f_code.co_flags & COROUTINE and not _is_of_python(frame):
            if frame.f_code.co_filename.startswith(OURS):
                return None
            return frame.f_code, _place(frame, innermost)
        frame = frame.f_back
    return None


def _is_of_python(frame: FrameType) -> bool:
    return str(frame.f_globals.get("__name__")).partition(".")[0] in sys.stdlib_module_names


def _place(frame: FrameType, innermost: FrameType) -> str:
    place = f"{_line(frame)} in {frame.f_code.co_qualname}"
    return place if innermost is frame else f"{place} ({_line(innermost)})"


def _line(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
