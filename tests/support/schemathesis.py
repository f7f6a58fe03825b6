"""Runs schemathesis, which calls a server as its schema allows, and as it does not."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

HERE = Path(__file__).parent
CASES = int(os.environ.get("SCHEMATHESIS_CASES", "1"))
PER_OPERATION = int(os.environ.get("SCHEMATHESIS_PER_OPERATION", "2"))
TIME = int(os.environ.get("SCHEMATHESIS_TIME", "55"))  # seconds for one run
COMMAND = shutil.which("schemathesis", path=str(Path(sys.executable).parent))

# Pydantic takes "1" and true for numbers, unless types are strict, and refuses what JSON Schema
# cannot tell it about: two lists of different lengths.
LAX = "positive_data_acceptance,negative_data_rejection"


def check_with_schemathesis(url: str, *options: str) -> None:
    """Fail if a response of the server is one that its schema, at ``url``, does not allow."""
    if COMMAND is None:
        pytest.skip("schemathesis is not installed")
    cases, seed = 0, 0
    while cases < CASES:
        seed += 1
        sent = _run([COMMAND, *_config(), "run", url, "--seed", str(seed), *_amount(), *options])
        assert sent > 0
        cases += sent


def _config() -> list[str]:
    return ["--config-file", str(HERE / "schemathesis.toml")]


def _amount() -> list[str]:
    return ["--max-examples", str(PER_OPERATION), "--continue-on-failure", "--no-color"]


def _run(command: list[str]) -> int:
    """Run schemathesis; return the number of its test cases."""
    env = {**os.environ, "PYTHONPATH": str(HERE.parent)}
    with TemporaryDirectory() as folder:  # it remembers failures of earlier runs in files
        done = subprocess.run(
            command, capture_output=True, text=True, timeout=TIME, check=False, env=env, cwd=folder
        )
    assert done.returncode == 0, done.stdout + done.stderr
    found = re.search(r"(\d+) generated", done.stdout)
    assert found is not None, done.stdout
    sys.stdout.write(f"{found[1]} cases\n")
    return int(found[1])
