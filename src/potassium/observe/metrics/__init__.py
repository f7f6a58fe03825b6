"""Figures for Prometheus, at ``GET /metrics``."""

try:
    import prometheus_client  # noqa: F401 - before the modules below need it
except ModuleNotFoundError as error:
    raise ModuleNotFoundError(
        'Metrics need prometheus-client: pip install "potassium[metrics]"'
    ) from error
from potassium.observe.metrics.figures import Figures
from potassium.observe.metrics.page import Page
from potassium.observe.metrics.source import Source

__all__ = ["Figures", "Page", "Source"]
