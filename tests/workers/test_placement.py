"""On which device each worker is, and what its process is told."""

import logging
from pathlib import Path

import pytest
from support.accelerators import GPUS, amd_files, ascend_files, system

from potassium import UsageError, Workers
from potassium.accelerators.system import System
from potassium.workers.placement import Placement, placements

CUDA = "CUDA_VISIBLE_DEVICES"


@pytest.fixture
def with_gpus(tmp_path: Path) -> System:
    return system(tmp_path, nvidia=GPUS, environ={CUDA: "2,GPU-aaaa1111"}, builds=["cuda"])


@pytest.fixture
def without(tmp_path: Path) -> System:
    return system(tmp_path)


def devices(workers: Workers, on: System) -> list[str]:
    return [one.device for one in placements(workers, on)]


def test_each_worker_sees_only_its_own_accelerator(with_gpus: System) -> None:
    """Of those that this process sees; and calls it the first one."""
    assert placements(Workers(), with_gpus) == [
        Placement("cuda:0", "cuda:0", {CUDA: "2"}),
        Placement("cuda:1", "cuda:0", {CUDA: "GPU-aaaa1111"}),
    ]


def test_auto_is_a_worker_for_each_accelerator_and_one_without(
    with_gpus: System, without: System
) -> None:
    assert devices(Workers("auto"), with_gpus) == ["cuda:0", "cuda:1"]
    assert placements(Workers("auto"), without) == [Placement("cpu", "cpu", {})]


def test_a_number_takes_as_many_accelerators(with_gpus: System, without: System) -> None:
    assert devices(Workers(1), with_gpus) == ["cuda:0"]
    assert devices(Workers(2), with_gpus) == ["cuda:0", "cuda:1"]
    assert devices(Workers(3), without) == ["cpu", "cpu", "cpu"]


def test_more_workers_than_accelerators_are_an_error(with_gpus: System, tmp_path: Path) -> None:
    """The message shows how to share them, and what may hide others."""
    with pytest.raises(UsageError) as error:
        placements(Workers(3), with_gpus)
    assert str(error.value) == (
        "Workers(3): there are only cuda:0 and cuda:1. Write Workers(2), or let workers share one: "
        'Workers(["cuda:0", "cuda:1", "cuda:0"]). CUDA_VISIBLE_DEVICES=2,GPU-aaaa1111 may hide '
        "others."
    )
    with pytest.raises(UsageError, match=r"Workers\(2\): there is only npu:0\. Write Workers\(1\)"):
        placements(Workers(2), system(tmp_path, files=ascend_files(1)))


def test_named_devices_are_taken_as_they_are(with_gpus: System) -> None:
    """One may have several workers; on the CPU, a worker sees no accelerator."""
    named = Workers(["cuda:1", "cuda:1", "cpu"])

    assert placements(named, with_gpus) == [
        Placement("cuda:1", "cuda:0", {CUDA: "GPU-aaaa1111"}),
        Placement("cuda:1", "cuda:0", {CUDA: "GPU-aaaa1111"}),
        Placement("cpu", "cpu", {CUDA: "-1"}),
    ]
    assert devices(Workers("cuda:1"), with_gpus) == ["cuda:1"]
    assert devices(Workers(["cpu", "cpu"]), with_gpus) == ["cpu", "cpu"]


def test_a_worker_sees_no_accelerator_of_another_kind(tmp_path: Path) -> None:
    files = amd_files(1) | ascend_files(1)
    both = system(tmp_path, files=files, builds=["hip"])

    (one, other) = placements(Workers(["cuda:0", "npu:0"]), both)

    assert one.environment == {
        "HIP_VISIBLE_DEVICES": "0",
        CUDA: "0",
        "ASCEND_RT_VISIBLE_DEVICES": "-1",
    }
    assert other.environment == {
        "HIP_VISIBLE_DEVICES": "-1",
        CUDA: "-1",
        "ASCEND_RT_VISIBLE_DEVICES": "0",
    }
    assert devices(Workers(), both) == ["cuda:0"]  # those of one kind


def test_a_device_that_does_not_exist_is_an_error(with_gpus: System, without: System) -> None:
    """The message lists those that do, and what may hide it."""
    with pytest.raises(UsageError) as error:
        placements(Workers(["cuda:0", "cuda:2"]), with_gpus)
    assert str(error.value) == (
        "Workers(['cuda:0', 'cuda:2']): there is no cuda:2; there are only cuda:0, cuda:1 and cpu. "
        "CUDA_VISIBLE_DEVICES=2,GPU-aaaa1111 may hide others."
    )
    with pytest.raises(UsageError, match=r"there is no mps; there is only cpu\.$"):
        placements(Workers("mps"), without)


def test_gpus_that_torch_is_not_built_for_are_told_and_may_be_named(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    """Silence would cost hours: the model would run on the CPU, beside idle GPUs."""
    one = system(tmp_path, nvidia=GPUS[:2], builds=[])

    assert placements(Workers(), one) == [Placement("cpu", "cpu", {})]
    (line,) = [each.getMessage() for each in caplog.records if each.levelno == logging.WARNING]
    assert line == (
        "torch is not built for cuda:0, cuda:1, so the workers are on the CPU. Install a build of "
        "torch that is, or name the devices if another library uses them: "
        'Workers(["cuda:0", "cuda:1"])'
    )
    caplog.clear()
    assert placements(Workers("cuda:1"), one) == [Placement("cuda:1", "cuda:0", {CUDA: "1"})]
    assert caplog.messages == []
