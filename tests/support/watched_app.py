"""An app whose workers a test looks at; they import it from here."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from potassium import Potassium, Workers

app = Potassium(
    "server", metrics=True, workers=Workers(["cpu", "cpu"], app="support.watched_app:app")
)


@app.init
def init() -> dict[str, Any]:
    """Wait while there is a file, and fail while there is another one."""
    while Path(os.environ["HOLD"]).exists():
        time.sleep(0.005)
    if Path(os.environ["BROKEN"]).exists():
        raise RuntimeError("no weights")
    return {}


@app.handler("/pid")
def pid(cache: dict[str, Any], json_in: Any) -> int:
    """Return which process runs this."""
    return os.getpid()


@app.handler("/hold")
def hold(cache: dict[str, Any], json_in: dict[str, str]) -> int:
    """Run until there is a file."""
    _wait(json_in["gate"])
    return os.getpid()


@app.handler("/stream", streams=4)
def stream(cache: dict[str, Any], json_in: dict[str, str]) -> Iterator[str]:
    """Yield something now, and something once there is a file."""
    yield "first"
    _wait(json_in["gate"])
    yield "last"


@app.handler("/exit")
def leave(cache: dict[str, Any], json_in: Any) -> None:
    """End the process."""
    os._exit(3)


def _wait(gate: str) -> None:
    while not Path(gate).exists():
        time.sleep(0.005)
