"""What the environment says where the code does not. A variable that is empty counts as unset."""

import os

from potassium.errors import UsageError

__all__ = ["default_api_keys", "default_host", "default_port"]

DEFAULT_HOST = "127.0.0.1"
DEFAULT_PORT = 8000
HIGHEST_PORT = 65535


def default_host() -> str:
    """Return ``POTASSIUM_HOST``, or the loopback."""
    return os.environ.get("POTASSIUM_HOST") or DEFAULT_HOST


def default_port() -> int:
    """Return ``POTASSIUM_PORT``, or 8000.

    Raises:
        UsageError: it is no port.

    """
    value = os.environ.get("POTASSIUM_PORT") or str(DEFAULT_PORT)
    if not value.isdecimal() or len(value) > len(str(HIGHEST_PORT)) or int(value) > HIGHEST_PORT:
        raise UsageError(f"POTASSIUM_PORT={value!r}: a port number, 0 to 65535, is needed.")
    return int(value)


def default_api_keys() -> list[str]:
    """Return the keys in ``POTASSIUM_API_KEYS``, which stand there with commas between them."""
    keys = os.environ.get("POTASSIUM_API_KEYS", "").split(",")
    return [key.strip() for key in keys if key.strip()]
