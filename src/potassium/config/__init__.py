"""Groups of options, frozen and validated on construction, and environment variables."""

from potassium.config.batch import Batch
from potassium.config.checks import check_count, check_options, check_seconds
from potassium.config.environment import (
    LOG_FORMATS,
    LogFormat,
    default_host,
    default_log,
    default_port,
    switch,
)
from potassium.config.jobs import Jobs
from potassium.config.limits import Limits
from potassium.config.metrics import Metrics
from potassium.config.traces import Traces
from potassium.config.webhooks import Webhooks

__all__ = [
    "LOG_FORMATS",
    "Batch",
    "Jobs",
    "Limits",
    "LogFormat",
    "Metrics",
    "Traces",
    "Webhooks",
    "check_count",
    "check_options",
    "check_seconds",
    "default_host",
    "default_log",
    "default_port",
    "switch",
]
