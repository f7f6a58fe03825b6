"""How a server of its own logs: uvicorn's configuration, and what we add to it."""

import copy
import logging
import time
from typing import Any

import uvicorn.config

from potassium.errors import StreamBroken

__all__ = ["Seldom", "log_config"]


def log_config(log_level: str | int | None) -> dict[str, Any]:
    """Return uvicorn's log configuration with timestamps, and with our logger's output added."""
    level = log_level.upper() if isinstance(log_level, str) else log_level or logging.INFO
    config: dict[str, Any] = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    for formatter in config["formatters"].values():
        formatter["fmt"] = f"%(asctime)s {formatter['fmt']}"
    ours = logging.getLogger("potassium")
    if not ours.hasHandlers():
        config["loggers"][ours.name] = {"handlers": ["default"], "level": level, "propagate": False}
    elif ours.level == logging.NOTSET:  # the app has handlers of its own, which get our lines
        ours.setLevel(level)
    config["filters"] = {"told": {"()": lambda: _was_not_told}, "seldom": {"()": Seldom}}
    config["handlers"]["default"]["filters"] = ["told", "seldom"]
    return config


def _was_not_told(record: logging.LogRecord) -> bool:
    """Drop the server's record of a stream that was broken on purpose: we logged it already."""
    return not (record.exc_info and isinstance(record.exc_info[1], StreamBroken))


class Seldom:
    """Passes each of the lines that any client can cause at will once a minute."""

    LINES = ("Unsupported upgrade request.", "No supported WebSocket library detected")
    PAUSE = 60.0  # seconds

    def __init__(self) -> None:
        self._passed_at: dict[str, float] = {}

    def __call__(self, record: logging.LogRecord) -> bool:
        """Return whether ``record`` is to be logged."""
        line = next((one for one in self.LINES if str(record.msg).startswith(one)), None)
        if line is None:
            return True
        now = time.monotonic()
        is_due = now - self._passed_at.get(line, -self.PAUSE) >= self.PAUSE
        if is_due:
            self._passed_at[line] = now
        return is_due
