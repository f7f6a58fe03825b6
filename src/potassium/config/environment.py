"""Defaults that environment variables set."""

import os

from potassium.errors import UsageError

__all__ = ["default_docs", "default_host", "default_port"]

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


def default_docs() -> bool:
    """Return whether ``POTASSIUM_DOCS`` lets an app show its page and schema; by default, it does.

    Raises:
        UsageError: it is neither 0 nor 1.

    """
    value = os.environ.get("POTASSIUM_DOCS") or "1"
    if value not in ("0", "1"):
        raise UsageError(f"POTASSIUM_DOCS={value!r} must be 1 or 0.")
    return value == "1"
