"""The queue and the GPU thread, independent of HTTP."""

from potassium.engine.batching import Batching, Ceiling
from potassium.engine.engine import Engine
from potassium.engine.failure import Failure
from potassium.engine.heartbeat import Activity, Heartbeat
from potassium.engine.job import Job, Priority
from potassium.engine.lifecycle import Lifecycle, State, refusal
from potassium.engine.loop_watch import LoopWatch
from potassium.engine.observer import End, Observer
from potassium.engine.open_calls import Counts
from potassium.engine.operation import Operation, Unfinished
from potassium.engine.places import place_below
from potassium.engine.stream import AsyncSteps, Steps, Stream

__all__ = [
    "Activity",
    "AsyncSteps",
    "Batching",
    "Ceiling",
    "Counts",
    "End",
    "Engine",
    "Failure",
    "Heartbeat",
    "Job",
    "Lifecycle",
    "LoopWatch",
    "Observer",
    "Operation",
    "Priority",
    "State",
    "Steps",
    "Stream",
    "Unfinished",
    "place_below",
    "refusal",
]
