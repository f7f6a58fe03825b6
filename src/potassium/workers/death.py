"""Why a worker process ended, in words for the log, and in one for the metrics."""

import enum
import signal
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

__all__ = ["EndKind", "OomKills", "WorkerDeaths", "WorkerEnd", "describe", "hung", "unusable"]

KILLED_FOR_MEMORY = (
    "was killed by the kernel (SIGKILL), as memory ran out: give the machine or the container more "
    "memory, or load fewer models at once"
)
KILLED_FROM_OUTSIDE = (
    "was killed by signal 9 (SIGKILL), neither by this server nor by the kernel for want of memory"
)
KILLED_BY_SOMEBODY = (
    "was killed by signal 9 (SIGKILL), which this server did not send: if it was the kernel, as "
    "memory ran out, `dmesg` says so"
)
LONGEST = 300  # characters of an error's text
NATIVE = "PYTHONFAULTHANDLER=1 shows the lines of Python that led there"
CRASHES = {
    signal.SIGSEGV: f"had a segmentation fault (SIGSEGV), in code that is not Python; {NATIVE}",
    signal.SIGABRT: f"was aborted (SIGABRT), by code that is not Python; {NATIVE}",
    signal.SIGBUS: "had a bus error (SIGBUS), as when /dev/shm or the disk of a mapped file is "
    "full; `df -h /dev/shm` shows the former",
    signal.SIGILL: "ran an illegal instruction (SIGILL): a library was built for another processor",
    signal.SIGFPE: f"had an arithmetic error (SIGFPE), in code that is not Python; {NATIVE}",
    signal.SIGSYS: "made a system call that is forbidden here (SIGSYS), by a seccomp profile",
    signal.SIGXCPU: "used up its processor time (SIGXCPU); `ulimit -t` shows the limit",
}


class EndKind(enum.Enum):
    """What kind of end a worker process had.

    Attributes:
        OUT_OF_MEMORY: the kernel has killed it, as memory ran out.
        KILLED: somebody has killed it, or this server because it did not end by itself.
        CRASHED: a signal other than SIGKILL, such as a segmentation fault.
        EXITED: it has ended by itself.
        HUNG: a handler did not return, so it was killed.
        UNUSABLE: it could no longer use its accelerator.
        NOT_LOADED: ``init`` has raised, or took too long, or the process could not be started.

    """

    OUT_OF_MEMORY = "out_of_memory"
    KILLED = "killed"
    CRASHED = "crashed"
    EXITED = "exited"
    HUNG = "hung"
    UNUSABLE = "unusable"
    NOT_LOADED = "not_loaded"


class WorkerEnd(NamedTuple):
    """How a worker process has ended.

    Attributes:
        kind: the kind of end.
        what: what happened, as the end of a sentence that begins with the worker's name.

    """

    kind: EndKind
    what: str


def describe(
    status: int,
    *,
    sent_by_us: bool = False,
    oom_kills_before: int | None = None,
    oom_kills_after: int | None = None,
) -> WorkerEnd:
    """Return how a worker has ended.

    Args:
        status: the exit status, or the number of the signal that ended it, negated, as
            ``subprocess.Popen.returncode`` has it.
        sent_by_us: whether this server has sent it SIGKILL.
        oom_kills_before: how many processes the kernel had killed for memory before, see
            ``OomKills``; None if that is not known.
        oom_kills_after: how many by now.

    """
    if status >= 0:
        return WorkerEnd(
            EndKind.EXITED,
            f"exited with status {status}, which this server did not ask for: see its last lines "
            "above, or look for sys.exit() and os._exit() in what the app calls",
        )
    number = -status
    if number == signal.SIGKILL and sent_by_us:
        return WorkerEnd(EndKind.KILLED, "was killed by this server (SIGKILL)")
    if number == signal.SIGKILL:
        return _killed(oom_kills_before, oom_kills_after)
    for known, sentence in CRASHES.items():
        if known == number:
            return WorkerEnd(EndKind.CRASHED, sentence)
    return WorkerEnd(EndKind.CRASHED, f"was killed by signal {number}{_name_of(number)}")


def _killed(before: int | None, after: int | None) -> WorkerEnd:
    """Return how a worker has ended that this server has not killed."""
    if before is None or after is None:
        return WorkerEnd(EndKind.KILLED, KILLED_BY_SOMEBODY)
    if after > before:
        return WorkerEnd(EndKind.OUT_OF_MEMORY, KILLED_FOR_MEMORY)
    return WorkerEnd(EndKind.KILLED, KILLED_FROM_OUTSIDE)


def hung(handler: str, seconds: float) -> WorkerEnd:
    """Return how a worker ends that is killed because a handler did not return."""
    what = f"hangs: {handler} has not returned for {seconds:g} s; it is killed"
    return WorkerEnd(EndKind.HUNG, what)


def unusable(error: BaseException) -> WorkerEnd:
    """Return how a worker ends whose accelerator refuses everything after ``error``."""
    text = ""
    with suppress(Exception):  # of the app's own class
        text = str(error).strip().partition("\n")[0][:LONGEST]
    what = f"can no longer use its accelerator: {text or type(error).__name__}"
    return WorkerEnd(EndKind.UNUSABLE, what)


class OomKills:
    """Reads how many processes the kernel has killed because memory ran out.

    It counts those of this process's control group: ``memory.events`` of cgroup v2, or
    ``memory.oom_control`` of v1, which a container sees at the root. Only without either, those of
    the whole machine (``/proc/vmstat``), which may be somebody else's. The kernel counts before it
    kills, so a process that has died is counted.

    Args:
        root: the folder that stands for ``/``.

    """

    def __init__(self, root: Path = Path("/")) -> None:
        self._root = root

    def __call__(self) -> int | None:
        """Return the number, or None if the kernel does not say; never raises."""
        for path in (*self._of_the_group(), self._root / "proc/vmstat"):
            with suppress(OSError, ValueError):
                for line in path.read_text("utf-8").splitlines():
                    name, _, number = line.partition(" ")
                    if name == "oom_kill":
                        return int(number)
        return None

    def _of_the_group(self) -> Iterator[Path]:
        try:
            lines = (self._root / "proc/self/cgroup").read_text("utf-8").splitlines()
        except (OSError, ValueError):
            return
        folder = self._root / "sys/fs/cgroup"
        for line in lines:
            _, _, rest = line.partition(":")
            controllers, _, path = rest.partition(":")
            if not controllers:  # version 2
                yield folder / path.strip("/") / "memory.events"
                yield folder / "memory.events"
            elif "memory" in controllers.split(","):
                yield folder / "memory" / path.strip("/") / "memory.oom_control"
                yield folder / "memory" / "memory.oom_control"


class WorkerDeaths:
    """Describes one death after another, and counts each process that was killed for memory once.

    Args:
        oom_kills: returns how many processes the kernel has killed for memory, or None.

    """

    def __init__(self, oom_kills: Callable[[], int | None]) -> None:
        self._oom_kills = oom_kills
        self._counted = oom_kills()

    def describe(self, status: int, *, sent_by_us: bool = False) -> WorkerEnd:
        """Return how a worker has ended, see ``describe``; to be called once for each death."""
        if status != -signal.SIGKILL or sent_by_us:
            return describe(status, sent_by_us=sent_by_us)
        before, now = self._counted, self._oom_kills()
        # Another worker may have been killed at the same moment: its death is still to be told.
        self._counted = now if before is None or now is None else min(before + 1, now)
        return describe(status, oom_kills_before=before, oom_kills_after=now)


def _name_of(number: int) -> str:
    with suppress(ValueError):
        return f" ({signal.Signals(number).name})"
    return ""
