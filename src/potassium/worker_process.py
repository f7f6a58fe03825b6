"""What runs in a worker process: ``python -m potassium.worker_process``, as the front starts it."""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
from pathlib import Path
from typing import Any

from potassium.workers.placement import CPU
from potassium.workers.process import HELD_BACK

__all__: list[str] = []

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> int:
    """Serve the front until it has no more to run; return the exit status."""
    told: dict[str, Any] = json.loads(sys.argv[1])
    for number in HELD_BACK:
        signal.signal(number, _stay)  # not SIG_IGN, which the programs that a handler runs inherit
    signal.pthread_sigmask(signal.SIG_UNBLOCK, HELD_BACK)
    _die_with(told["parent"])
    sys.path[:] = told["path"]
    sys.setswitchinterval(told["switch_interval"])
    from potassium.project.target import Target  # noqa: PLC0415 - after the path is set
    from potassium.workers.failures import encode_failure  # noqa: PLC0415
    from potassium.workers.frames import FromWorker, frame  # noqa: PLC0415
    from potassium.workers.link import WorkerLink  # noqa: PLC0415

    link = WorkerLink(socket.socket(fileno=told["socket"]))
    try:
        app = Target(Path(told["folder"]), told["module"], told["name"]).load()
    except BaseException as error:  # noqa: BLE001 - told to the front, which shows it
        link.send(frame(FromWorker.NOT_LOADED, encode_failure(error)))
        link.flush()
        return 1
    from potassium.serving.worker_log import log_like  # noqa: PLC0415

    with log_like(told["log"], told["worker"]):
        return asyncio.run(_serve(app, link, told))


async def _serve(app: Any, link: Any, told: dict[str, Any]) -> int:
    from potassium.config import Jobs  # noqa: PLC0415
    from potassium.serving.calls_in_worker import CallsInWorker  # noqa: PLC0415
    from potassium.serving.import_times import IMPORTS  # noqa: PLC0415
    from potassium.serving.loading import Loading  # noqa: PLC0415
    from potassium.serving.own_loggers import enable_own_loggers  # noqa: PLC0415
    from potassium.webhooks.outbox import OUTBOX  # noqa: PLC0415
    from potassium.workers.asking import Asking  # noqa: PLC0415
    from potassium.workers.inside import Inside  # noqa: PLC0415
    from potassium.workers.memory_teller import MemoryTeller  # noqa: PLC0415
    from potassium.workers.orders import decode_order  # noqa: PLC0415
    from potassium.workers.outbox import RemoteOutbox  # noqa: PLC0415
    from potassium.workers.page import Page  # noqa: PLC0415

    parts = app._parts  # noqa: SLF001
    plan = parts.plan
    parts.init.device = told["device"]

    def run(order: bytes) -> Any:
        function, arguments = decode_order(order)
        return function(app.get_cache(), **arguments)

    in_pool = [path for path, handler in plan.handlers.items() if handler.operation.uses_pool]
    OUTBOX.set(RemoteOutbox(link))  # the threads that start from now on have it
    asking = Asking(link, asyncio.get_running_loop())
    most = (plan.jobs or Jobs()).max_output
    page = Page(told["page"])
    inside = Inside(
        plan.handlers,
        plan.limits,
        link,
        page,
        run=run,
        answered=asking.answered,
        max_output=most,
    )
    parts.calls = CallsInWorker(
        plan, parts.runtime, asking, lambda job: inside.worker.current is job, in_pool
    )
    with Loading(plan.loading_at, worker=told["worker"]):
        is_loaded = await inside.load(plan.init)
    if not is_loaded:
        return 1
    enable_own_loggers()  # init may have set up logging
    IMPORTS.remove()
    if told["device"] != CPU:  # there, it sees no accelerator
        MemoryTeller(link).start()
    await inside.run({"handlers": list(plan.handlers), "libraries": IMPORTS.seconds})
    return 0


def _stay(_: int, __: object) -> None:
    """Go on: the front decides when a worker ends."""


def _die_with(parent: int) -> None:
    """Let the kernel end this process when its parent ends, even in the middle of C code."""
    with contextlib.suppress(OSError, AttributeError):  # not Linux
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(0)  # it has ended already


if __name__ == "__main__":
    sys.exit(main())
