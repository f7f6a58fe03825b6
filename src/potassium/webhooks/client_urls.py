"""Checks the webhook URLs that clients choose."""

import asyncio
import re
from ipaddress import IPv4Address

import httpx

from potassium.errors import WebhookUrlRefused
from potassium.webhooks.addresses import PermittedAddresses
from potassium.webhooks.resolver import NoPlace, Resolve

__all__ = ["checked_url"]

LONGEST = 2048  # characters
LOOKUP_TIME = 3.0  # seconds

WITH_HOST = re.compile(r"https?://[^/?#@]+([/?#].*)?", re.IGNORECASE)
# A name in ASCII, or an IPv6 address: nothing that another parser takes for the end of the host.
HOST = re.compile(r"[a-z0-9._-]+|[0-9a-f:.]+")
# A host that ends in a number is not a name, see
# https://url.spec.whatwg.org/#ends-in-a-number-checker, and resolvers read 2130706433, 0x7f.1 and
# 0177.0.0.1 as addresses.
ENDS_IN_NUMBER = re.compile(r"(.*\.)?([0-9]+|0x[0-9a-f]*)\.?")


async def checked_url(url: str, permitted: PermittedAddresses, resolve: Resolve) -> str:
    """Return ``url`` as it will be posted to, with its host in ASCII so that nobody reparses it.

    The name is looked up, for ``LOOKUP_TIME`` seconds at most. If there is no place for that,
    because others use slow names, the URL is returned all the same: the addresses that it leads to
    later are checked at each delivery.

    Raises:
        WebhookUrlRefused: the URL is invalid, or may lead to an address that is not ``permitted``.
            The detail repeats nothing of the URL, which may hold credentials.

    """
    parsed = _parse(url)
    host = parsed.raw_host.decode("ascii").lower()
    if not HOST.fullmatch(host):
        raise WebhookUrlRefused("The webhook URL's host is neither a name nor an address.")
    if ":" not in host and ENDS_IN_NUMBER.fullmatch(host) and not _is_dotted_quad(host):
        raise WebhookUrlRefused(
            "The webhook URL's host is a number; write an IPv4 address as four decimal numbers."
        )
    try:
        async with asyncio.timeout(LOOKUP_TIME):
            addresses = await resolve(host)
    except TimeoutError:
        raise WebhookUrlRefused(
            "The webhook URL's host could not be looked up in time; try again."
        ) from None
    except NoPlace:
        return str(parsed)
    except OSError:
        raise WebhookUrlRefused("The webhook URL's host does not resolve.") from None
    if not all(permitted.permits(address) for address in addresses):
        raise WebhookUrlRefused("The webhook URL does not lead to a public address.")
    return str(parsed)


def _parse(url: str) -> httpx.URL:
    """Return ``url`` as parsed by the HTTP client that posts to it."""
    if len(url) > LONGEST:
        raise WebhookUrlRefused(f"The webhook URL is longer than {LONGEST} characters.")
    if " " in url or not url.isprintable():
        raise WebhookUrlRefused("The webhook URL contains whitespace or control characters.")
    if not WITH_HOST.fullmatch(url):
        raise WebhookUrlRefused(
            "The webhook URL must start with http:// or https:// and a host, without user "
            "information."
        )
    try:
        parsed = httpx.URL(url)
    except (httpx.InvalidURL, ValueError):
        raise WebhookUrlRefused("The webhook URL is not valid.") from None
    if parsed.port is not None and not 0 < parsed.port < 2**16:
        raise WebhookUrlRefused("The webhook URL's port is invalid.")
    return parsed


def _is_dotted_quad(host: str) -> bool:
    try:
        IPv4Address(host)
    except ValueError:
        return False
    return True
