"""Settings of torch that ``init`` may change, and that nothing in the cache has."""

import sys
from collections.abc import Callable, Mapping
from contextlib import suppress
from operator import attrgetter
from typing import Any, NamedTuple

__all__ = ["differing", "put", "put_back", "settings"]


class Setting(NamedTuple):
    """A setting: how it is read, as JSON, and how it is set."""

    get: Callable[[Any], Any]
    put: Callable[[Any, Any], object]


def _flag(path: str) -> Setting:
    """Return the setting that is an attribute of torch."""
    where, _, name = path.rpartition(".")

    def put(torch: Any, value: Any) -> None:
        setattr(attrgetter(where)(torch), name, value)

    return Setting(attrgetter(path), put)


def _named(value: str, torch: Any) -> Any:
    """Return what ``torch.float16`` and the like are called."""
    return getattr(torch, value.removeprefix("torch."))


SETTINGS: Mapping[str, Setting] = {
    "default dtype": Setting(
        lambda torch: str(torch.get_default_dtype()),
        lambda torch, value: torch.set_default_dtype(_named(value, torch)),
    ),
    "default device": Setting(
        lambda torch: str(torch.get_default_device()),
        lambda torch, value: torch.set_default_device(value),
    ),
    "gradients": Setting(
        lambda torch: torch.is_grad_enabled(),
        lambda torch, value: torch.set_grad_enabled(value),
    ),
    "threads": Setting(
        lambda torch: torch.get_num_threads(),
        lambda torch, value: torch.set_num_threads(value),
    ),
    "threads between operations": Setting(
        lambda torch: torch.get_num_interop_threads(),
        lambda torch, value: torch.set_num_interop_threads(value),
    ),
    "precision of matrix products": Setting(
        lambda torch: torch.get_float32_matmul_precision(),
        lambda torch, value: torch.set_float32_matmul_precision(value),
    ),
    "deterministic algorithms": Setting(
        lambda torch: [
            torch.are_deterministic_algorithms_enabled(),
            torch.is_deterministic_algorithms_warn_only_enabled(),
        ],
        lambda torch, value: torch.use_deterministic_algorithms(value[0], warn_only=value[1]),
    ),
    "cudnn.benchmark": _flag("backends.cudnn.benchmark"),
    "cudnn.deterministic": _flag("backends.cudnn.deterministic"),
    "cudnn.allow_tf32": _flag("backends.cudnn.allow_tf32"),
    "cuda.matmul.allow_tf32": _flag("backends.cuda.matmul.allow_tf32"),
}


def settings() -> dict[str, Any]:
    """Return all settings of this thread and process; none if torch is not imported."""
    torch = sys.modules.get("torch")
    found: dict[str, Any] = {}
    for name, setting in SETTINGS.items() if torch is not None else ():
        with suppress(AttributeError, RuntimeError):  # this version has none, or two ways to set it
            found[name] = setting.get(torch)
    return found


def differing(wanted: Mapping[str, Any]) -> dict[str, Any]:
    """Return those of the ``wanted`` settings that are not so now."""
    now = settings()
    return {name: value for name, value in wanted.items() if name in now and now[name] != value}


def put(wanted: Mapping[str, Any]) -> None:
    """Let the settings be as wanted.

    Raises:
        RuntimeError: one of them can be set no more.

    """
    torch = sys.modules.get("torch")
    for name, value in differing(wanted).items():
        SETTINGS[name].put(torch, value)


def put_back(before: Mapping[str, Any]) -> None:
    """Let the settings be as they were ``before``, but for those that can be set no more."""
    for name, value in differing(before).items():
        with suppress(RuntimeError):
            put({name: value})
