"""Values that handlers keep between calls: in a file, in Redis or in S3.

Public, and imported by nothing else in the package. No library of a backend is imported before a
store of that backend is used.
"""

from potassium.errors import StoreUnavailable
from potassium.store.config import LocalConfig, RedisConfig, S3Config
from potassium.store.store import Store

__all__ = ["LocalConfig", "RedisConfig", "S3Config", "Store", "StoreUnavailable"]
