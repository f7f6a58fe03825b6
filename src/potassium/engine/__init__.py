"""The queue and the GPU thread. Knows nothing of HTTP."""

from potassium.engine.engine import Counts, Engine
from potassium.engine.job import Job, Operation, Priority
from potassium.engine.lifecycle import Lifecycle, State

__all__ = ["Counts", "Engine", "Job", "Lifecycle", "Operation", "Priority", "State"]
