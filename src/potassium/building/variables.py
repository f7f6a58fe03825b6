"""Notes which environment variables are read, and which are set."""

import os
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

__all__ = ["VariablesRead", "watched"]

# These say nothing about a model: they belong to terminals, shells, servers and to us, or differ
# between a build and a start for other reasons.
IGNORED = frozenset(
    (
        *("COLORTERM", "COLUMNS", "FORCE_COLOR", "LINES", "NO_COLOR", "TERM", "TERMINFO"),
        *("OLDPWD", "PATH", "PWD", "SHLVL", "_", "PYTHONPATH", "PYTHONSTARTUP"),
        *("LNAME", "LOGNAME", "USER", "USERNAME"),  # HOME is not here: files may be below it
        *("HOSTNAME", "NOTIFY_SOCKET", "PORT", "AIP_HTTP_PORT", "WEB_CONCURRENCY"),
        *("TMPDIR", "TEMP", "TMP"),
        # The kind of device is compared by itself.
        *("ASCEND_RT_VISIBLE_DEVICES", "CUDA_VISIBLE_DEVICES", "HIP_VISIBLE_DEVICES"),
        *("ROCR_VISIBLE_DEVICES", "ZE_AFFINITY_MASK"),
    )
)
OURS = ("POTASSIUM_", "_POTASSIUM_", "TORCHINDUCTOR_CACHE_DIR", "TRITON_CACHE_DIR", "LC_", "LANG")


class VariablesRead:
    """The names of variables that were read, apart from those that say nothing about a model."""

    def __init__(self) -> None:
        self.names: set[str] = set()

    def note(self, name: object) -> None:
        """Note that a variable was asked for, whether it was set or not."""
        if isinstance(name, str) and name not in IGNORED and not name.startswith(OURS):
            self.names.add(name)


@contextmanager
def watched() -> Iterator[VariablesRead]:
    """Note what is read from ``os.environ``, by all threads, while the context is open.

    Whoever copies all variables, such as for a process to start, is not noted.
    """
    read = VariablesRead()
    copying = threading.local()
    plain: Any = type(os.environ)

    class Watched(plain):  # type: ignore[misc]  # the class has no public name
        def __getitem__(self, key: str) -> str:
            if next(getattr(copying, "names", iter(())), None) != key:
                copying.names = iter(())
                read.note(key)
            value: str = super().__getitem__(key)
            return value

        def keys(self) -> Any:  # {**os.environ} asks for them, and then for each value in turn
            names = list(self)
            copying.names = iter(names)
            return dict.fromkeys(names).keys()

        def items(self) -> Any:
            return {name: plain.__getitem__(self, name) for name in self}.items()

        def copy(self) -> dict[str, str]:
            return dict(self.items())

    os.environ.__class__ = Watched  # everybody who has imported it has this very object
    try:
        yield read
    finally:
        os.environ.__class__ = plain
