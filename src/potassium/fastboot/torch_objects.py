"""Objects of torch that pickle does not bring back as they were."""

import sys
from collections.abc import Callable
from importlib import import_module
from types import MethodType, ModuleType
from typing import Any

from potassium.fastboot.accelerate_hooks import without_hooks

__all__ = ["compile_options", "compiled", "described", "inference", "reduced"]


def reduced(obj: Any) -> Any:
    """Return how to pickle an object, if pickle would not bring it back as it was.

    Returns:
        ``NotImplemented`` if pickle knows better.

    Raises:
        TypeError: it cannot be brought back.

    """
    if isinstance(obj, ModuleType):
        return import_module, (obj.__name__,)
    if isinstance(obj, MethodType) and not _is_of_its_class(obj):
        raise TypeError("its class does not have it, and pickle would look for it there")
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return NotImplemented
    if isinstance(obj, torch.Tensor) and obj.is_inference():
        return inference, obj.__reduce_ex__(5)[:2]
    dynamo: Any = sys.modules.get("torch._dynamo")
    if dynamo is not None and isinstance(obj, dynamo.OptimizedModule):
        return compiled, (obj._orig_mod, compile_options(obj))  # noqa: SLF001 - torch has no other
    if isinstance(obj, torch.nn.Module) and obj.__dict__.get("_compiled_call_impl") is not None:
        raise TypeError("module.compile() would be lost; write torch.compile(module)")
    return without_hooks(obj) if isinstance(obj, torch.nn.Module) else NotImplemented


def described(obj: Any) -> str | None:
    """Return all about a tensor but its values, and what else may be lost; None if nothing may."""
    torch: Any = sys.modules.get("torch")
    if torch is None:
        return None
    if isinstance(obj, torch.Tensor):
        facts = [type(obj).__qualname__, obj.dtype, tuple(obj.shape), obj.layout, obj.device]
        return " ".join(map(str, [*facts, obj.requires_grad, obj.is_inference()]))
    dynamo: Any = sys.modules.get("torch._dynamo")
    if dynamo is not None and isinstance(obj, dynamo.OptimizedModule):
        return f"compiled {compile_options(obj)}"
    return None


def _is_of_its_class(method: MethodType) -> bool:
    """Return whether a bound method is what its object has without having been patched."""
    owner, function = method.__self__, method.__func__
    kind = owner if isinstance(owner, type) else type(owner)
    found = getattr(kind, getattr(function, "__name__", ""), None)
    return getattr(found, "__func__", found) is function


def compile_options(module: Any) -> dict[str, Any]:
    """Return what ``torch.compile`` was given for a module.

    Raises:
        TypeError: that cannot be found out.

    """
    from torch._dynamo.eval_frame import innermost_backend  # noqa: PLC0415 - it is in use

    context = module.dynamo_ctx
    backend = innermost_backend(getattr(context, "callback", None))
    options: dict[str, Any] = {"fullgraph": bool(getattr(context, "fullgraph", False))}
    options["dynamic"] = getattr(backend, "dynamic", None)
    kind = type(backend).__name__
    if kind == "_TorchCompileInductorWrapper":
        return {**options, "options": dict(backend.config)}
    if kind == "_TorchCompileWrapper" and not backend.kwargs:
        return {**options, "backend": backend.compiler_name}
    raise TypeError(f"nobody knows what torch.compile was given: its backend is {backend!r}")


def inference(build: Callable[..., Any], arguments: tuple[Any, ...]) -> Any:
    """Return a tensor as it is made in inference mode."""
    import torch  # noqa: PLC0415 - its tensors are in the snapshot

    with torch.inference_mode():
        return build(*arguments)


def compiled(module: Any, options: dict[str, Any]) -> Any:
    """Return a module that compiles itself when it is first called."""
    import torch  # noqa: PLC0415 - as above

    return torch.compile(module, **options)
