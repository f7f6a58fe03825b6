"""Environment variables: typing errors in names, and what is left over from debugging."""

from collections.abc import Callable, Iterable
from difflib import get_close_matches
from functools import partial

from potassium.config import VARIABLES, default_log, default_port, default_workers, switch
from potassium.doctor.machine import Machine
from potassium.errors import UsageError
from potassium.project.finding import Finding, note, problem

__all__ = ["debugging", "names", "values"]

PREFIX = "POTASSIUM_"

# What it costs to leave these on.
DEBUGGING = {
    "CUDA_LAUNCH_BLOCKING": "the CPU waits for each kernel",
    "PYTORCH_NO_CUDA_MEMORY_CACHING": "each tensor asks the driver for memory",
    "PYTHONASYNCIODEBUG": "each step of the event loop is measured",
    "PYTHONDEVMODE": "asyncio and memory are debugged",
    "PYTHONMALLOC": "memory is debugged",
    "TORCH_SHOW_CPP_STACKTRACES": "each error collects the stack of C++",
}


def names(machine: Machine) -> Iterable[Finding]:
    """Look for variables whose names seem to be ours, and are not."""
    for name in sorted(machine.environ):
        if name in VARIABLES or not machine.environ[name]:
            continue
        close = get_close_matches(name.upper(), VARIABLES, n=1, cutoff=0.85)
        if name.startswith(PREFIX):
            known = f"Write {close[0]}." if close else f"There are {', '.join(sorted(VARIABLES))}."
            yield problem("environment", f"{name} means nothing to Potassium.", known)
        elif close:
            yield problem(
                "environment", f"{name} means nothing to Potassium.", f"Write {close[0]}."
            )


def values(machine: Machine) -> Iterable[Finding]:
    """Look at the values of our variables."""
    del machine  # whoever reads them reads those of the process
    switches = ("POTASSIUM_DOCS", "POTASSIUM_METRICS", "POTASSIUM_TRACES")
    checks: list[Callable[[], object]] = [default_port, default_log, default_workers]
    checks += [partial(switch, name, default=False) for name in switches]
    for check in checks:
        try:
            check()
        except UsageError as error:
            yield problem("environment", str(error))


def debugging(machine: Machine) -> Iterable[Finding]:
    """Look for what makes everything slower, and for what loads several models."""
    environ = machine.environ
    for name, cost in DEBUGGING.items():
        value = environ.get(name, "")
        if value in ("", "0") or (name == "PYTHONMALLOC" and "debug" not in value):
            continue
        yield note("environment", f"{name}={value} makes it slow: {cost}.", f"unset {name}")
    workers = environ.get("WEB_CONCURRENCY", "")
    if workers.isdecimal() and int(workers) > 1:
        yield note(
            "environment",
            f"WEB_CONCURRENCY={workers} makes uvicorn start {workers} processes, each with a model "
            "of its own. python app.py starts one anyway.",
            "unset WEB_CONCURRENCY",
        )
