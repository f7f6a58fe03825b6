"""Modules that accelerate has put hooks on, as ``device_map=`` over several devices does."""

import functools
import sys
from importlib import import_module
from typing import Any

__all__ = ["rehooked", "without_hooks"]

# A forward that accelerate has made is this function, bound to its module.
NEW_FORWARD = "add_hook_to_module.<locals>.new_forward"

OLD = "_old_forward"  # the attribute with what that calls


def without_hooks(module: Any) -> Any:
    """Return how to pickle a module of torch that has a hook; ``NotImplemented`` if it has none.

    Its methods ``to`` and ``cuda`` come back without the warning that accelerate adds to them.

    Raises:
        TypeError: what it has is none of the hooks that accelerate puts on.

    """
    hooks: Any = sys.modules.get("accelerate.hooks")
    if hooks is None or "_hf_hook" not in module.__dict__:
        return NotImplemented
    forward = module.__dict__.get("forward")
    code = getattr(getattr(forward, "func", None), "__code__", None)
    if not isinstance(forward, functools.partial) or getattr(code, "co_qualname", "") != (
        NEW_FORWARD
    ):
        raise TypeError("nobody knows how accelerate has put its hook on this module")
    build, arguments, state, *_ = module.__reduce_ex__(5)
    made = {"forward", *hooks._accelerate_added_attributes}  # noqa: SLF001 - there is no other
    if getattr(state.get(OLD), "__func__", None) is getattr(type(module), "forward", None):
        made.add(OLD)  # pickle would look for its name, and containers of layers have another one
    kept = {name: value for name, value in state.items() if name not in made}
    return build, arguments, kept, None, None, rehooked


def rehooked(module: Any, state: dict[str, Any]) -> None:
    """Give a module its ``state``, and the forward that runs its hook."""
    hooks: Any = import_module("accelerate.hooks")
    module.__setstate__(state)
    new_forward = hooks.add_hook_to_module(hooks.nn.Identity(), hooks.ModelHook()).forward.func
    old_forward = state.get(OLD, module.forward)  # which is that of its class
    setattr(module, OLD, old_forward)
    module.forward = functools.update_wrapper(functools.partial(new_forward, module), old_forward)
    hook = module._hf_hook  # noqa: SLF001 - as above
    for one in (hook, *getattr(hook, "hooks", ())):
        # Its keys are addresses of tensors, which others may have now. It is filled as needed.
        (getattr(one, "tied_params_map", None) or {}).clear()
