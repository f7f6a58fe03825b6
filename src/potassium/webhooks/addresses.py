"""The IP addresses that requests to clients' webhook URLs may go to."""

from collections.abc import Iterable
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network

__all__ = ["PermittedAddresses"]

# Written out, because the result of ``ipaddress.is_global`` depends on the version of Python.
# https://www.iana.org/assignments/iana-ipv4-special-registry
NOT_PUBLIC_4 = [
    IPv4Network(network)
    for network in (
        "0.0.0.0/8",  # this network; 0.0.0.0 is this host
        "10.0.0.0/8",  # private
        "100.64.0.0/10",  # shared behind carriers' NAT
        "127.0.0.0/8",  # loopback
        "168.63.129.16/32",  # in Azure, the host that each machine runs on
        "169.254.0.0/16",  # link-local, and where clouds give machines their credentials
        "172.16.0.0/12",  # private
        "192.0.0.0/24",  # protocol assignments
        "192.0.2.0/24",  # documentation
        "192.31.196.0/24",  # AS112
        "192.52.193.0/24",  # AMT relays
        "192.88.99.0/24",  # 6to4 relays
        "192.168.0.0/16",  # private
        "192.175.48.0/24",  # AS112
        "198.18.0.0/15",  # network benchmarks
        "198.51.100.0/24",  # documentation
        "203.0.113.0/24",  # documentation
        "224.0.0.0/4",  # multicast
        "240.0.0.0/4",  # reserved, and broadcast
    )
]
# Nothing outside it is public: not loopback, link-local, unique-local, site-local, multicast or
# NAT64 addresses, nor any kind of address with an IPv4 address in its last half.
# https://www.iana.org/assignments/ipv6-address-space
GLOBAL_UNICAST = IPv6Network("2000::/3")
# https://www.iana.org/assignments/iana-ipv6-special-registry
NOT_PUBLIC_6 = [
    IPv6Network(network)
    for network in (
        "2001::/23",  # protocol assignments, among them Teredo
        "2001:db8::/32",  # documentation
        "2002::/16",  # 6to4
        "2620:4f:8000::/48",  # AS112
        "3fff::/20",  # documentation
    )
]
TRANSLATED = IPv6Network("::ffff:0:0:0/96")  # RFC 2765
NAT64 = IPv6Network("64:ff9b::/96")  # RFC 6052


class PermittedAddresses:
    """The public addresses, and those of some other networks.

    Args:
        allow: the other networks that are permitted, such as ``10.1.0.0/16``.

    """

    def __init__(self, allow: Iterable[str] = ()) -> None:
        self._allowed = [ip_network(network) for network in allow]

    def permits(self, address: str) -> bool:
        """Return whether a request may go to ``address``; False if it is not a plain address."""
        if "%" in address:  # an IPv6 zone: the address means nothing beyond one link
            return False
        try:
            parsed = ip_address(address)
        except ValueError:
            return False
        return _is_public(parsed) or any(
            same in network for same in _same_as(parsed) for network in self._allowed
        )


def _is_public(address: IPv4Address | IPv6Address) -> bool:
    if isinstance(address, IPv4Address):
        return not any(address in network for network in NOT_PUBLIC_4)
    return address in GLOBAL_UNICAST and not any(address in network for network in NOT_PUBLIC_6)


def _same_as(address: IPv4Address | IPv6Address) -> list[IPv4Address | IPv6Address]:
    """Return an address, and any IPv4 address in it that a packet to it would go to."""
    if isinstance(address, IPv6Address):
        if address.ipv4_mapped is not None:
            return [address, address.ipv4_mapped]
        if address in TRANSLATED or address in NAT64:
            return [address, IPv4Address(address.packed[-4:])]
    return [address]
