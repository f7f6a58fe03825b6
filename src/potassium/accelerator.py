"""What the errors of an accelerator mean, and freeing its memory. Never imports torch."""

import gc
import re
import sys
from collections.abc import Iterator

__all__ = ["free_memory", "is_fatal", "is_out_of_memory"]

# The CUDA driver marks these errors as sticky: every later call in the process returns them again
# (CUDA Runtime API, cudaError_t: "the process must be terminated and relaunched"). What is not
# listed, such as an invalid launch configuration, leaves the context usable.
STICKY = re.compile(
    r"device-side assert"
    r"|illegal memory access"
    r"|illegal instruction"
    r"|illegal address"
    r"|misaligned address"
    r"|invalid program counter"
    r"|invalid address space|operation not supported on global/shared address space"
    r"|hardware stack error"
    r"|unspecified launch failure"
    r"|launch timed out|launch timeout"
    r"|uncorrectable (ECC|NVLink) error"
    r"|CUBLAS_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)"
    r"|CUDNN_STATUS_(EXECUTION_FAILED|INTERNAL_ERROR|MAPPING_ERROR)",
    re.IGNORECASE,
)
NO_MEMORY = re.compile(
    r"out of memory|(CUBLAS|CUDNN)_STATUS_ALLOC_FAILED|not enough memory|can't allocate memory",
    re.IGNORECASE,
)


def is_fatal(error: BaseException) -> bool:
    """Return whether ``error`` means that the accelerator is of no use to this process any more.

    Looked at are torch's errors, and what was raised from or during one: a handler may have
    wrapped it.
    """
    return any(
        _is_of_torch(one) and STICKY.search(str(one)) is not None and not is_out_of_memory(one)
        for one in _chain(error)
    )


def is_out_of_memory(error: BaseException) -> bool:
    """Return whether ``error`` means that memory did not suffice, on whatever device."""
    torch = sys.modules.get("torch")
    if torch is not None and isinstance(error, torch.OutOfMemoryError):
        return True
    return _is_of_torch(error) and NO_MEMORY.search(str(error)) is not None


def free_memory() -> None:
    """Give back what torch keeps of the device's memory without using it."""
    gc.collect()  # tensors in reference cycles, as tracebacks make them
    torch = sys.modules.get("torch")
    if torch is not None and torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _is_of_torch(error: BaseException) -> bool:
    """Return whether torch may have raised this: a RuntimeError in a process that has torch."""
    return "torch" in sys.modules and isinstance(error, RuntimeError)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and what it was raised from or during, once each."""
    seen: set[int] = set()
    one: BaseException | None = error
    while one is not None and id(one) not in seen:
        seen.add(id(one))
        yield one
        one = one.__cause__ or one.__context__
