"""Figures for Prometheus, at ``GET /metrics``."""

try:
    from prometheus_client import CollectorRegistry
    from prometheus_client.exposition import choose_encoder
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'Metrics need prometheus-client: pip install "potassium[metrics]"'
    ) from error
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route
from starlette.types import Scope

from potassium.config import Metrics
from potassium.http.path import path_below_mount
from potassium.observe.metrics.calls import CallMetrics
from potassium.observe.metrics.families import Families
from potassium.observe.metrics.requests import RequestMetrics

__all__ = ["AppMetrics"]


class AppMetrics:
    """The metrics of one app.

    Attributes:
        options: where they are shown, and to whom.
        requests: what is counted of requests.
        calls: what is counted of jobs.

    """

    def __init__(self, options: Metrics) -> None:
        self.options = options
        self.requests = RequestMetrics()
        self.calls = CallMetrics()
        self._registry = CollectorRegistry()
        self._registry.register(Families(self.requests, self.calls))

    def route(self) -> Route:
        """Return the route to scrape."""
        return Route(self.options.path, self._show, methods=["GET"], name="metrics")

    def is_public(self, scope: Scope) -> bool:
        """Return whether a request is a scrape that needs no API key."""
        return (
            not self.options.needs_key
            and scope["method"] in ("GET", "HEAD")
            and path_below_mount(scope) == self.options.path
        )

    async def _show(self, request: Request) -> Response:
        encode, content_type = choose_encoder(request.headers.get("accept", ""))
        return Response(encode(self._registry), headers={"content-type": content_type})
