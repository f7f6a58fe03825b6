"""Groups of options, frozen and validated on construction, and environment variables."""

from potassium.config.batch import Batch
from potassium.config.checks import check_count, check_options, check_seconds
from potassium.config.environment import (
    DEFAULT_PORT,
    LOG_FORMATS,
    PORTS,
    VARIABLES,
    LogFormat,
    default_host,
    default_log,
    default_port,
    default_workers,
    fastboot,
    switch,
    workers_from,
)
from potassium.config.jobs import Jobs
from potassium.config.limits import Limits
from potassium.config.metrics import Metrics
from potassium.config.rows import Rows
from potassium.config.traces import Traces
from potassium.config.webhooks import Webhooks
from potassium.config.workers import Workers

__all__ = [
    "DEFAULT_PORT",
    "LOG_FORMATS",
    "PORTS",
    "VARIABLES",
    "Batch",
    "Jobs",
    "Limits",
    "LogFormat",
    "Metrics",
    "Rows",
    "Traces",
    "Webhooks",
    "Workers",
    "check_count",
    "check_options",
    "check_seconds",
    "default_host",
    "default_log",
    "default_port",
    "default_workers",
    "fastboot",
    "switch",
    "workers_from",
]
