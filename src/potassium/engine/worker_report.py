"""What an operator is shown of a worker process."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from potassium.engine.heartbeat import Activity

__all__ = ["DeviceMemory", "WorkerReport"]


@dataclass(frozen=True)
class DeviceMemory:
    """The memory of an accelerator, in bytes, as the worker that uses it counts it.

    Attributes:
        allocated: bytes of tensors.
        reserved: bytes that the library holds, those of tensors included.
        total: bytes that there are.

    """

    allocated: float
    reserved: float
    total: float


@dataclass(frozen=True, kw_only=True)
class WorkerReport:
    """A device and the worker process that serves it, at one moment.

    What ends in "so far" counts all processes that the device has had since the start.

    Attributes:
        name: the name that log lines have, such as ``"cuda:1"`` or ``"cpu #0"``.
        device: the device.
        state: the state of the device.
        activity: what the process does; None while it takes no calls.
        states: all that it can be in.
        pid: the process; None while there is none.
        ends: how many of its processes have ended that were not to so far, by kind of reason,
            those that have not occurred included.
        last_end: what happened to the last of them; None if none has.
        load_seconds: how long the last one that has loaded took for that; None until one has.
        libraries: seconds of it that went into importing each of the libraries that take long.
        phases: seconds of it that went into each phase: import, init, warmup.
        busy_seconds: for how many seconds the model was in use so far.
        finished: how many calls have ended there so far.
        running: the path of the handler that runs, and for how many seconds; None if none does.
        last_progress_seconds: for how long what runs has made no progress; 0 while nothing is due.
        groups: how many groups of calls, such as batches, the process has.
        calls: how many calls it has, those of open streams and those that are prepared included.
        open_streams: how many streams are open there.
        memory: resident bytes of the process; None if it is not known.
        device_memory: the memory of each accelerator that it uses, by the front's name of it.

    """

    name: str
    device: str
    state: str
    activity: Activity | None
    states: tuple[str, ...]
    pid: int | None = None
    ends: Mapping[str, int] = field(default_factory=dict)
    last_end: str | None = None
    load_seconds: float | None = None
    libraries: Mapping[str, float] = field(default_factory=dict)
    phases: Mapping[str, float] = field(default_factory=dict)
    busy_seconds: float = 0.0
    finished: int = 0
    running: tuple[str, float] | None = None
    last_progress_seconds: float = 0.0
    groups: int = 0
    calls: int = 0
    open_streams: int = 0
    memory: int | None = None
    device_memory: Mapping[str, DeviceMemory] = field(default_factory=dict)
