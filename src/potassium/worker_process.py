"""What runs in a worker process: ``python -m potassium.worker_process``, as the front starts it."""

import asyncio
import contextlib
import ctypes
import json
import os
import signal
import socket
import sys
import time
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
    from potassium.serving.collector import COLLECTOR  # noqa: PLC0415 - after the path is set

    COLLECTOR.pause()
    from potassium.project.target import Target  # noqa: PLC0415
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

    COLLECTOR.spare_modules()
    with log_like(told["log"], told["worker"]):
        return asyncio.run(_serve(app, link, told))


async def _serve(app: Any, link: Any, told: dict[str, Any]) -> int:
    from potassium.config import Jobs  # noqa: PLC0415
    from potassium.serving.calls_in_worker import CallsInWorker  # noqa: PLC0415
    from potassium.serving.collector import COLLECTOR  # noqa: PLC0415
    from potassium.serving.import_times import IMPORTS  # noqa: PLC0415
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
    phases = await _load(plan, inside, told["worker"])
    if phases is None:
        return 1
    enable_own_loggers()  # init may have set up logging
    IMPORTS.remove()
    if told["device"] != CPU:  # there, it sees no accelerator
        MemoryTeller(link).start()
    COLLECTOR.resume_when(lambda: inside.worker.current is None)
    about = {"handlers": list(plan.handlers), "libraries": IMPORTS.seconds, "phases": phases}
    await inside.run(about)
    return 0


async def _load(plan: Any, inside: Any, worker: str) -> dict[str, float] | None:
    """Load the model, and run the handlers that have ``warmup=``.

    Return how long each phase took, or None if one has failed, of which the front knows.
    """
    from potassium.serving.import_times import IMPORTS  # noqa: PLC0415
    from potassium.serving.loading import Loading  # noqa: PLC0415
    from potassium.serving.warm_ups import WarmUps  # noqa: PLC0415

    since = IMPORTS.since_process_began()
    phases = {} if since is None else {"import": since[1]}
    own = [one for one in plan.handlers.values() if one.operation.concurrency is None]
    warm_ups = WarmUps(own)
    with Loading(plan.loading_at, worker=worker, warming=lambda: warm_ups.current):
        began = time.monotonic()
        if not await inside.load(plan.init):
            return None
        phases["init"] = time.monotonic() - began
        if warm_ups:
            if not inside.passed(await warm_ups.run(inside.rehearse)):
                return None
            phases["warmup"] = time.monotonic() - began - phases["init"]
    return phases


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
