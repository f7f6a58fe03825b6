"""What is printed arrives line by line."""

import os
import subprocess
import sys

import pytest

PRINTS = """
import os, sys
from potassium.serving.whole_lines import print_whole_lines
print_whole_lines()
print("a", 1)
os.write(1, b"other\\n")
print("b", end="", flush=True)
os.write(1, b"|")
print("c", file=sys.stderr)
os._exit(0)
"""
WRITTEN = """
import os
read, write = os.pipe2(os.O_DIRECT)  # pipe(2): each write is a packet
pid = os.fork()
if pid == 0:
    os.dup2(write, 1)
    os.execv({python!r}, [{python!r}, "-c", {source!r}])
os.close(write)
while packet := os.read(read, 4096):
    print(packet)
"""


@pytest.mark.parametrize("unbuffered", ["1", ""])
def test_a_line_is_written_at_once(unbuffered: str) -> None:
    """Where Python does not buffer; where it does, nothing changes."""
    ran = subprocess.run(
        [sys.executable, "-c", WRITTEN.format(python=sys.executable, source=PRINTS)],
        env={**os.environ, "PYTHONUNBUFFERED": unbuffered},
        capture_output=True,
        text=True,
        check=True,
    )
    if unbuffered:
        assert ran.stdout.splitlines() == ["b'a 1\\n'", "b'other\\n'", "b'b'", "b'|'"]
    else:
        assert ran.stdout.splitlines() == ["b'other\\n'", "b'a 1\\nb'", "b'|'"]
    assert ran.stderr == "c\n"
