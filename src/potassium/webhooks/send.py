"""Posts webhooks from inside a handler."""

from typing import Any

from potassium.errors import UsageError
from potassium.http.codec import encode
from potassium.http.request import CURRENT
from potassium.webhooks.model import is_http_url
from potassium.webhooks.outbox import OUTBOX

__all__ = ["send_webhook"]


def send_webhook(url: str, json: Any) -> None:
    """Post ``json`` to ``url`` in the background, signed and retried as results are.

    Returns at once. Call it in handlers of any kind, in the functions that prepare and finish their
    calls, and in ``init``, on the threads that they run on. The URL is the app's own, and may be
    local.

    Raises:
        UsageError: the URL is not an http or https URL, or no app runs this code.
        UnserializableOutput: ``json`` cannot be encoded as JSON.

    """
    if not is_http_url(url):
        raise UsageError(f"send_webhook({url!r}, ...): write an http or https URL.")
    outbox = OUTBOX.get(None)
    if outbox is None:
        raise UsageError(
            "send_webhook() works only in the handlers of a running app, on their own threads."
        )
    request = CURRENT.get(None)
    outbox.post_from_thread(url, encode(json), "" if request is None else request.id)
