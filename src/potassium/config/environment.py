"""Defaults that environment variables set."""

import os
import re
from pathlib import Path
from typing import Literal, cast, get_args

from potassium.config.workers import Workers
from potassium.errors import UsageError

__all__ = [
    "DEFAULT_PORT",
    "LOG_FORMATS",
    "PORTS",
    "VARIABLES",
    "LogFormat",
    "default_host",
    "default_log",
    "default_port",
    "default_workers",
    "fastboot",
    "switch",
    "workers_from",
]

LogFormat = Literal["json", "text"]
LOG_FORMATS: tuple[LogFormat, ...] = get_args(LogFormat)

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
HIGHEST_PORT = 65535

# The variables that set the port, those that come first outweigh the others: ours, that of Vertex
# AI, and that of Cloud Run, Heroku and other platforms.
PORTS = ("POTASSIUM_PORT", "AIP_HTTP_PORT", "PORT")

# All variables of ours.
VARIABLES = frozenset(
    (
        "POTASSIUM_API_KEY",
        "POTASSIUM_API_KEYS",
        "POTASSIUM_DOCS",
        "POTASSIUM_FASTBOOT",
        "POTASSIUM_HOST",
        "POTASSIUM_LOG",
        "POTASSIUM_METRICS",
        "POTASSIUM_PORT",
        "POTASSIUM_TRACES",
        "POTASSIUM_WORKERS",
    )
)


def default_host() -> str:
    """Return ``POTASSIUM_HOST``, or the loopback address by default."""
    return os.environ.get("POTASSIUM_HOST") or DEFAULT_HOST


def default_port() -> int:
    """Return the port that the first variable of ``PORTS`` says, or 8000 by default.

    Raises:
        UsageError: it is not a port number.

    """
    name = next((one for one in PORTS if os.environ.get(one)), None)
    if name is None:
        return DEFAULT_PORT
    value = os.environ[name]
    if value.isdecimal() and len(value) <= len(str(HIGHEST_PORT)) and int(value) <= HIGHEST_PORT:
        return int(value)
    hint = ""
    if "://" in value:  # https://kubernetes.io/docs/concepts/services-networking/service/
        hint = (
            " Kubernetes sets it in pods beside a Service of that name: set enableServiceLinks: "
            "false in the pod's spec."
        )
    raise UsageError(f"{name}={value!r} must be a port number, 0 to 65535.{hint}")


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


def default_workers() -> Workers | None:
    """Return the workers that ``POTASSIUM_WORKERS`` asks for, or None by default, and for 0.

    It is a number, ``auto``, or devices separated by commas.

    Raises:
        UsageError: it is something else.

    """
    return workers_from(os.environ.get("POTASSIUM_WORKERS", ""), "POTASSIUM_WORKERS")


def workers_from(text: str, option: str) -> Workers | None:
    """Return the workers that ``text`` asks for, or None if it is empty or 0.

    Raises:
        UsageError: it is something else; ``option`` names where it comes from.

    """
    value = text.strip()
    if value in ("", "0"):
        return None
    devices: int | str | list[str] = value
    if re.fullmatch("[0-9]{1,9}", value):
        devices = int(value)
    elif value != "auto":
        devices = [part.strip() for part in value.split(",")]
    try:
        return Workers(devices)
    except UsageError:
        raise UsageError(
            f"{option}={value!r} must be a number of workers, auto, or devices separated "
            "by commas, such as cuda:0,cuda:1; 0 for none."
        ) from None


def switch(name: str, *, default: bool) -> bool:
    """Return whether the environment variable ``name`` is 1, or ``default`` if it is not set.

    Raises:
        UsageError: it is neither 0 nor 1.

    """
    value = os.environ.get(name) or str(int(default))
    if value not in ("0", "1"):
        raise UsageError(f"{name}={value!r} must be 1 or 0.")
    return value == "1"


def fastboot() -> Path | Literal["auto", "off", "require"]:
    """Return what ``POTASSIUM_FASTBOOT`` says of snapshots: where one is, or how it is used."""
    value = os.environ.get("POTASSIUM_FASTBOOT", "").strip() or "auto"
    if value in ("auto", "off", "require"):
        return cast("Literal['auto', 'off', 'require']", value)
    return Path(value)
