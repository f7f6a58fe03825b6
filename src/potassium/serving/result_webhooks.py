"""Posts what a handler returned to its result webhook."""

import logging

from potassium.handlers.handler import Handler
from potassium.http.reply import Reply
from potassium.webhooks.outbox import Outbox

__all__ = ["post_result"]

logger = logging.getLogger("potassium")


def post_result(outbox: Outbox, handler: Handler, sent: object, request_id: str) -> None:
    """Post what was sent to the webhook of ``handler``, which has one; warn if it is not JSON."""
    assert handler.webhook_url is not None  # noqa: S101 - the caller has checked
    if isinstance(sent, Reply) and sent.is_json:
        outbox.post(handler.webhook_url, sent.body, request_id)
        return
    logger.warning(
        "%s did not return JSON: nothing is posted to its webhook",
        handler.path,
        extra={"request_id": request_id, "handler": handler.path},
    )
