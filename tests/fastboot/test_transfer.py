"""What was on accelerators is copied there while more is being read."""

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from potassium.fastboot import transfer
from potassium.fastboot.chunks import ChunkWriter
from potassium.fastboot.manifest import Chunk
from potassium.fastboot.transfer import transferred
from potassium.fastboot.unfit import Unfit


class FakeDevices:
    """Devices that copy as late as they may: not before somebody waits for it."""

    def __init__(self) -> None:
        self.begun: list[tuple[bytearray, int, bytearray, int, int]] = []
        self.devices: list[str] = []
        self.buffers = 0
        self.most_open = 0

    def buffer(self, size: int) -> tuple[bytearray, memoryview]:
        self.buffers += 1
        memory = bytearray(size)
        return memory, memoryview(memory)

    def allocate(self, device: str, size: int) -> bytearray:
        self.devices.append(device)
        return bytearray(size)

    def copy(self, buffer: bytearray, start: int, storage: bytearray, at: int, size: int) -> None:
        self.begun.append((buffer, start, storage, at, size))

    def mark(self) -> int:
        self.most_open = max(self.most_open, len({id(one[0]) for one in self.begun}))
        return len(self.begun)

    def wait(self, mark: int) -> None:
        for at in range(mark):
            buffer, start, storage, offset, size = self.begun[at]
            if size:
                storage[offset : offset + size] = buffer[start : start + size]
            self.begun[at] = (buffer, start, storage, offset, 0)


@pytest.fixture
def file(tmp_path: Path) -> Iterator[int]:
    descriptor = os.open(tmp_path / "tensors.bin", os.O_RDWR | os.O_CREAT)
    yield descriptor
    os.close(descriptor)


def written(file: int, sizes: dict[str, list[int]]) -> tuple[dict[int, Chunk], dict[int, bytes]]:
    """Write chunks of these sizes, by device; return them and their contents."""
    contents: dict[int, bytes] = {}
    with os.fdopen(os.dup(file), "wb") as stream, ChunkWriter(stream) as writer:
        for device, each in sizes.items():
            for size in each:
                content = os.urandom(size)
                contents[writer.write(size, device, [memoryview(content)])] = content
    return dict(enumerate(writer.chunks)), contents


@pytest.mark.parametrize("buffer", [1, 7, 64, 1000, 100_000])
def test_every_byte_comes_to_its_place(
    file: int, monkeypatch: pytest.MonkeyPatch, buffer: int
) -> None:
    """However large the buffers are, and the parts that are read; on several devices."""
    monkeypatch.setattr(transfer, "READ", 33)
    chunks, contents = written(file, {"cuda:0": [100, 1, 0], "cuda:1": [64, 257], "cuda:3": [5]})
    devices = FakeDevices()
    storages = transferred(file, chunks, devices, buffer=buffer)
    assert {number: bytes(one) for number, one in storages.items()} == contents
    assert devices.devices == [one.device for one in chunks.values()]


def test_one_buffer_is_filled_while_the_other_is_copied(file: int) -> None:
    chunks, _ = written(file, {"cuda:0": [1000]})
    devices = FakeDevices()
    transferred(file, chunks, devices, buffer=100)
    assert devices.buffers == 2
    assert devices.most_open == 2


def test_nothing_is_allocated_where_there_is_nothing(file: int) -> None:
    devices = FakeDevices()
    assert transferred(file, {}, devices) == {}
    assert devices.buffers == 0


def test_a_file_that_ends_too_early_is_damaged(file: int) -> None:
    chunks, _ = written(file, {"cuda:0": [1000]})
    os.ftruncate(file, 999)
    with pytest.raises(Unfit, match="ends too early"):
        transferred(file, chunks, FakeDevices())


@pytest.mark.gpu
def test_tensors_come_back_on_the_gpu(keep: Any) -> None:
    torch = pytest.importorskip("torch")
    if not torch.cuda.is_available():
        pytest.skip("there is no GPU")
    before = {
        "large": torch.randn(20_000_000, device="cuda"),
        "half": torch.randn(33, device="cuda").bfloat16(),
        "here": torch.randn(5),
    }
    after = keep(before).read()
    for name, tensor in before.items():
        assert after[name].device == tensor.device
        assert torch.equal(after[name], tensor), name
