"""How errors of an accelerator are classified."""

import subprocess
import sys
import weakref
from collections.abc import Callable
from typing import Any

import pytest
import torch

from potassium import Potassium
from potassium.handlers.accelerator import is_fatal, is_out_of_memory
from potassium.testing import client

STICKY = [
    "CUDA error: device-side assert triggered\nCUDA kernel errors might be asynchronously reported",
    "CUDA error: an illegal memory access was encountered",
    "CUDA error: misaligned address",
    "CUDA error: unspecified launch failure",
    "CUDA error: an illegal instruction was encountered",
    "CUDA error: the launch timed out and was terminated",
    "CUDA error: uncorrectable ECC error encountered",
    "CUDA error: CUBLAS_STATUS_EXECUTION_FAILED when calling `cublasSgemm(...)`",
    "cuDNN error: CUDNN_STATUS_EXECUTION_FAILED",
    "cuDNN error: CUDNN_STATUS_INTERNAL_ERROR",
]
HARMLESS = [
    "CUDA error: invalid configuration argument",
    "CUDA error: invalid argument",
    "CUDA error: no kernel image is available for execution on the device",
    "cuDNN error: CUDNN_STATUS_NOT_SUPPORTED",
    "mat1 and mat2 shapes cannot be multiplied (2x3 and 2x3)",
    "expected scalar type Float but found Half",
]
NO_MEMORY = [
    torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 GiB"),
    torch.AcceleratorError("CUDA error: out of memory"),
    RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
    RuntimeError("[enforce fail at alloc_cpu.cpp] DefaultCPUAllocator: can't allocate memory"),
]


@pytest.fixture
def device(monkeypatch: pytest.MonkeyPatch) -> Callable[[bool], None]:
    """Return a function that makes torch believe in a device, which is lost or not."""

    def make(lost: bool) -> None:
        def synchronize() -> None:
            if lost:
                raise torch.AcceleratorError("CUDA error: device-side assert triggered")

        monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
        monkeypatch.setattr(torch.cuda, "synchronize", synchronize)

    return make


@pytest.mark.parametrize("message", STICKY)
def test_a_text_alone_does_not_make_an_error_fatal(
    device: Callable[[bool], None], message: str
) -> None:
    """A client may have written it: the device is asked, and one that works is not lost."""
    device(False)
    assert not is_fatal(RuntimeError(message))


@pytest.mark.parametrize("lost", [True, False])
@pytest.mark.parametrize("message", ["device-side assert", "Invalid device: 'CUDA error: x'"])
def test_a_text_of_the_apps_own_is_never_looked_into(
    device: Callable[[bool], None], message: str, lost: bool
) -> None:
    """What torch writes begins with whose error it is."""
    device(lost)
    assert not is_fatal(RuntimeError(f"{message} device-side assert, out of memory"))
    assert not is_out_of_memory(RuntimeError(f"{message} out of memory"))


@pytest.mark.parametrize("message", STICKY)
def test_without_a_device_there_is_none_to_lose(message: str) -> None:
    """A process that computes on the CPU goes on."""
    assert not is_fatal(RuntimeError(message))


class Odd(RuntimeError):
    def __str__(self) -> str:
        raise ValueError("this has no text")


def test_an_error_without_a_text_is_an_error_like_any_other() -> None:
    """Nothing is raised where errors are looked at."""
    assert not is_fatal(Odd())
    assert not is_out_of_memory(Odd())


@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
@pytest.mark.parametrize("message", STICKY)
def test_errors_that_poison_the_context_are_fatal(
    device: Callable[[bool], None], kind: Any, message: str
) -> None:
    """The driver keeps returning them; only a new process helps."""
    device(True)
    assert is_fatal(kind(message))


@pytest.mark.parametrize("kind", [RuntimeError, torch.AcceleratorError])
@pytest.mark.parametrize("message", HARMLESS)
def test_other_errors_of_torch_are_not_fatal(kind: Any, message: str) -> None:
    """A wrong shape or an unsupported call leaves the context usable."""
    assert not is_fatal(kind(message))
    assert not is_out_of_memory(kind(message))


@pytest.mark.parametrize("error", NO_MEMORY, ids=repr)
def test_out_of_memory_is_not_fatal(error: BaseException) -> None:
    """Out-of-memory errors are told apart from errors that poison the context."""
    assert is_out_of_memory(error)
    assert not is_fatal(error)


@pytest.mark.parametrize("error", [ValueError(STICKY[0]), SystemExit(STICKY[1])], ids=repr)
def test_only_errors_that_torch_may_raise_count(error: BaseException) -> None:
    """Any other exception with the same words in it is the handler's own."""
    assert not is_fatal(error)


def wrapped() -> None:
    try:
        raise torch.AcceleratorError(STICKY[0])
    except RuntimeError as error:
        raise ValueError("inference failed") from error


def during_handling() -> None:
    try:
        raise torch.AcceleratorError(STICKY[0])
    except RuntimeError:
        raise ValueError("cleanup failed")  # noqa: B904 - that is the point


@pytest.mark.parametrize("fail", [wrapped, during_handling])
def test_a_fatal_error_is_found_behind_the_one_it_was_wrapped_in(fail: Any) -> None:
    """A handler may raise its own error from torch's, or while handling it."""
    with pytest.raises(ValueError, match="failed") as caught:
        fail()
    assert is_fatal(caught.value)


def test_errors_that_go_in_a_circle_are_looked_at_once() -> None:
    """A cycle of causes does not hang the thread."""
    first, second = ValueError(), KeyError()
    first.__cause__, second.__cause__ = second, first
    assert not is_fatal(first)


def test_without_torch_nothing_is_fatal_and_nothing_imported() -> None:
    """A process without torch has no CUDA context to lose."""
    code = (
        "import sys; from potassium.handlers.accelerator import *; "
        "error = RuntimeError('CUDA error: device-side assert triggered, out of memory'); "
        "free_memory(); print(is_fatal(error), is_out_of_memory(error), 'torch' in sys.modules)"
    )
    command = [sys.executable, "-c", code]
    assert subprocess.run(command, capture_output=True, check=True).stdout.split() == [b"False"] * 3


@pytest.mark.parametrize(("failures", "status", "runs"), [(0, 200, 1), (1, 200, 2), (2, 503, 2)])
async def test_a_call_that_is_out_of_memory_is_tried_once_more(
    app: Potassium, failures: int, status: int, runs: int
) -> None:
    """Memory is freed and the call runs again; if it fails twice, it is 503 out_of_memory."""
    ran = 0

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> str:
        nonlocal ran
        ran += 1
        if ran <= failures:
            raise torch.OutOfMemoryError("CUDA out of memory")
        return "done"

    async with client(app) as http:
        response = await http.post("/", json={})
        assert (response.status_code, ran) == (status, runs)
        if status == 503:
            assert response.json()["code"] == "out_of_memory"
            assert response.headers["Retry-After"] == "1"
        assert (await http.get("/healthz")).status_code == 200


async def test_memory_is_freed_before_the_second_try(
    app: Potassium, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What the first attempt held, in frames and in cycles, is gone when torch frees its cache."""

    class Tensor:
        def __init__(self) -> None:
            self.itself = self

    error = torch.OutOfMemoryError("CUDA out of memory")  # it outlives the call, as in a log
    held: list[weakref.ref[Tensor]] = []
    given_back: list[bool] = []

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> str:
        if held:
            return "done"
        tensor = Tensor()
        held.append(weakref.ref(tensor))
        raise error

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "empty_cache", lambda: given_back.append(held[0]() is None))
    async with client(app) as http:
        assert (await http.post("/", json={})).json() == "done"
    assert given_back == [True]


async def test_an_error_in_the_second_try_is_what_it_is(app: Potassium) -> None:
    """Another error after the first out-of-memory error is the handler's own."""
    errors = [torch.OutOfMemoryError("CUDA out of memory"), ValueError("bad")]

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise errors.pop(0)

    async with client(app) as http:
        response = await http.post("/", json={})
    assert (response.status_code, response.json()["code"]) == (500, "handler_error")


async def test_a_poisoned_context_turns_liveness_red(app: Potassium) -> None:
    """After a fatal error, calls get 503 worker_failed, and liveness and readiness answer 503."""

    @app.handler
    def handler(cache: dict[str, Any], json_in: dict[str, Any]) -> None:
        raise torch.AcceleratorError(STICKY[0])

    async with client(app) as http:
        assert (await http.post("/", json={})).status_code == 500
        response = await http.post("/", json={})
        assert (response.status_code, response.json()["code"]) == (503, "worker_failed")
        assert (await http.get("/healthz")).status_code == 503
        assert (await http.get("/readyz")).json()["reason"] == "failed"


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="there is no GPU")
def test_a_real_device_side_assert_is_fatal() -> None:
    """The error that CUDA really raises is recognised, in a process that it makes unusable."""
    code = (
        "import torch; from potassium.handlers.accelerator import is_fatal\n"
        "try:\n"
        "    torch.zeros(4, device='cuda')[torch.tensor([9], device='cuda')].cpu()\n"
        "    torch.cuda.synchronize()\n"
        "except RuntimeError as error:\n"
        "    print(is_fatal(error))\n"
    )
    output = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False).stdout
    assert output.strip() == b"True"
