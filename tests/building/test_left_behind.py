"""Folders of builds that were cut short."""

import os
import subprocess
import sys

from e2e.server import wait_until

from potassium.building.recorder import _is_running


def test_a_process_runs_until_it_has_ended() -> None:
    """Also if nobody has waited for it, as in a container whose first process does not."""
    assert _is_running(os.getpid())
    ended = subprocess.Popen([sys.executable, "-c", ""])
    wait_until(lambda: not _is_running(ended.pid), "its end")
    assert ended.returncode is None  # nobody has waited
    ended.wait()
    assert not _is_running(ended.pid)
