"""What a worker tells of the memory of its accelerator."""

import sys
from types import SimpleNamespace

import orjson
import pytest

from potassium.workers.frames import FromWorker, Splitter
from potassium.workers.memory_teller import MemoryTeller


class Link:
    """Takes what a worker sends."""

    def __init__(self) -> None:
        self.sent = b""

    def send(self, buffers: list[bytes]) -> None:
        self.sent += b"".join(buffers)

    def frames(self) -> list[tuple[int, bytes]]:
        """Return all frames so far."""
        splitter = Splitter()
        splitter.room()[: len(self.sent)] = self.sent
        return list(splitter.frames(len(self.sent)))


class Cuda:
    """One device, of which ``allocated`` bytes are in use."""

    def __init__(self) -> None:
        self.allocated = 5

    def is_initialized(self) -> bool:
        return True

    def device_count(self) -> int:
        return 1

    def memory_stats(self, _: int) -> dict[str, int]:
        return {"allocated_bytes.all.current": self.allocated, "reserved_bytes.all.current": 8}

    def get_device_properties(self, _: int) -> SimpleNamespace:
        return SimpleNamespace(total_memory=80)

    def synchronize(self) -> None:
        raise AssertionError("nobody waits for the device")


def test_what_has_changed_is_told_and_nothing_else(monkeypatch: pytest.MonkeyPatch) -> None:
    """The bytes of tensors, held and there, by device."""
    cuda, link = Cuda(), Link()
    teller = MemoryTeller(link)  # type: ignore[arg-type]
    monkeypatch.setitem(sys.modules, "torch", None)
    teller.look()
    assert link.frames() == []

    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(cuda=cuda))
    teller.look()
    teller.look()
    cuda.allocated = 6
    teller.look()
    assert [(kind, orjson.loads(payload)) for kind, payload in link.frames()] == [
        (FromWorker.MEMORY, {"cuda:0": [5, 8, 80]}),
        (FromWorker.MEMORY, {"cuda:0": [6, 8, 80]}),
    ]
