"""Webhooks: results are stored, signed, posted, and retried until they have arrived.

Nothing is imported here: the job stores keep deliveries too, and do not need httpx.
"""

__all__: list[str] = []
