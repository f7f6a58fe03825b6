"""What spans say, by OpenTelemetry's conventions where it has any."""

from urllib.parse import urlsplit

from opentelemetry.util.types import AttributeValue
from starlette.types import Scope

from potassium.webhooks.model import Delivery

__all__ = [
    "BATCH_SIZE",
    "CODE",
    "HANDLER",
    "LONGEST",
    "MESSAGE",
    "messaging",
    "of_post",
    "of_request",
]

HANDLER = "potassium.handler"
CODE = "potassium.code"
BATCH_SIZE = "potassium.batch.size"
MESSAGE = "messaging.message.id"  # a background job

LONGEST = 1024  # characters of what a client sends

METHODS = frozenset(
    {"CONNECT", "DELETE", "GET", "HEAD", "OPTIONS", "PATCH", "POST", "PUT", "TRACE", "QUERY"}
)


def messaging(name: str, kind: str, destination: str) -> dict[str, AttributeValue]:
    """Return what is said of a background job.

    See https://opentelemetry.io/docs/specs/semconv/messaging/messaging-spans/.
    """
    return {
        "messaging.system": "potassium",
        "messaging.operation.name": name,
        "messaging.operation.type": kind,
        "messaging.destination.name": destination,
    }


def of_request(scope: Scope) -> dict[str, AttributeValue]:
    """Return what is known of a request when it arrives.

    See https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-server-span. The query is
    left out: it may be the input of a model. Values are cut at ``LONGEST``.
    """
    method = scope["method"]
    found: dict[str, AttributeValue] = {
        "http.request.method": method if method in METHODS else "_OTHER",
        "url.path": scope["path"][:LONGEST],
        "url.scheme": scope.get("scheme", "http"),
        "network.protocol.version": scope.get("http_version", "1.1"),
    }
    if method not in METHODS:
        found["http.request.method_original"] = method[:LONGEST]
    server = scope.get("server")
    address, port = (server[0], server[1]) if server else ("", None)
    for name, value in scope["headers"]:
        if name == b"host":
            address, port = _host(value[:LONGEST].decode("latin-1"))
        elif name == b"user-agent":
            found["user_agent.original"] = value[:LONGEST].decode("latin-1")
    if address:
        found["server.address"] = address
        if port is not None:
            found["server.port"] = port
    client = scope.get("client")
    if client and client[0]:  # it has no address if it came over a Unix socket
        found["client.address"] = client[0][:LONGEST]  # X-Forwarded-For may say anything
    return found


def of_post(delivery: Delivery) -> dict[str, AttributeValue]:
    """Return what is known of an attempt to deliver a webhook when it begins.

    See https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span. The URL is
    shown without what may be credentials, as in the log.
    """
    parts = urlsplit(delivery.url)
    found: dict[str, AttributeValue] = {
        "http.request.method": "POST",
        "url.full": delivery.shown_url[:LONGEST],
        "server.address": (parts.hostname or "")[:LONGEST],
        "server.port": parts.port or (443 if parts.scheme == "https" else 80),
        "potassium.request.id": delivery.request_id,
        "potassium.webhook.id": delivery.id,
    }
    if delivery.attempts:
        found["http.request.resend_count"] = delivery.attempts
    return found


def _host(value: str) -> tuple[str, int | None]:
    """Return name and port of a ``Host`` header."""
    name, colon, port = value.rpartition(":")
    if colon and port.isdecimal() and len(port) <= len("65535"):
        return name.strip("[]"), int(port)
    return value.strip("[]"), None
