"""Where in an app's code a thread is at the moment."""

import sys
from pathlib import Path
from types import CodeType, FrameType

__all__ = ["place_below"]

OURS = str(Path(__file__).parent.parent)


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
    place = f"{_line(app)} in {app.f_code.co_qualname}"
    return place if innermost is app else f"{place} ({_line(innermost)})"


def _line(frame: FrameType) -> str:
    return f"{Path(frame.f_code.co_filename).name}:{frame.f_lineno}"
