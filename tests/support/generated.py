"""Generates clients from a schema, with the tools that people use, and checks their types."""

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

# The commands are in environments of their own: their requirements contradict ours.
PYTHON_GENERATOR = "OPENAPI_PYTHON_CLIENT"  # the command openapi-python-client
NODE_MODULES = "NODE_MODULES"  # a folder with openapi-typescript and typescript

# What the generator is told of raw bodies of other types than it knows, as docs/schema.md says.
CONFIG = "content_type_overrides:\n  image/x-portable-graymap: application/octet-stream\n"

# The generator's own code; what it makes of a schema is around it.
TEMPLATE = re.compile(r"^client/client\.py:")


def python_client(schema: bytes, folder: Path, program: str) -> Path:
    """Generate a client into ``folder``, beside a program that uses it; return the program."""
    generator = os.environ.get(PYTHON_GENERATOR) or shutil.which("openapi-python-client")
    if generator is None:
        pytest.skip(f"openapi-python-client is not installed, and {PYTHON_GENERATOR} not set")
    (folder / "openapi.json").write_bytes(schema)
    (folder / "config.yaml").write_text(CONFIG)
    (folder / "program.py").write_text(program)
    path = os.pathsep.join([str(Path(generator).parent), os.environ["PATH"]])
    command = [generator, "generate", "--path", "openapi.json", "--output-path", "client"]
    made = run([*command, "--meta", "none", "--config", "config.yaml"], folder, PATH=path)
    assert "Unable to parse" not in made, made
    faults = [line for line in made.splitlines() if line.startswith("Unsupported content type")]
    assert set(faults) <= {"Unsupported content type */*"}, made
    checked = run(
        [sys.executable, "-m", "mypy", "--strict", "client", "program.py"], folder, fails=True
    )
    lines = [line for line in checked.splitlines() if ": error:" in line]
    ours = [line for line in lines if not TEMPLATE.match(line)]
    assert lines or "no issues found" in checked, checked  # the types were checked
    assert not ours, "\n".join(ours)
    return folder / "program.py"


def typescript_program(schema: bytes, folder: Path, program: str) -> Path:
    """Generate types into ``folder``, and compile a program that uses them; return the result."""
    given = os.environ.get(NODE_MODULES)
    if given is None:
        pytest.skip(f"{NODE_MODULES} is not set: a folder with openapi-typescript and typescript")
    tools = Path(given) / ".bin"
    (folder / "openapi.json").write_bytes(schema)
    (folder / "program.mts").write_text(program)
    run([str(tools / "openapi-typescript"), "openapi.json", "-o", "schema.d.ts"], folder)
    options = ["--strict", "--target", "es2022", "--module", "nodenext"]
    run([str(tools / "tsc"), *options, "program.mts"], folder)
    return folder / "program.mjs"


def run(command: list[str], folder: Path, *, fails: bool = False, **env: str) -> str:
    """Return what a command prints; unless it ``fails``, its exit status must be 0."""
    done = subprocess.run(
        command,
        cwd=folder,
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert fails or done.returncode == 0, done.stdout + done.stderr
    return done.stdout + done.stderr
