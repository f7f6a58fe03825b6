"""Defaults that environment variables set."""

import os
from typing import Literal, get_args

from potassium.errors import UsageError

__all__ = ["LOG_FORMATS", "LogFormat", "default_host", "default_log", "default_port", "switch"]

LogFormat = Literal["json", "text"]
LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
HIGHEST_PORT = 65535


def default_host() -> str:
    """Return ``POTASSIUM_HOST``, or the loopback address by default."""
    return os.environ.get("POTASSIUM_HOST") or DEFAULT_HOST


def default_port() -> int:
    """Return ``POTASSIUM_PORT``, or 8000 by default.

    Raises:
        UsageError: it is not a port number.

    """
    value = os.environ.get("POTASSIUM_PORT") or str(DEFAULT_PORT)
    if not value.isdecimal() or len(value) > len(str(HIGHEST_PORT)) or int(value) > HIGHEST_PORT:
        raise UsageError(f"POTASSIUM_PORT={value!r} must be a port number, 0 to 65535.")
    return int(value)


def default_log() -> LogFormat | None:
    """Return ``POTASSIUM_LOG``, the format of the log, or None by default.

    Raises:
        UsageError: there is no such format.

    """
    value = os.environ.get("POTASSIUM_LOG") or None
    if value is None:
        return None
    for one in LOG_FORMATS:
        if one == value:
            return one
    raise UsageError(f"POTASSIUM_LOG={value!r} must be json or text.")


def switch(name: str, *, default: bool) -> bool:
    """Return whether the environment variable ``name`` is 1, or ``default`` if it is not set.

    Raises:
        UsageError: it is neither 0 nor 1.

    """
    value = os.environ.get(name) or str(int(default))
    if value not in ("0", "1"):
        raise UsageError(f"{name}={value!r} must be 1 or 0.")
    return value == "1"
