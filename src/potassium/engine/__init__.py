"""The queue and the GPU thread. Knows nothing of HTTP."""

from potassium.engine.batching import Ceiling
from potassium.engine.engine import Counts, Engine, refusal
from potassium.engine.failure import Failure
from potassium.engine.job import Job, Operation, Priority
from potassium.engine.lifecycle import Lifecycle, State
from potassium.engine.stream import AsyncSteps, Steps, Stream

__all__ = [
    "AsyncSteps",
    "Ceiling",
    "Counts",
    "Engine",
    "Failure",
    "Job",
    "Lifecycle",
    "Operation",
    "Priority",
    "State",
    "Steps",
    "Stream",
    "refusal",
]
