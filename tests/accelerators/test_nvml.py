"""What NVIDIA's library is asked, and what becomes of its answers."""

from collections.abc import Callable
from typing import Any

import pytest

from potassium.accelerators.nvml import LIBRARY, NvidiaGpu, nvml_gpus

NOT_SUPPORTED, NOT_FOUND, GPU_IS_LOST, DRIVER_NOT_LOADED = 3, 6, 15, 9


class Library:
    """The library of a machine with these GPUs; None is one that is lost.

    Handles are numbers, from 1: those of GPUs, and 1000 more for each MIG device.
    """

    def __init__(self, gpus: list[NvidiaGpu | None], **results: int) -> None:
        self._gpus = gpus
        self._results = results
        self.users = 0

    def __getattr__(self, name: str) -> Callable[..., int]:
        function = getattr(type(self), f"do_{name.lower()}", None)
        if function is None or self._results.get(name) == -1:
            raise AttributeError(name)

        def call(*arguments: Any) -> int:
            assert self.users or name == "nvmlInit_v2"
            if name in self._results:
                return self._results[name]
            values = [getattr(one, "_obj", one) for one in arguments]
            return function(self, *values) or 0

        return call

    def do_nvmlinit_v2(self) -> None:
        self.users += 1

    def do_nvmlshutdown(self) -> None:
        self.users -= 1

    def do_nvmldevicegetcount_v2(self, count: Any) -> None:
        count.value = len(self._gpus)

    def do_nvmldevicegethandlebyindex_v2(self, at: int, handle: Any) -> int:
        handle.value = at + 1
        return GPU_IS_LOST if self._gpus[at] is None else 0

    def do_nvmldevicegetuuid(self, handle: Any, text: Any, size: int) -> None:
        mig, at = divmod(handle.value, 1000)
        gpu = self._gpus[at - 1]
        assert gpu is not None
        uuid = gpu.uuid if not mig else (gpu.instances or ())[mig - 1]
        assert len(uuid) < size
        text.value = uuid.encode()

    def do_nvmldevicegetmigmode(self, handle: Any, mode: Any, pending: Any) -> int:
        gpu = self._gpus[handle.value - 1]
        assert gpu is not None
        mode.value, pending.value = gpu.instances is not None, 1
        return 0 if gpu.instances is not None else NOT_SUPPORTED

    def do_nvmldevicegetmaxmigdevicecount(self, handle: Any, count: Any) -> None:
        del handle
        count.value = 7

    def do_nvmldevicegetmigdevicehandlebyindex(self, gpu: Any, at: int, handle: Any) -> int:
        one = self._gpus[gpu.value - 1]
        assert one is not None
        handle.value = (at + 1) * 1000 + gpu.value
        return NOT_FOUND if at >= len(one.instances or ()) else 0


def asked(library: Library) -> list[NvidiaGpu] | None:
    def load(name: str) -> Library:
        assert name == LIBRARY
        return library

    found = nvml_gpus(load)
    assert library.users == 0
    return None if found is None else list(found)


def test_gpus_are_known_by_their_uuids_and_mig_devices() -> None:
    gpus: list[NvidiaGpu | None] = [
        NvidiaGpu("GPU-a"),
        NvidiaGpu("GPU-b", ("MIG-1", "MIG-2")),
        NvidiaGpu("GPU-c", ()),
    ]

    assert asked(Library(gpus)) == gpus


def test_a_gpu_that_is_lost_is_left_out() -> None:
    """CUDA leaves it out, too, and counts the others without it."""
    assert asked(Library([None, NvidiaGpu("GPU-b")])) == [NvidiaGpu("GPU-b")]


@pytest.mark.parametrize(
    ("results", "found"),
    [
        ({"nvmlInit_v2": DRIVER_NOT_LOADED}, None),
        ({"nvmlDeviceGetCount_v2": DRIVER_NOT_LOADED}, None),
        ({"nvmlDeviceGetUUID": NOT_SUPPORTED}, [NvidiaGpu("")]),
        ({"nvmlDeviceGetMigMode": -1}, [NvidiaGpu("GPU-a")]),  # an old library has no such function
        ({"nvmlDeviceGetMigMode": 0}, [NvidiaGpu("GPU-a")]),  # it is off
        ({"nvmlDeviceGetMaxMigDeviceCount": NOT_SUPPORTED}, [NvidiaGpu("GPU-a")]),
    ],
)
def test_what_the_library_does_not_say_is_not_needed(
    results: dict[str, int], found: list[NvidiaGpu] | None
) -> None:
    assert asked(Library([NvidiaGpu("GPU-a", ("MIG-1",))], **results)) == found


def test_without_the_library_nothing_is_known() -> None:
    def load(name: str) -> Any:
        raise OSError(f"{name}: cannot open shared object file")

    assert nvml_gpus(load) is None
