"""Shows errors that the user's modules raise, without the lines of Python and of Potassium."""

import traceback
from itertools import takewhile
from types import TracebackType

from potassium.errors import UsageError
from potassium.project.files import is_own

__all__ = ["is_of_user", "user_lines"]


def is_of_user(error: BaseException) -> bool:
    """Return whether the error is in the user's files, or a line of theirs has led to it."""
    return _user_trace(error) is not None or _is_in_own_syntax(error)


def user_lines(error: BaseException) -> str:
    """Return the traceback of ``error`` from the first line of the user's files.

    A ``UsageError`` says what to do, and needs no more than the lines that led to it. An error that
    has nothing to do with the user's files is shown in whole.
    """
    trace = _user_trace(error)
    if isinstance(error, UsageError):
        frames = takewhile(lambda one: is_own(one.filename), traceback.extract_tb(trace))
        lines = traceback.format_list(list(frames))
        head = ["Traceback (most recent call last):\n"] if lines else []
        return "".join([*head, *lines, f"{type(error).__name__}: {error}"])
    if trace is None and not _is_in_own_syntax(error):
        trace = error.__traceback__
    return "".join(traceback.format_exception(type(error), error, trace)).rstrip()


def _user_trace(error: BaseException) -> TracebackType | None:
    trace = error.__traceback__
    while trace is not None and not is_own(trace.tb_frame.f_code.co_filename):
        trace = trace.tb_next
    return trace


def _is_in_own_syntax(error: BaseException) -> bool:
    return isinstance(error, SyntaxError) and error.filename is not None and is_own(error.filename)
