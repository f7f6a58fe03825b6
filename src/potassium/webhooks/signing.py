"""Signatures that let a receiver verify who posts to it.

As specified by Standard Webhooks 1.0: https://github.com/standard-webhooks/standard-webhooks
"""

import base64
import hashlib
import hmac
from collections.abc import Iterable

__all__ = ["signing_headers"]


def signing_headers(
    delivery_id: str, body: bytes, *, at: float, keys: Iterable[bytes]
) -> dict[str, str]:
    """Return the headers that identify and sign ``body``, posted ``at`` seconds since the epoch.

    There is one signature for each key, so that a receiver can change from one key to the next at
    any time. Without a key there is no signature.
    """
    timestamp = str(int(at))
    signed = b".".join((delivery_id.encode(), timestamp.encode(), body))
    headers = {"webhook-id": delivery_id, "webhook-timestamp": timestamp}
    signatures = [f"v1,{_signature(key, signed)}" for key in keys]
    if signatures:
        headers["webhook-signature"] = " ".join(signatures)
    return headers


def _signature(key: bytes, signed: bytes) -> str:
    return base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode("ascii")
