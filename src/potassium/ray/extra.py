"""Ray Serve, which is an extra."""

from importlib.util import find_spec
from types import ModuleType

from potassium.errors import UsageError

__all__ = ["check_ray"]


def check_ray() -> ModuleType:
    """Return ``ray.serve``.

    Raises:
        UsageError: it is not installed.

    """
    if find_spec("ray") is None or find_spec("ray.serve") is None:
        raise UsageError('Ray Serve is not installed: pip install "potassium[ray]"')
    from ray import serve  # noqa: PLC0415 - takes a second

    module: ModuleType = serve
    return module
