"""``GET /metrics``: gathers the figures of an app, and encodes them."""

import gzip
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import cache
from importlib.metadata import PackageNotFoundError, version

import anyio
from prometheus_client import REGISTRY
from prometheus_client.exposition import choose_encoder
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector
from starlette.requests import Request
from starlette.responses import Response

from potassium.engine import WorkerReport
from potassium.http.accept import coding_is_accepted
from potassium.observe.metrics.accelerators import accelerator_families
from potassium.observe.metrics.figures import Figures
from potassium.observe.metrics.handler_families import handler_families
from potassium.observe.metrics.server_families import ServerFamilies
from potassium.observe.metrics.shown import Shown
from potassium.observe.metrics.source import Source
from potassium.observe.metrics.stored import Stored

__all__ = ["Page"]


class Page:
    """Shows the figures of an app, and all that is in Prometheus's own registry.

    That has what is known of the process, and the metrics that the app's author defines.

    Args:
        source: the app; what is not counted is read from it.
        figures: what is counted.

    """

    def __init__(self, source: Source, figures: Figures) -> None:
        self._source = source
        self._figures = figures
        self._server = ServerFamilies(source)
        self._limiter = anyio.CapacityLimiter(1)

    async def show(self, request: Request) -> Response:
        """Answer one scrape, as text or, where that is asked for, as OpenMetrics."""
        shown = Shown(self._source.name)
        running = self._source.services
        stored = None if running is None else await Stored.of(running)
        workers = self._source.workers()
        families = [*self._families(shown, stored), *_of_workers(workers, shown)]
        encode, content_type = _encoder(request.headers.get("accept", ""))
        headers = {"content-type": content_type, "vary": "Accept, Accept-Encoding"}
        compresses = coding_is_accepted(request.headers.raw, "gzip")
        if compresses:
            headers["content-encoding"] = "gzip"

        def encoded() -> bytes:
            text = encode(_Gathered(families, workers, self._figures, shown))
            return gzip.compress(text, compresslevel=1) if compresses else text

        # Milliseconds of work, which would hold up the event loop. It counts on meanwhile: what is
        # counted is copied before it is looked through.
        content = await anyio.to_thread.run_sync(encoded, limiter=self._limiter)
        return Response(content, headers=headers)

    def _families(self, shown: Shown, stored: Stored | None) -> Iterator[Metric]:
        yield shown.gauge(
            "potassium_build_info",
            "1, with the version of Potassium.",
            {(_version(),): 1},
            "version",
        )
        yield from self._server.families(shown)
        if stored is not None:
            yield from stored.families(shown)
        yield from self._figures.loop_lag.families(shown)


class _Gathered(Collector):
    """What one scrape shows: ``families`` and, as that takes longer, all that is counted."""

    def __init__(
        self,
        families: Sequence[Metric],
        workers: Sequence[WorkerReport],
        figures: Figures,
        shown: Shown,
    ) -> None:
        self._families = families
        self._workers = workers
        self._figures = figures
        self._shown = shown

    def collect(self) -> Iterable[Metric]:
        yield from self._families
        yield from self._figures.requests.families(self._shown)
        yield from handler_families(self._figures.calls.handlers, self._shown)
        yield from accelerator_families(self._shown, self._workers)
        yield from REGISTRY.collect()


def _of_workers(workers: Sequence[WorkerReport], shown: Shown) -> Iterator[Metric]:
    if not workers:
        return iter(())
    from potassium.observe.metrics.worker_families import (  # noqa: PLC0415 - only where there are
        worker_families,
    )

    return worker_families(workers, shown)


def _encoder(accept: str) -> tuple[Callable[[Collector], bytes], str]:
    """Return what encodes the figures as ``Accept`` asks, and their content type."""
    try:
        return choose_encoder(accept)
    except (TypeError, ValueError):  # it compares numbers with what is no version
        return choose_encoder("")


@cache
def _version() -> str:
    """Return the version that is installed, which takes a look at the disk."""
    try:
        return version("potassium")
    except PackageNotFoundError:  # run from a folder that was copied
        return "unknown"
