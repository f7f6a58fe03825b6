"""What tells one client from another, where each gets its share of the queue."""

import ipaddress
from collections.abc import Hashable

from starlette.types import Scope

__all__ = ["KEY_OWNER", "client_of"]

KEY_OWNER = "potassium.key_owner"  # in the ASGI scope: stands for the API key of the request


def client_of(scope: Scope) -> Hashable:
    """Return who sent a request: the owner of its API key or, without one, its address.

    The address is that of the connection's other end, or what the ASGI server takes from
    ``X-Forwarded-For`` if it trusts that other end as a proxy. For IPv6 it is the network of 64
    bits (RFC 4291, section 2.5.4), all of which one client usually has.
    """
    owner: Hashable | None = scope.get(KEY_OWNER)
    if owner is not None:
        return owner
    client = scope.get("client")
    host: str = client[0] if client else ""
    return _network(host) if ":" in host else host


def _network(host: str) -> Hashable:
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return host
    return str(address.ipv4_mapped) if address.ipv4_mapped else int(address) >> 64
