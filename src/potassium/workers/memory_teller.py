"""Tells the front how much of its accelerator's memory a worker uses."""

import threading
import time

import orjson

from potassium.accelerators.torch_memory import Memory, memory_of_torch
from potassium.workers.frames import FromWorker, frame
from potassium.workers.link import WorkerLink

__all__ = ["MemoryTeller"]

PERIOD = 5.0  # seconds between two looks; Prometheus takes one in about fifteen


class MemoryTeller:
    """Looks now and then at torch's own counts, on a thread of its own; tells what has changed."""

    def __init__(self, link: WorkerLink) -> None:
        self._link = link
        self._told: Memory = {}

    def start(self) -> None:
        """Begin to look; the thread does not keep the process alive."""
        threading.Thread(target=self._run, name="potassium-memory", daemon=True).start()

    def look(self) -> None:
        """Look once."""
        memory = memory_of_torch()
        if memory != self._told:
            self._told = memory
            self._link.send(frame(FromWorker.MEMORY, orjson.dumps(memory)))

    def _run(self) -> None:
        while True:
            self.look()
            time.sleep(PERIOD)
