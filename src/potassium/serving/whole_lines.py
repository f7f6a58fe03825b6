"""Lines that an app prints arrive whole, whatever other processes write to the same place."""

import io
import sys

__all__ = ["print_whole_lines"]


def print_whole_lines() -> None:
    """Write each printed line at once, where Python has been told not to buffer.

    With ``PYTHONUNBUFFERED``, as it is usual in containers, ``print("a")`` writes the text and the
    end of the line one after the other, and a line of another process or thread may come between.
    A line still appears as soon as it is printed; what has no end of line, once it is flushed.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper) and stream.write_through:
            stream.reconfigure(write_through=False, line_buffering=True)
