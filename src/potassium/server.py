"""Serves an app in its own process: uvicorn, its signals, its log."""

import asyncio
import errno
import gc
import inspect
import logging
import os
import signal
import socket
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

import uvicorn
from starlette.types import ASGIApp

from potassium.config import Limits, LogFormat, check_options, default_host, default_port
from potassium.connections import Connections
from potassium.engine import State
from potassium.errors import UsageError
from potassium.observe.logs.process_log import process_log
from potassium.serving.leftovers import (
    end_tasks,
    end_with_main_thread,
    exit_now,
    flush,
    say_last,
)
from potassium.serving.line_limit import LineLimit
from potassium.serving.log_config import level_of, set_up_logging
from potassium.serving.runtime import Runtime
from potassium.serving.signals import SIGNALS, end_forked

__all__ = ["serve"]

# Handlers in pure Python hold the GIL for this long before the event loop gets a turn.
SWITCH_INTERVAL = 0.0005  # seconds; Python's default is ten times as long

OUR_THREADS = ("potassium-gpu", "potassium-pool")

# What was admitted has its response by the time that the server closes; this is for clients that do
# not fetch theirs, or never finish their requests.
CLOSING_TIME = 1  # second

# Balancers keep idle connections for 60 s: whoever closes first must not be the server, which may
# do so at the very moment that a request is sent.
KEEP_ALIVE = 75  # seconds

OTHERS = ("uvicorn.error", "asyncio")  # loggers on which clients can cause lines, besides ours

ACCEPTED = 16  # connections in a turn of the event loop

logger = logging.getLogger("potassium")


def serve(  # noqa: PLR0913, PLR0917 - what app.serve() knows
    app: ASGIApp,
    runtime: Runtime,
    limits: Limits,
    name: str,
    host: str | None,
    port: int | None,
    options: dict[str, Any],
    log: LogFormat | None = None,
) -> None:
    """Serve ``app`` until SIGINT or SIGTERM; blocks.

    If ``host`` or ``port`` is None, the environment decides. ``options`` are passed to
    ``uvicorn.Config``. ``log`` is the format of all log lines, None for plain ones.

    On the first signal, the server stops admitting calls. It still answers, readiness with 503,
    until all admitted calls have ended or the grace period is over. A second signal, or one before
    the app has started, ends the process at once.

    Raises:
        UsageError: an option is invalid, or an event loop is already running.
        SystemExit: the address is taken, the app did not start or failed, or calls did not finish
            within the grace period.

    """
    if _in_event_loop():
        raise UsageError(
            "app.serve() blocks and runs an event loop of its own. Inside one, as in a notebook, "
            "write: await uvicorn.Server(uvicorn.Config(app)).serve()"
        )
    host = default_host() if host is None else host
    port = default_port() if port is None else port
    config = _config(app, runtime, limits, host, port, options, log)
    sockets = None
    with _reasons_logged():
        if config.fd is None and config.uds is None:
            # Before the model is loaded, so that a port that is taken is reported at once.
            sockets = _bind(host, port)
            host, port = sockets[0].getsockname()[:2]
        server = _Server(
            config, runtime, f"{name} serves on {_where(config, host, port)} (Ctrl-C ends it)"
        )
        with _own_process():
            server.run(sockets)
    if server.exit_status or any(one.name in OUR_THREADS for one in threading.enumerate()):
        # A handler that does not return would keep the interpreter from exiting, and so may what
        # is left of a broken accelerator.
        exit_now(server.exit_status or 1)
    end_with_main_thread()


@contextmanager
def _reasons_logged() -> Iterator[None]:
    """Log why the process ends, instead of printing it, if its log has a format of ours."""
    try:
        yield
    except SystemExit as end:
        if not isinstance(end.code, str) or process_log() is None:
            raise
        logger.critical(end.code)
        raise SystemExit(1) from None


@contextmanager
def _own_process() -> Iterator[None]:
    """Set what a process that only serves can afford, until the context exits."""
    switch_interval, frozen = sys.getswitchinterval(), gc.get_freeze_count()
    sys.setswitchinterval(SWITCH_INTERVAL)
    try:
        with LineLimit().on(*OTHERS):
            yield
    finally:
        sys.setswitchinterval(switch_interval)
        if not frozen:
            gc.unfreeze()


class _Server(uvicorn.Server):
    """A uvicorn server that drains its app before it closes; ``exit_status`` is 1 on failure."""

    def __init__(self, config: uvicorn.Config, runtime: Runtime, greeting: str) -> None:
        super().__init__(config)
        self.exit_status = 0
        self._runtime = runtime
        self._greeting = greeting
        self._asked_to_stop = False
        self._pid = os.getpid()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        # The modules that are loaded stay. Full collections would traverse all of them again and
        # again, and nothing else runs meanwhile. The model is not here yet: it may be replaced.
        gc.collect()
        gc.freeze()
        addresses = [one.getsockname()[:2] for one in sockets or ()]
        await super().startup(sockets)
        for one, (host, port) in zip(sockets or (), addresses, strict=True):
            if self.started and not _listens(one):  # uvloop does not report that
                await self.shutdown(sockets)
                raise SystemExit(_cannot_serve(host, port, os.strerror(errno.EADDRINUSE)))
        if self.started:
            logger.info(self._greeting)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal, and leave an event loop that can be closed."""
        await super().serve(sockets)
        if not await end_tasks():
            exit_now(self.exit_status or 1)

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to close; uvicorn calls this ten times a second."""
        runtime = self._runtime
        if runtime.lifecycle.state is State.FAILED:
            self.exit_status = 1
            self.should_exit = True
        elif self._asked_to_stop:
            runtime.drain()
            self.should_exit = runtime.is_idle
        if self.should_exit and runtime.was_cut_off:
            self.exit_status = 1
        return await super().on_tick(counter)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        del frame
        if end_forked(self._pid, sig):
            return
        if self._asked_to_stop or not self.started:
            # Nothing has been accepted so far, or nothing is to be waited for any more. A thread
            # that is deep in a model cannot be asked to stop.
            flush()
            say_last("potassium: terminated immediately")
            os._exit(128 + sig)
        self._asked_to_stop = True

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals while serving; unlike uvicorn, do not raise them again afterwards."""
        if threading.current_thread() is not threading.main_thread():
            yield  # signals belong to the main thread
            return
        before = {sig: signal.signal(sig, self.handle_exit) for sig in SIGNALS}
        try:
            yield
        finally:
            for sig, handler in before.items():
                signal.signal(sig, handler)


def _config(  # noqa: PLR0913, PLR0917 - what app.serve() knows
    app: ASGIApp,
    runtime: Runtime,
    limits: Limits,
    host: str,
    port: int,
    options: dict[str, Any],
    log: LogFormat | None,
) -> uvicorn.Config:
    for option in ("workers", "reload"):
        if options.get(option):
            raise UsageError(
                f"serve({option}=...): serve() runs one process, which holds one model. Use "
                f"uvicorn's own command line for this: uvicorn app:app --{option} ... (of several "
                "workers, each holds a model, and only one can have a file of jobs)."
            )
    check_options("serve", options, inspect.signature(uvicorn.Config).parameters)
    level = level_of(options.get("log_level"))
    if "log_config" not in options:
        set_up_logging(level, use_colors=options.get("use_colors"), how=log)
    keep_alive = options.get("timeout_keep_alive", KEEP_ALIVE)
    return uvicorn.Config(
        app,
        host=host,
        port=port,
        **{
            "http": Connections(limits, keep_alive, runtime.observation.refused),
            "access_log": False,
            "ws": "none",
            "lifespan": "on",
            "log_config": None,
            "timeout_graceful_shutdown": CLOSING_TIME,
            "timeout_keep_alive": keep_alive,
            **options,
            "log_level": level,
        },
    )


def _in_event_loop() -> bool:
    try:
        asyncio.get_running_loop()
    except RuntimeError:
        return False
    return True


def _bind(host: str, port: int) -> list[socket.socket]:
    """Return sockets that are bound to the address but do not listen yet.

    They are one and the same: uvloop accepts one connection for each in a turn of the event loop.

    Raises:
        SystemExit: the address cannot be bound.

    """
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
    except (OSError, OverflowError) as error:
        bound.close()
        reason = (isinstance(error, OSError) and error.strerror) or str(error).rstrip(".")
        raise SystemExit(_cannot_serve(host, port, reason)) from None
    return [bound, *(bound.dup() for _ in range(ACCEPTED - 1))]


def _listens(one: socket.socket) -> bool:
    """Return whether others cannot take the address of ``one`` any more.

    Until it listens, another server that is loading its model can be bound to the address too. To
    prevent that, SO_REUSEADDR would have to be off, and then connections that the server before
    this one had would block the address for a minute.
    """
    try:
        return bool(one.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN))
    except OSError:
        return False  # the loop has closed it


def _cannot_serve(host: str, port: int, reason: str) -> str:
    return (
        f"Cannot serve on {host}:{port}: {reason}. Choose another address with "
        "app.serve(host=..., port=...) or POTASSIUM_HOST and POTASSIUM_PORT."
    )


def _where(config: uvicorn.Config, host: str, port: int) -> str:
    """Return where ``config`` makes uvicorn listen, in uvicorn's order of preference."""
    if config.fd is not None:
        return f"file descriptor {config.fd}"
    if config.uds is not None:
        return f"the socket {config.uds}"
    return f"http{'s' if config.is_ssl else ''}://{f'[{host}]' if ':' in host else host}:{port}"
