"""How long the libraries that models come with took to import."""

import os
import sys
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from importlib.machinery import ModuleSpec
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any, cast

if TYPE_CHECKING:
    from importlib.abc import Loader  # it imports more than all else here

__all__ = ["IMPORTS", "ImportTimes"]

# Libraries that take seconds.
LIBRARIES = frozenset(
    (
        "accelerate",
        "cv2",
        "diffusers",
        "jax",
        "keras",
        "llama_cpp",
        "onnxruntime",
        "sentence_transformers",
        "sklearn",
        "spacy",
        "tensorflow",
        "torch",
        "torchvision",
        "transformers",
        "vllm",
    )
)


class ImportTimes:
    """Measures imports of ``LIBRARIES``, from when it is installed until it is removed.

    It finds nothing itself: it asks the finders behind it, and measures what the loader that they
    name does. As soon as that begins, the module and its spec show that loader alone, so nothing
    can tell that it was measured. Time that one of the libraries spends importing another counts
    for the other. Imports below a library that is being imported are not looked at.

    Attributes:
        seconds: seconds by library, so far.
        known: the libraries that had been imported before it was made.

    """

    def __init__(self) -> None:
        self.seconds: dict[str, float] = {}
        self.known = sorted(LIBRARIES & sys.modules.keys())
        self._began = _age_of_process()
        self._began_at = time.monotonic()
        self._pid = os.getpid()
        self._is_taken = False
        self._running = threading.local()

    def install(self) -> None:
        """Begin to measure."""
        sys.meta_path.insert(0, self)

    def remove(self) -> None:
        """Measure no more."""
        with suppress(ValueError):  # somebody else has taken it off
            sys.meta_path.remove(self)

    def since_process_began(self) -> tuple[float, float] | None:
        """Return the seconds from the start of the process until the package was imported, and now.

        Only the first caller gets them: they belong to the first start. None if they are not known,
        or say nothing of a start: of a process that was forked later, or where somebody types.
        """
        if self._is_taken or self._pid != os.getpid() or hasattr(sys, "ps1"):
            return None
        self._is_taken = True
        if self._began is None:
            return None
        return self._began, self._began + time.monotonic() - self._began_at

    def find_spec(
        self, name: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        """Return the spec that the other finders have for a module, if its import is measured."""
        library = name.partition(".")[0]
        if library not in LIBRARIES or self._stack[-1:] == [library]:
            return None
        finders = list(sys.meta_path)
        for finder in finders[finders.index(self) + 1 :] if self in finders else ():
            find = getattr(finder, "find_spec", None)
            spec: ModuleSpec | None = find and find(name, path, target)
            if spec is not None:
                if hasattr(spec.loader, "exec_module"):
                    measured = _MeasuredLoader(cast("Loader", spec.loader), self, library)
                    spec.loader = cast("Loader", measured)
                return spec
        return None

    @contextmanager
    def importing(self, library: str) -> Iterator[None]:
        """Count the time in the context for ``library``, and not for what imports it."""
        stack, began = self._stack, time.monotonic()
        stack.append(library)
        try:
            yield
        finally:
            stack.pop()
            spent = time.monotonic() - began
            self.seconds[library] = self.seconds.get(library, 0.0) + spent
            if stack:
                self.seconds[stack[-1]] = self.seconds.get(stack[-1], 0.0) - spent

    @property
    def _stack(self) -> list[str]:
        """The libraries that this thread is importing, outermost first."""
        if not hasattr(self._running, "stack"):
            self._running.stack = []
        stack: list[str] = self._running.stack
        return stack


class _MeasuredLoader:
    """Stands in for a loader until the module is executed."""

    def __init__(self, loader: "Loader", times: ImportTimes, library: str) -> None:
        self._loader = loader
        self._times = times
        self._library = library

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:
        return self._loader.create_module(spec)

    def exec_module(self, module: ModuleType) -> None:
        module.__loader__ = self._loader
        if module.__spec__ is not None:
            module.__spec__.loader = self._loader
        with self._times.importing(self._library):
            self._loader.exec_module(module)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._loader, name)


def _age_of_process() -> float | None:
    """Return for how many seconds the process has existed; None if the system does not say."""
    try:
        fields = Path("/proc/self/stat").read_bytes().rpartition(b")")[2].split()
        ticks = int(fields[19])  # since the machine was started, see proc(5): field 22
        age = time.clock_gettime(time.CLOCK_BOOTTIME) - ticks / os.sysconf("SC_CLK_TCK")
    except (AttributeError, IndexError, OSError, ValueError):  # not Linux
        return None
    return age if ticks and age >= 0 else None


# The process has one: it measures from the import of the package to the first start of an app.
IMPORTS = ImportTimes()
IMPORTS.install()
