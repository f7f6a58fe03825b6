"""Running an app as a process of its own: uvicorn, its signals, its log."""

import copy
import logging
import os
import signal
import socket
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from types import FrameType
from typing import Any

import uvicorn
import uvicorn.config
from starlette.types import ASGIApp

from potassium.errors import UsageError

__all__ = ["serve"]

# Handlers in pure Python hold the GIL for as long as this before the event loop gets a turn.
SWITCH_INTERVAL = 0.0005  # seconds; Python's default is ten times as long

SIGNALS = (signal.SIGINT, signal.SIGTERM)

logger = logging.getLogger("potassium")


def serve(app: ASGIApp, name: str, host: str, port: int, options: dict[str, Any]) -> None:
    """Serve ``app`` until SIGINT or SIGTERM; blocks.

    ``options`` go to ``uvicorn.Config``. Calls that were accepted are answered before it
    returns; a second signal, or one before the app has started, ends the process at once.

    Raises:
        UsageError: an option that cannot be.
        SystemExit: the address is taken, or the app did not start.

    """
    for option in ("workers", "reload"):
        if options.get(option):
            raise UsageError(
                f"serve({option}=...): serve() runs one process, which holds one model. Use "
                f"uvicorn's own command line for this: uvicorn app:app --{option} ..."
            )
    config = uvicorn.Config(
        app,
        host=host,
        port=port,
        **{
            "access_log": False,
            "ws": "none",
            "lifespan": "on",
            "log_config": _log_config(options.get("log_level")),
            **options,
        },
    )
    sockets = None
    if config.fd is None and config.uds is None:
        # Before the model is loaded, so that a port that is taken shows in no time.
        sockets = [_bind(host, port)]
        host, port = sockets[0].getsockname()[:2]
    where = f"http{'s' if config.is_ssl else ''}://{f'[{host}]' if ':' in host else host}:{port}"
    switch_interval = sys.getswitchinterval()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        _Server(config, f"{name} serves on {where} (Ctrl-C ends it)").run(sockets)
    finally:
        sys.setswitchinterval(switch_interval)


class _Server(uvicorn.Server):
    """A uvicorn server that does not kill itself with the signal that stopped it."""

    def __init__(self, config: uvicorn.Config, greeting: str) -> None:
        super().__init__(config)
        self._greeting = greeting

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        if self.started:
            logger.info(self._greeting)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del frame
        if self.should_exit or not self.started:
            # Nothing was accepted yet, or nothing is to be waited for any more. A thread that is
            # deep in a model cannot be asked to stop.
            with suppress(RuntimeError, ValueError, OSError):  # it may be in the midst of a write
                sys.stdout.flush()
            os.write(2, b"potassium: stopped at once\n")
            os._exit(128 + sig)
        self.should_exit = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving; unlike uvicorn, do not raise them again afterwards."""
        before = {sig: signal.signal(sig, self.handle_exit) for sig in SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _bind(host: str, port: int) -> socket.socket:
    """Return a socket bound to the address, which does not listen yet.

    Raises:
        SystemExit: it cannot be bound.

    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = (isinstance(error, OSError) and error.strerror) or str(error).rstrip(".")
        raise SystemExit(
            f"Cannot serve on {host}:{port}: {reason}. Choose another address with "
            "app.serve(host=..., port=...) or POTASSIUM_HOST and POTASSIUM_PORT."
        ) from None
    return bound


def _log_config(log_level: str | int | None) -> dict[str, Any]:
    """Return uvicorn's log configuration with ours beside it, to the same place."""
    level = log_level.upper() if isinstance(log_level, str) else log_level or logging.INFO
    config: dict[str, Any] = copy.deepcopy(uvicorn.config.LOGGING_CONFIG)
    config["loggers"]["potassium"] = {"handlers": ["default"], "level": level, "propagate": False}
    return config
