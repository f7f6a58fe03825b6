"""Results that are posted onward."""

from potassium.webhooks.sender import WebhookSender

__all__ = ["WebhookSender"]
