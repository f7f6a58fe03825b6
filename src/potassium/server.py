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
from potassium.errors import UsageError
from potassium.observe.logs.process_log import process_log
from potassium.serving.addresses import bind, cannot_serve, listens, shown
from potassium.serving.collector import COLLECTOR
from potassium.serving.leftovers import (
    end_tasks,
    end_with_main_thread,
    exit_now,
    flush,
    say_last,
)
from potassium.serving.line_limit import LineLimit
from potassium.serving.log_config import level_of, set_up_logging
from potassium.serving.served import Served
from potassium.serving.signals import SIGNALS, end_forked
from potassium.serving.supervisor import Supervisor

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

logger = logging.getLogger("potassium")


def serve(  # noqa: PLR0913, PLR0917 - what app.serve() knows
    app: ASGIApp,
    served: Served,
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
    config = _config(app, served, limits, host, port, options, log)
    sockets = None
    with _reasons_logged():
        if config.fd is None and config.uds is None:
            # Before the model is loaded, so that a port that is taken is reported at once.
            sockets = bind(host, port)
            host, port = sockets[0].getsockname()[:2]
        server = _Server(config, served, f"{name} serves on {shown(config, host, port)}")
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
        with LineLimit().on(*OTHERS), COLLECTOR.paused():
            yield
    finally:
        sys.setswitchinterval(switch_interval)
        if not frozen:
            gc.unfreeze()


class _Server(uvicorn.Server):
    """A uvicorn server that drains its app before it closes; ``exit_status`` is 1 on failure."""

    def __init__(self, config: uvicorn.Config, served: Served, greeting: str) -> None:
        super().__init__(config)
        self.exit_status = 0
        self._served = served
        self._greeting = greeting
        self._supervisor = Supervisor()
        self._asked_to_stop = False
        self._pid = os.getpid()

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        COLLECTOR.spare_modules()
        addresses = [one.getsockname()[:2] for one in sockets or ()]
        await super().startup(sockets)
        for one, (host, port) in zip(sockets or (), addresses, strict=True):
            if self.started and not listens(one):  # uvloop does not report that
                await self.shutdown(sockets)
                raise SystemExit(cannot_serve(host, port, os.strerror(errno.EADDRINUSE)))
        if self.started:
            COLLECTOR.resume_when(lambda: self._served.is_idle)
            logger.info("%s (Ctrl-C ends it)", self._greeting)
            self._supervisor.ready(self._greeting)

    async def serve(self, sockets: list[socket.socket] | None = None) -> None:
        """Serve until a signal, and leave an event loop that can be closed."""
        await super().serve(sockets)
        if not await end_tasks():
            exit_now(self.exit_status or 1)

    async def on_tick(self, counter: int) -> bool:
        """Return whether it is time to close; uvicorn calls this ten times a second."""
        served = self._served
        if served.has_failed:
            self.exit_status = 1
            self.should_exit = True
        elif self._asked_to_stop:
            self._supervisor.stopping()
            served.drain()
            self.should_exit = served.is_idle
        if self.should_exit and served.was_cut_off:
            self.exit_status = 1
        if not self.should_exit:
            self._supervisor.beat()
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
    served: Served,
    limits: Limits,
    host: str,
    port: int,
    options: dict[str, Any],
    log: LogFormat | None,
) -> uvicorn.Config:
    if options.get("reload"):
        raise UsageError(
            "serve(reload=...): an app cannot reload itself. Write potassium serve app.py "
            "--reload, which keeps the model loaded."
        )
    if options.get("workers"):
        raise UsageError(
            "serve(workers=...): workers are an option of the app, which puts one queue before "
            f'them: Potassium("server", workers={options["workers"]!r}).'
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
            "http": Connections(limits, keep_alive, served.refused),
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
