"""A few thousand random requests; ``benchmarks/fuzz.py`` sends as many as you like."""

import subprocess
import sys
from pathlib import Path

import pytest

LIMIT = 200  # seconds, which only a hang or a very busy machine takes

pytestmark = pytest.mark.timeout(LIMIT + 10)

FUZZ = Path(__file__).parents[2] / "benchmarks" / "fuzz.py"


def test_no_request_is_too_odd_to_be_answered() -> None:
    """No exception, no 500 except the handler's own, no hang; every error is a problem document."""
    fuzz("--inputs", "2000", "--seed", "1")


def test_no_bytes_are_too_odd_to_be_answered() -> None:
    """No exception, nothing that is not HTTP, no good request unanswered, nothing left."""
    fuzz("--sockets", "--inputs", "2000", "--seed", "1")


def fuzz(*options: str) -> None:
    command = [sys.executable, "-W", "error", str(FUZZ), *options]
    done = subprocess.run(command, capture_output=True, text=True, timeout=LIMIT, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
