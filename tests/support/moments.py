"""What another thread may do in the middle of a function, at a moment that a test chooses."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import CodeType, FrameType
from typing import Any

__all__ = ["at_moment"]


@contextmanager
def at_moment(moment: int, code: CodeType, act: Callable[[], object]) -> Iterator[list[int]]:
    """Call ``act`` right before instruction number ``moment`` of the next run of ``code``.

    A thread switch may come before any instruction, so a test that goes through all of them has
    seen every race with one other action. The yielded list holds the moment once it has come.
    """
    passed = 0
    came: list[int] = []

    def trace(frame: FrameType, event: str, _: object) -> Any:
        nonlocal passed
        if frame.f_code is not code:
            return None
        frame.f_trace_opcodes = True
        if event == "opcode":
            passed += 1
            if passed == moment:
                came.append(moment)
                act()
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        yield came
    finally:
        sys.settrace(before)
