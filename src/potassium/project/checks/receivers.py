"""Where results are posted to."""

import ipaddress
from collections.abc import Iterable, Iterator
from contextlib import suppress
from urllib.parse import urlsplit

from potassium.handlers.handler import Handler
from potassium.project.finding import Finding, note
from potassium.serving.plan import Plan

__all__ = ["findings"]


def findings(plan: Plan) -> Iterable[Finding]:
    """Yield what is wrong with the webhooks of an app's results."""
    posting = [one for one in plan.handlers.values() if one.webhook_url]
    for handler in posting:
        yield from _url(handler)
    if posting and not plan.webhooks.secrets:
        yield note(
            "webhooks",
            "Results are posted without a signature, so receivers cannot tell who sent them.",
            "Potassium(webhooks=Webhooks(secret=...)); its error says how to make one.",
        )
    if posting and plan.jobs is None:
        yield note(
            "webhooks",
            "Results that are still to be posted are kept in memory, and lost with the process.",
            "Potassium(jobs=Jobs()) keeps them in its file.",
        )


def _url(handler: Handler) -> Iterator[Finding]:
    parts = urlsplit(handler.webhook_url or "")
    host = parts.hostname or ""
    if _is_here(host):
        yield note(
            handler.path,
            f"Its results go to {host}, which is the machine, or the container, of the server.",
        )
    elif parts.scheme == "http":
        yield note(
            handler.path,
            f"Its results go to {host} unencrypted.",
            "Name an https URL, if there is one.",
        )


def _is_here(host: str) -> bool:
    with suppress(ValueError):
        return ipaddress.ip_address(host).is_loopback
    return host == "localhost" or host.endswith(".localhost")
