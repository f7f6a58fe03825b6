"""The queue and the GPU thread, independent of HTTP."""

from potassium.engine.batching import Batching, Ceiling
from potassium.engine.engine import Engine
from potassium.engine.errand import Errand
from potassium.engine.failure import Failure
from potassium.engine.gpu_thread import GpuThread
from potassium.engine.heartbeat import Activity, Heartbeat
from potassium.engine.job import Job, Priority
from potassium.engine.lifecycle import Lifecycle, State, refusal
from potassium.engine.loop_watch import LoopWatch
from potassium.engine.model_runner import ModelRunner, Surroundings
from potassium.engine.observer import End, Observer
from potassium.engine.open_calls import Counts
from potassium.engine.operation import UNBOUND, Operation, Unfinished
from potassium.engine.places import place_below
from potassium.engine.shared_step import SharedStep
from potassium.engine.steps import AsyncSteps, Steps
from potassium.engine.stream import Stream
from potassium.engine.threads import Host, new_thread
from potassium.engine.worker_report import DeviceMemory, WorkerReport

__all__ = [
    "UNBOUND",
    "Activity",
    "AsyncSteps",
    "Batching",
    "Ceiling",
    "Counts",
    "DeviceMemory",
    "End",
    "Engine",
    "Errand",
    "Failure",
    "GpuThread",
    "Heartbeat",
    "Host",
    "Job",
    "Lifecycle",
    "LoopWatch",
    "ModelRunner",
    "Observer",
    "Operation",
    "Priority",
    "SharedStep",
    "State",
    "Steps",
    "Stream",
    "Surroundings",
    "Unfinished",
    "WorkerReport",
    "new_thread",
    "place_below",
    "refusal",
]
