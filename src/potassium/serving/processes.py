"""Notices that the process is one of several that each hold a model."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

__all__ = ["number_of_processes", "tell_processes"]

OPTIONS = ("--workers", "-w", "--processes", "--web-concurrency")  # of ASGI servers

OF_METRICS = (
    ". GET /metrics shows whichever process answers: its counters leap, and rates of them are wrong"
)

logger = logging.getLogger("potassium")


def tell_processes(*, shows_metrics: bool = False) -> None:
    """Log, if the app runs in several processes, what each of them takes with a model of its own.

    To be called once the model is loaded. With ``shows_metrics``, also say what is wrong with
    these. Of the processes that a server has spawned, only the first one says so.
    """
    number = number_of_processes()
    if number <= 1 or not _is_first():
        return
    logger.warning(
        "this is one of %d processes, and each has loaded a model of its own: this one takes %s, "
        "so expect %d times as much. One process serves many calls at a time, with batch= and "
        "streams= for more: leave out --workers and WEB_CONCURRENCY. For several GPUs, write "
        'Potassium(workers="auto")%s',
        number,
        " and ".join(_taken()) or "what its model takes",
        number,
        OF_METRICS if shows_metrics else "",
        extra={"processes": number},
    )


def number_of_processes() -> int:
    """Return how many processes the server above this one runs, as far as it has told them; or 1.

    uvicorn gives its configuration to those that it spawns. Others pass on the command line, and
    gunicorn and uvicorn read ``WEB_CONCURRENCY``.
    """
    import multiprocessing  # noqa: PLC0415 - for servers that start, not for each import

    if multiprocessing.parent_process() is None and "gunicorn.arbiter" not in sys.modules:
        return 1
    started_with: dict[str, Any] = getattr(multiprocessing.current_process(), "_kwargs", {})
    config = started_with.get("config")
    if config is not None:
        return int(getattr(config, "workers", None) or 1)
    return _asked_for(sys.argv) or _number(os.environ.get("WEB_CONCURRENCY", "")) or 1


def _is_first() -> bool:
    """Return whether no other process was spawned before; of forked ones, that is not known."""
    import multiprocessing  # noqa: PLC0415 - as above

    name = multiprocessing.current_process().name
    return not name.startswith("SpawnProcess-") or name == "SpawnProcess-1"


def _asked_for(arguments: list[str]) -> int | None:
    for index, argument in enumerate(arguments):
        option, _, value = argument.partition("=")
        if option in OPTIONS:
            return _number(value or "".join(arguments[index + 1 : index + 2]))
        if argument.startswith("-w") and (attached := _number(argument[2:])):
            return attached
    return None


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() else None


def _taken() -> list[str]:
    """Return what the process takes of memory, and of each GPU."""
    taken = []
    try:
        pages = int(Path("/proc/self/statm").read_text("ascii").split()[1])
        taken.append(f"{_gibibytes(pages * os.sysconf('SC_PAGE_SIZE'))} of memory")
    except (OSError, ValueError, IndexError):  # not Linux
        pass
    cuda = getattr(sys.modules.get("torch"), "cuda", None)
    if cuda is not None and cuda.is_initialized():
        reserved = map(cuda.memory_reserved, range(cuda.device_count()))
        taken += [f"{_gibibytes(size)} of cuda:{at}" for at, size in enumerate(reserved) if size]
    return taken


def _gibibytes(size: int) -> str:
    return f"{size / 2**30:.1f} GiB"
