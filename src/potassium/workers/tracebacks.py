"""Tracebacks that cross from a worker to the front, as the places in files that they name.

Python shows a traceback by the places that its code objects name, and reads the lines themselves
from the files. So the front makes code that only raises, at the same places, and whatever shows,
counts or filters tracebacks works as if the error had been raised here.
"""

import ast
from collections.abc import Sequence
from functools import lru_cache
from itertools import islice
from types import CodeType, FunctionType, TracebackType
from typing import NamedTuple

__all__ = ["Place", "places_of", "traceback_of"]

MOST_PLACES = 200  # of one traceback: what is beyond, in its middle, is left out
BYTES_PER_INSTRUCTION = 2


class Place(NamedTuple):
    """One line of a traceback.

    Attributes:
        file: the name of the file.
        function: the name of the function.
        line: the first line of what was evaluated, counted from 1.
        last_line: its last line; the same as ``line`` if it is not known.
        column: where it begins in its first line, in bytes; -1 if it is not known.
        last_column: where it ends in its last line.

    """

    file: str
    function: str
    line: int
    last_line: int
    column: int
    last_column: int


def places_of(trace: TracebackType | None) -> list[Place]:
    """Return the places of a traceback, the outermost first.

    Of more than 200, the first and the last hundred: one place in between says how many are
    missing.
    """
    steps = _steps(trace)
    missing = len(steps) - MOST_PLACES
    if missing <= 0:
        return [_place(*one) for one in steps]
    half = MOST_PLACES // 2
    left_out = Place("...", f"{missing} more calls", 1, 1, -1, -1)
    return [
        *(_place(*one) for one in steps[:half]),
        left_out,
        *(_place(*one) for one in steps[-half:]),
    ]


def traceback_of(places: Sequence[Place]) -> TracebackType | None:
    """Return a traceback that names these places. Its frames have no variables."""
    trace: TracebackType | None = None
    for place in reversed(places):
        inner = _raised_at(place)
        inner.tb_next = trace
        trace = inner
    return trace


def _steps(trace: TracebackType | None) -> list[tuple[CodeType, int, int]]:
    steps = []
    while trace is not None:
        steps.append((trace.tb_frame.f_code, trace.tb_lasti, trace.tb_lineno))
        trace = trace.tb_next
    return steps


def _place(code: CodeType, instruction: int, line: int) -> Place:
    """Return where an instruction comes from (PEP 657); some interpreters know only the line."""
    at = instruction // BYTES_PER_INSTRUCTION
    positions = islice(code.co_positions(), at, None) if at >= 0 else iter(())
    first, last, column, last_column = next(positions, (None,) * 4)
    first = first or line or 1
    unknown = Place(code.co_filename, code.co_name, first, first, -1, -1)
    if last is None or column is None or last_column is None:
        return unknown
    if (last, last_column) < (first, column):  # of code that a compiler of models has made
        return unknown
    return Place(code.co_filename, code.co_name, first, last, column, last_column)


def _raised_at(place: Place) -> TracebackType:
    try:
        FunctionType(_raising_at(place), {})()
    except TypeError as error:
        trace = error.__traceback__
        assert trace is not None  # noqa: S101 - it was just raised
        assert trace.tb_next is not None  # noqa: S101 - in the other function
        return trace.tb_next
    raise AssertionError("unreachable")  # pragma: no cover - the code only raises


@lru_cache(maxsize=1024)
def _raising_at(place: Place) -> CodeType:
    """Return code that raises at this place, as ``0`` is no exception."""
    value = ast.Constant(0)
    raising = ast.Raise(value)
    for node in (raising, value):
        node.lineno, node.end_lineno = place.line, place.last_line
        node.col_offset, node.end_col_offset = place.column, place.last_column
    module = ast.Module([raising], [])
    code: CodeType = compile(module, "", "exec")
    return code.replace(co_filename=place.file, co_name=place.function)
