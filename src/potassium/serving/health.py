"""Liveness, readiness, warm-up and status, for operators and load balancers."""

import time
from collections import Counter
from datetime import UTC, datetime
from typing import Any

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Route

from potassium.engine import Activity, Counts, Engine, State
from potassium.serving.runtime import Runtime
from potassium.serving.stored import stored_by
from potassium.serving.worker_shown import worker_shown

__all__ = ["Health"]


class Health:
    """The server's own pages. None of them waits for the GPU thread, except warm-up."""

    def __init__(self, runtime: Runtime) -> None:
        self._runtime = runtime

    def routes(self) -> list[Route]:
        """Return a route for each page."""
        return [
            Route("/healthz", self.live, methods=["GET"]),
            Route("/readyz", self.ready, methods=["GET"]),
            Route("/_k/status", self.status, methods=["GET"]),
            Route("/__status__", self.status, methods=["GET"], name="legacy_status"),
            Route("/_k/warmup", self.warmup, methods=["GET", "POST"]),
        ]

    async def live(self, _: Request) -> Response:
        """Answer 200 as long as the process can recover by itself, otherwise 503."""
        state = self._runtime.lifecycle.state
        body = {"state": state.value, **self._heartbeat()}
        return JSONResponse(body, 503 if state is State.FAILED else 200)

    async def ping(self, _: Request) -> Response:
        """Answer 200 from the end of the start until the server stops or fails, otherwise 503.

        Platforms that ask here replace a server that answers anything else. So neither a full queue
        nor a lost store counts. Begins to start the app, as ``ready`` does.
        """
        self._runtime.begin()
        state = self._runtime.lifecycle.state
        is_up = state is State.READY and self._runtime.services is not None
        return JSONResponse({"state": state.value, **self._heartbeat()}, 200 if is_up else 503)

    async def ready(self, _: Request) -> Response:
        """Answer 200 if a call would be admitted now, otherwise 503; see ``Runtime.unready``.

        Begins to start the app if nothing has: a client that waits for readiness before it sends
        the first call would otherwise wait forever.
        """
        self._runtime.begin()
        reason = self._runtime.unready()
        workers = Counter(one.state for one in self._runtime.workers())
        body = {
            "ready": reason is None,
            **(reason or {}),
            **({"workers": workers} if workers else {}),
        }
        return JSONResponse(body, 200 if reason is None else 503)

    async def warmup(self, _: Request) -> Response:
        """Answer once ``init`` is done; starts the app if nothing has.

        Raises:
            Unavailable: ``init`` has failed, or the app is stopping.

        """
        await self._runtime.started()
        return JSONResponse({"warm": True})

    async def status(self, _: Request) -> Response:
        """Report what the server is doing; in milliseconds, unless a name says seconds."""
        engine = self._runtime.services and self._runtime.services.engine
        now = time.monotonic()
        job, since = engine.runner.current if engine else (None, now)
        spent = round((now - since) * 1000)
        operations = self._runtime.operations()
        streams = sum(one.open_streams for one in operations)
        stalled = sum(one.stalled_streams for one in operations)
        counts = engine.calls.counts if engine else Counts()
        workers = self._runtime.workers()
        stored = await stored_by(self._runtime.services)
        return JSONResponse(
            {
                "name": self._runtime.name,
                "state": self._runtime.lifecycle.state.value,
                **self._heartbeat(),
                "oldest_step": _oldest_step(engine) if engine else None,
                "queue": {
                    "length": engine.capacity.waiting if engine else 0,
                    "limit": engine.capacity.limit if engine else None,
                },
                "lanes": _lanes(engine) if engine else {},
                "started_at": _rfc3339(engine.started_at if engine else None),
                "startup": self._runtime.startup.document(operations),
                "open_streams": streams,
                "stalled_streams": stalled,
                "running": {"handler": job.operation.name, "for": spent} if job else None,
                "counts": {name: getattr(counts, name) for name in Counts.__slots__},
                "service_time": self._service_times(),
                "estimated_wait": self._estimated_waits(engine) if engine else {},
                "open_calls": len(engine.calls) if engine else 0,
                "workers": [worker_shown(one) for one in workers],
                **stored,
                # As in the original server: the GPU is "available" while nothing runs.
                "gpu_available": self._runtime.lifecycle.state is State.READY
                and (
                    any(one.activity is Activity.IDLE for one in workers)
                    if workers
                    else not (job or streams > stalled)
                ),
                "sequence_number": counts.succeeded + counts.failed,
                "idle_time": 0 if job else spent,
                "inference_time": spent if job else 0,
            }
        )

    def _heartbeat(self) -> dict[str, Any]:
        """Return what the threads that run handlers are doing."""
        beat = self._runtime.heartbeat()
        return {
            "activity": beat.activity.value,
            "last_progress_seconds": round(beat.last_progress_seconds, 3),
        }

    def _service_times(self) -> dict[str, Any]:
        """Return the mean service time, in milliseconds, of each handler that has run."""
        return {
            operation.name: round(operation.service_time.mean * 1000, 3)
            for operation in self._runtime.operations()
            if operation.service_time.mean is not None
        }

    def _estimated_waits(self, engine: Engine) -> dict[str, Any]:
        """Return how long a call of each handler is expected to wait now, in milliseconds."""
        return {
            operation.name: round(engine.estimated_wait(operation) * 1000, 3)
            for operation in self._runtime.operations()
            if operation.service_time.mean is not None
        }


def _oldest_step(engine: Engine) -> str | None:
    """Return the handler whose step has made no progress for the longest; None while none runs."""
    job, _ = min(engine.pulse.under_way(), key=lambda step: step[1], default=(None, 0.0))
    return None if job is None else job.operation.name


def _lanes(engine: Engine) -> dict[str, Any]:
    """Return the length and limit of each async handler's queue."""
    return {
        operation.name: {
            "length": lane.jobs.capacity.waiting,
            "limit": lane.jobs.capacity.limit,
        }
        for operation, lane in engine.lanes.items()
    }


def _rfc3339(seconds: float | None) -> str | None:
    if seconds is None:
        return None
    return datetime.fromtimestamp(seconds, UTC).isoformat(timespec="milliseconds")
