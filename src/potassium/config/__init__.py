"""Groups of options, frozen and validated on construction, and environment variables."""

from potassium.config.checks import check_count, check_options, check_seconds
from potassium.config.options import (
    Batch,
    Jobs,
    Limits,
    default_api_keys,
    default_host,
    default_port,
)
from potassium.config.webhooks import Webhooks

__all__ = [
    "Batch",
    "Jobs",
    "Limits",
    "Webhooks",
    "check_count",
    "check_options",
    "check_seconds",
    "default_api_keys",
    "default_host",
    "default_port",
]
