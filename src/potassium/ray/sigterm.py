"""Lets a replica hear SIGTERM, which by default ends it with all that it was doing."""

import ctypes
import os
import signal
from collections.abc import Callable
from types import FrameType

__all__ = ["Sigterm"]

PENDING_CALL = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p)


class Sigterm:
    """Notes that SIGTERM has come. It begins to listen where Ray unpickles it: in the replica.

    Only the main thread may set a handler, and that of a replica runs no Python from then on: it
    waits for a function of the very actor that unpickles this. What CPython calls a pending call is
    run by the main thread when it does so next.

    Attributes:
        received: whether it has come.
        heard: called on the main thread when it comes.

    """

    def __init__(self) -> None:
        self.received = False
        self.heard: Callable[[], object] = lambda: None

    def __reduce__(self) -> tuple[Callable[[], "Sigterm"], tuple[()]]:
        """Pickle it as what listens."""
        return listening, ()

    def listen(self) -> None:
        """Set the handler, as soon as the main thread runs Python again."""

        def install(_: object) -> int:
            signal.signal(signal.SIGTERM, self._handle)
            return 0

        self._install = PENDING_CALL(install)  # which must outlive the call
        ctypes.pythonapi.Py_AddPendingCall(self._install, None)

    def _handle(self, sig: int, frame: FrameType | None) -> None:
        del frame
        if self.received:
            os._exit(128 + sig)
        self.received = True
        self.heard()


def listening() -> Sigterm:
    """Return one that listens, if this process is a replica."""
    import ray  # noqa: PLC0415 - it is Ray that unpickles this

    sigterm = Sigterm()
    if ray.get_runtime_context().get_actor_id() is not None:
        sigterm.listen()
    return sigterm
