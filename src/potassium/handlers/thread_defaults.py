"""What ``app.py`` has set as torch's defaults: torch keeps some of them for each thread apart."""

import sys
from collections.abc import Callable

__all__ = ["thread_defaults"]


def thread_defaults() -> Callable[[], None]:
    """Return what gives a new thread the defaults of the thread that this is called on.

    These are the default device, the grad mode and the number of threads of an operation. The
    default dtype is the same for all threads anyway. Never imports torch.
    """
    torch = sys.modules.get("torch")
    if torch is None or not hasattr(torch, "get_default_device"):  # torch before 2.3
        return lambda: None
    device, grad = torch.get_default_device(), torch.is_grad_enabled()
    threads = torch.get_num_threads()

    def inherit() -> None:
        if torch.get_default_device() != device:  # setting it costs every later operation a little
            torch.set_default_device(device)
        torch.set_grad_enabled(grad)
        if torch.get_num_threads() != threads:
            torch.set_num_threads(threads)

    return inherit
