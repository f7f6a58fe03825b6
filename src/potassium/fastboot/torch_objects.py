"""Objects of torch that pickle does not bring back as they were."""

import sys
from collections.abc import Callable
from typing import Any

__all__ = ["compiled", "described", "inference", "reduced"]


def reduced(obj: Any) -> Any:
    """Return how to pickle an object of torch; ``NotImplemented`` if pickle knows better."""
    torch: Any = sys.modules["torch"]
    if isinstance(obj, torch.Tensor):
        if not obj.is_inference():
            return NotImplemented
        return inference, obj.__reduce_ex__(5)[:2]
    dynamo: Any = sys.modules.get("torch._dynamo")
    if dynamo is not None and isinstance(obj, dynamo.OptimizedModule):
        return compiled, (obj._orig_mod, _options(obj.dynamo_ctx))  # noqa: SLF001 - torch has no other
    return NotImplemented


def described(tensor: Any) -> str:
    """Return all about a tensor but its values, for comparison with the same one restored."""
    facts = [type(tensor).__qualname__, tensor.dtype, tuple(tensor.shape), tensor.layout]
    facts += [tensor.device, tensor.requires_grad, tensor.is_inference()]
    return " ".join(map(str, facts))


def inference(build: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return a tensor as it is made in inference mode."""
    import torch  # noqa: PLC0415 - its tensors are in the snapshot

    with torch.inference_mode():
        return build(*arguments)


def compiled(module: Any, options: dict[str, Any]) -> Any:
    """Return a module that compiles itself when it is first called."""
    import torch  # noqa: PLC0415 - as above

    return torch.compile(module, **options)


def _options(context: Any) -> dict[str, Any]:
    """Return what ``torch.compile`` was given.

    Raises:
        TypeError: that cannot be found out.

    """
    raise TypeError("soon")
