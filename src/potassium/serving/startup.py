"""What the time until an app was ready went into."""

import logging
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any

from potassium.engine import Operation, WorkerReport
from potassium.serving.import_times import IMPORTS, ImportTimes

__all__ = ["Phase", "Startup"]

LEAST = 0.05  # seconds that are worth a word

logger = logging.getLogger("potassium")


class Phase:
    """A part of a start.

    Attributes:
        seconds: how long it took.
        libraries: seconds of it spent on importing each of the libraries that take long; where
            worker processes do that, in the one that took longest.
        workers: how long each worker process took, by its name.
        of_workers: what it was that took it so long, by its name: seconds by phase.

    """

    __slots__ = ("libraries", "of_workers", "seconds", "workers")

    def __init__(
        self,
        seconds: float,
        libraries: Mapping[str, float],
        workers: Mapping[str, float] | None = None,
        of_workers: Mapping[str, Mapping[str, float]] | None = None,
    ) -> None:
        self.seconds = seconds
        self.of_workers = of_workers or {}
        self.workers = workers or {}
        self.libraries = {name: spent for name, spent in libraries.items() if spent > 0}

    def __str__(self) -> str:
        """Return ``9.0 s (torch 2.6 s, transformers 1.2 s)``, with workers before the libraries."""
        libraries = sorted(self.libraries.items(), key=lambda item: -item[1])
        shown = [
            ", ".join(f"{name} {spent:.1f} s" for name, spent in given if spent >= LEAST)
            for given in (self.workers.items(), libraries)
        ]
        inside = "; ".join(filter(None, shown))
        return f"{self.seconds:.1f} s" + (f" ({inside})" if inside else "")


class Startup:
    """A ledger of an app's start, and of the first calls after it.

    The phases are ``import``, from the start of the process until the app begins to start (left
    out where a request starts it, and at a second start), ``init``, ``warmup``, where handlers have
    that, and ``other``: the rest, such as opening the file of jobs. With worker processes, ``init``
    is what all of them took, warm-ups included, and ``warmup`` is that of async handlers.

    Attributes:
        phases: the phases that are over, by name, in order.
        seconds: from the start of the process, or of the app, until it was ready; None until then.
        warmed: how long the warm-up of each handler took in this process, by its path.
        is_one_of_many: whether it says nothing on the log if it was short; someone else does.
        before: seconds of ``import`` that were over before Potassium was imported; None if that is
            not known. The libraries imported by then are in none of the figures.

    """

    def __init__(
        self,
        imports: ImportTimes = IMPORTS,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self.phases: dict[str, Phase] = {}
        self.seconds: float | None = None
        self.before: float | None = None
        self.warmed: dict[str, float] = {}
        self.is_one_of_many = False
        self._imports = imports
        self._clock = clock
        self._known: Mapping[str, float] = {}
        self._began_at = clock()

    def begin(self, *, by_request: bool) -> None:
        """Begin anew: the app starts now, because a request has come or with its process."""
        self.phases.clear()
        self.warmed.clear()
        self.seconds = self.before = None
        since = self._imports.since_process_began()
        if since is not None and not by_request:
            self.before, seconds = since
            self.phases["import"] = Phase(seconds, self._imports.seconds)
        self._known = dict(self._imports.seconds)
        self._began_at = self._clock()

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time in the context as phase ``name``, if it ends well."""
        began = self._clock()
        yield
        libraries = {
            library: seconds - self._known.get(library, 0.0)
            for library, seconds in self._imports.seconds.items()
        }
        self._known = dict(self._imports.seconds)
        self.phases[name] = Phase(self._clock() - began, libraries)

    def note_workers(self, workers: Sequence[WorkerReport]) -> None:
        """Note that it was worker processes, if there are any, that spent the time of ``init``."""
        if not workers:
            return
        libraries: dict[str, float] = {}
        for worker in workers:
            for name, spent in worker.libraries.items():
                libraries[name] = max(libraries.get(name, 0.0), spent)
        spent_by = {one.name: one.load_seconds for one in workers if one.load_seconds is not None}
        phases = {one.name: one.phases for one in workers if one.phases}
        self.phases["init"] = Phase(self.phases["init"].seconds, libraries, spent_by, phases)

    def ready(self) -> None:
        """Note that the app is ready, and say how long that took."""
        spent = self._clock() - self._began_at
        self._imports.remove()
        begun = self.phases.get("import")
        self.seconds = spent + (begun.seconds if begun else 0.0)
        rest = self.seconds - sum(phase.seconds for phase in self.phases.values())
        self.phases["other"] = Phase(rest, {})
        shown = [f"{name} {self._shown(name)}" for name in self.phases if self._is_long(name)]
        logger.log(
            logging.DEBUG if self.is_one_of_many and self.seconds < LEAST else logging.INFO,
            "ready in %.1f s%s",
            self.seconds,
            f": {', '.join(shown)}" if shown else "",
            extra={"startup": self.document()},
        )

    def watch(self, operations: Iterable[Operation], warm: Collection[str] = ()) -> None:
        """Tell once of each operation whose first call was slower than those after it.

        ``warm`` are the names of those that have a warm-up.
        """
        for operation in operations:
            is_warm = operation.name in warm
            operation.service_time.when_known = _teller(operation.name, is_warm=is_warm)

    def document(self, operations: Iterable[Operation] = ()) -> dict[str, Any]:
        """Return the figures as JSON, in seconds, with the first calls of ``operations``."""
        return {
            "seconds": _rounded(self.seconds),
            "phases": {name: _rounded(phase.seconds) for name, phase in self.phases.items()},
            "libraries": {
                name: {library: _rounded(spent) for library, spent in phase.libraries.items()}
                for name, phase in self.phases.items()
                if phase.libraries
            },
            "workers": {
                name: _rounded(spent)
                for phase in self.phases.values()
                for name, spent in phase.workers.items()
            },
            "worker_phases": {
                name: {one: _rounded(spent) for one, spent in phases.items()}
                for phase in self.phases.values()
                for name, phases in phase.of_workers.items()
            },
            "warmups": {path: _rounded(spent) for path, spent in self.warmed.items()},
            "before_import": _rounded(self.before),
            "first_calls": {
                one.name: {
                    "seconds": _rounded(one.service_time.first),
                    "later_seconds": _rounded(one.service_time.later),
                }
                for one in operations
                if one.service_time.first is not None
            },
        }

    def _is_long(self, name: str) -> bool:
        return self.phases[name].seconds >= LEAST

    def _shown(self, name: str) -> str:
        of_phase = self.phases[name]
        if name == "warmup":
            of_phase = Phase(of_phase.seconds, of_phase.libraries, self.warmed)
        phase = str(of_phase)
        if name == "import" and self._imports.known and self.before is not None:
            known = ", ".join(self._imports.known)
            phase += f", {self.before:.1f} s of it before potassium, with {known}"
        return phase


def _teller(name: str, *, is_warm: bool) -> Callable[[float, float, int], None]:
    advice = "give its warmup= an input like this one" if is_warm else "give it warmup=, an input"

    def tell(first: float, later: float, count: int) -> None:
        if first >= 2 * later and first - later >= LEAST:
            logger.info(
                "%s took %.2f s for its first call, and %.3f s on average for the %d after it: to "
                "spare the first caller this, %s",
                name,
                first,
                later,
                count,
                advice,
                extra={"handler": name},
            )

    return tell


def _rounded(seconds: float | None) -> float | None:
    return None if seconds is None else round(seconds, 3)
