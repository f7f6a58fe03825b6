"""A traceback that has crossed names the same places."""

import traceback
from types import TracebackType

from hypothesis import given
from hypothesis import strategies as st

from potassium.workers.tracebacks import Place, places_of, traceback_of

LINES = st.integers(1, 2**31 - 1)
NAMES = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]))  # of files
COLUMNS = st.integers(0, 2**31 - 1)


def trace_of_a_division() -> TracebackType | None:
    try:
        return [1 / zero for zero in (0,)]  # type: ignore[return-value] # it raises
    except ZeroDivisionError as error:
        return error.__traceback__


def test_a_traceback_is_shown_as_the_original() -> None:
    """The files, the lines, the functions and what is marked in each line are the same."""
    trace = trace_of_a_division()
    again = traceback_of(places_of(trace))
    assert traceback.format_tb(again) == traceback.format_tb(trace)
    assert "1 / zero" in traceback.format_tb(again)[-1]


def test_no_traceback_stays_none() -> None:
    """An exception that was never raised has none."""
    assert traceback_of(places_of(None)) is None


def test_code_that_is_at_no_instruction_is_shown_by_its_line() -> None:
    """As that of compiled extensions, which have lines alone."""
    trace = trace_of_a_division()
    assert trace is not None
    odd = TracebackType(None, trace.tb_frame, -1, 7)
    assert [(place.line, place.column) for place in places_of(odd)] == [(7, -1)]
    assert traceback.format_tb(traceback_of(places_of(odd))) == traceback.format_tb(odd)


@st.composite
def places(draw: st.DrawFn) -> Place:
    file, function = draw(NAMES), draw(st.text(min_size=1))
    first, last = sorted((draw(LINES), draw(LINES)))
    begin, end = sorted((draw(COLUMNS), draw(COLUMNS)))
    known = draw(st.booleans()) and first < 10**6 and last - first < 10**5 and end < 10**6
    if not known:
        return Place(file, function, first, first, -1, -1)
    return Place(file, function, first, last, begin, end)


@given(st.lists(places(), max_size=5))
def test_any_place_may_be_named(some: list[Place]) -> None:
    """Whatever a worker's code objects say, the front's say the same, in the same order."""
    assert places_of(traceback_of(some)) == some


def test_code_that_says_nonsense_of_itself_is_shown_by_its_line() -> None:
    """What compilers of models make may end before it begins."""
    trace = traceback_of([Place("made.py", "forward", 7, 7, 4, 9)])
    assert trace is not None
    code = trace.tb_frame.f_code
    first, *_ = places_of(trace)
    assert first == Place("made.py", "forward", 7, 7, 4, 9)
    odd = code.replace(co_linetable=b"\xf0\x02\x00\x09\x04" * 8)
    try:
        eval(odd, {})  # noqa: S307 - it only raises
    except TypeError as error:
        place = places_of(error.__traceback__)[-1]
    assert (place.column, place.last_column) == (-1, -1)
    assert traceback_of([place]) is not None
