"""For tests: calls of an app in the test's own process, and requests for its functions.

``potassium.testing.job_store`` has the tests that every store of background jobs must pass.
"""

from potassium.testing.in_process import client, request

__all__ = ["client", "request"]
