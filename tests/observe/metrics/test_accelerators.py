"""The memory of accelerators, as torch counts it."""

import subprocess
import sys
from types import SimpleNamespace
from typing import Any

import pytest

from potassium.observe.metrics.accelerators import accelerator_families
from potassium.observe.metrics.shown import Shown

MIB = 1024 * 1024


class Cuda:
    """Two devices, of which the second one is not used."""

    def __init__(self, *, initialized: bool = True) -> None:
        self.is_initialized = lambda: initialized
        self.asked: list[str] = []

    def device_count(self) -> int:
        return 2

    def memory_stats(self, device: int) -> dict[str, int]:
        if device:
            return {}
        return {"allocated_bytes.all.current": 5 * MIB, "reserved_bytes.all.current": 8 * MIB}

    def get_device_properties(self, device: int) -> Any:
        return SimpleNamespace(total_memory=80 * MIB)

    def synchronize(self) -> None:
        raise AssertionError("a scrape waits for no device")


def shown(monkeypatch: pytest.MonkeyPatch, **torch: Any) -> dict[tuple[str, str], float]:
    monkeypatch.setitem(sys.modules, "torch", SimpleNamespace(**torch))
    return {
        (sample.name.removeprefix("potassium_accelerator_memory_"), sample.labels["device"]): (
            sample.value / MIB
        )
        for family in accelerator_families(Shown("test"))
        for sample in family.samples
    }


def test_each_device_has_its_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    assert shown(monkeypatch, cuda=Cuda()) == {
        ("allocated_bytes", "cuda:0"): 5,
        ("reserved_bytes", "cuda:0"): 8,
        ("total_bytes", "cuda:0"): 80,
        ("allocated_bytes", "cuda:1"): 0,
        ("reserved_bytes", "cuda:1"): 0,
        ("total_bytes", "cuda:1"): 80,
    }


def test_a_device_that_is_not_initialized_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    """A scrape must not take hundreds of megabytes for a context."""
    assert shown(monkeypatch, cuda=Cuda(initialized=False)) == {}


def test_an_npu_is_shown_like_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    assert ("allocated_bytes", "npu:0") in shown(
        monkeypatch, cuda=Cuda(initialized=False), npu=Cuda()
    )


@pytest.mark.parametrize("available", [True, False])
def test_an_apple_gpu_is_shown(monkeypatch: pytest.MonkeyPatch, available: bool) -> None:
    mps = SimpleNamespace(
        current_allocated_memory=lambda: MIB,
        driver_allocated_memory=lambda: 2 * MIB,
        recommended_max_memory=lambda: 16 * MIB,
    )
    backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: available))
    seen = shown(monkeypatch, mps=mps, backends=backends)
    assert seen == (
        {("allocated_bytes", "mps"): 1, ("reserved_bytes", "mps"): 2, ("total_bytes", "mps"): 16}
        if available
        else {}
    )


class Lost(Cuda):
    """A device that has fallen off the bus."""

    def memory_stats(self, device: int) -> dict[str, int]:
        raise RuntimeError("CUDA error: unspecified launch failure")


@pytest.mark.parametrize("broken", [Lost(), SimpleNamespace()], ids=["lost", "half imported"])
def test_a_device_that_cannot_be_asked_does_not_cost_the_page(
    monkeypatch: pytest.MonkeyPatch, broken: Any
) -> None:
    """All other figures say what has happened; so do those of other devices."""
    assert set(shown(monkeypatch, cuda=broken, npu=Cuda())) == {
        (f"{kind}_bytes", f"npu:{number}")
        for kind in ("allocated", "reserved", "total")
        for number in (0, 1)
    }


def test_an_older_torch_without_these_figures_of_an_apple_gpu_is_left_out(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """``recommended_max_memory`` is newer than the others."""
    backends = SimpleNamespace(mps=SimpleNamespace(is_available=lambda: True))
    mps = SimpleNamespace(current_allocated_memory=lambda: 1, driver_allocated_memory=lambda: 1)
    assert shown(monkeypatch, backends=backends, mps=mps) == {}


def test_torch_is_not_imported() -> None:
    code = (
        "import sys; from potassium.observe.metrics.accelerators import accelerator_families;"
        "from potassium.observe.metrics.shown import Shown;"
        "assert not list(accelerator_families(Shown('a'))); assert 'torch' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_torch_without_a_gpu_has_nothing_to_show() -> None:
    """The functions that are asked for exist in the torch that is installed."""
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        pytest.skip("there is a GPU")
    assert list(accelerator_families(Shown("test"))) == []
