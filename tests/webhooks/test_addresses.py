"""Which addresses are public."""

import ipaddress
import random

import pytest

from potassium.webhooks.addresses import PermittedAddresses

PUBLIC = [
    "1.1.1.1", "8.8.8.8", "9.255.255.255", "11.0.0.0", "100.63.255.255", "100.128.0.0",
    "126.255.255.255", "128.0.0.0", "172.15.255.255", "172.32.0.0", "192.0.1.0", "192.167.0.1",
    "198.17.255.255", "198.20.0.0", "223.255.255.255",
    "2606:4700::1111", "2a00:1450::1", "2003::1", "2001:200::1",
]  # fmt: skip
NOT_PUBLIC = {
    "unspecified": ["0.0.0.0", "0.1.2.3", "::"],
    "loopback": ["127.0.0.1", "127.255.255.255", "::1"],
    "private": ["10.0.0.1", "172.16.0.1", "172.31.255.255", "192.168.1.1"],
    "carriers' NAT": ["100.64.0.1", "100.100.100.200", "100.127.255.255"],
    "link-local": ["169.254.169.254", "fe80::1", "febf::1"],
    "of the cloud": ["168.63.129.16", "192.0.0.192", "fd00:ec2::254"],
    "unique-local": ["fc00::1", "fdff::1"],
    "site-local": ["fec0::1", "feff::1"],
    "multicast": ["224.0.0.1", "239.255.255.255", "ff02::1", "ff0e::1"],
    "reserved": ["240.0.0.1", "255.255.255.255", "4000::1", "100::1", "5f00::1"],
    "documentation": ["192.0.2.1", "198.51.100.1", "203.0.113.1", "2001:db8::1", "3fff::1"],
    "benchmarks": ["198.18.0.1", "198.19.255.255", "2001:2::1"],
    "NAT64": ["64:ff9b::7f00:1", "64:ff9b::808:808", "64:ff9b:1::808:808"],
    "6to4": ["2002:7f00:1::", "2002:808:808::1", "192.88.99.1"],
    "Teredo": ["2001::1", "2001:0:7f00:1::"],
    "IPv4-mapped": ["::ffff:127.0.0.1", "::ffff:8.8.8.8"],
    "IPv4-compatible": ["::127.0.0.1", "::8.8.8.8"],
    "IPv4-translated": ["::ffff:0:127.0.0.1", "::ffff:0:8.8.8.8"],
    "no address": ["", "localhost", "127.1", "2130706433", "0177.0.0.1", "[::1]", "1.1.1.1/32"],
    "with a zone": ["fe80::1%eth0", "2606:4700::1111%1"],
}


@pytest.mark.parametrize("address", PUBLIC)
def test_public_addresses_are_permitted(address: str) -> None:
    """An address that anybody can reach may be posted to."""
    assert PermittedAddresses().permits(address)


@pytest.mark.parametrize(
    "address", [address for addresses in NOT_PUBLIC.values() for address in addresses]
)
def test_other_addresses_are_not(address: str) -> None:
    """An address that leads anywhere but to the open Internet may not."""
    assert not PermittedAddresses().permits(address)


def test_nothing_that_python_knows_as_special_is_permitted() -> None:
    """No address is permitted that the standard library considers special."""
    chance = random.Random(1)  # noqa: S311 - the same each time
    permitted = PermittedAddresses()
    for _ in range(20_000):
        for address in (
            ipaddress.IPv4Address(chance.getrandbits(32)),
            ipaddress.IPv6Address(chance.getrandbits(125) | 1 << 125),
            ipaddress.IPv6Address(chance.getrandbits(128)),
        ):
            if permitted.permits(str(address)):
                assert address.is_global
                assert not address.is_multicast


@pytest.mark.parametrize(
    ("network", "address"),
    [
        ("127.0.0.0/8", "127.0.0.1"),
        ("127.0.0.0/8", "::ffff:127.0.0.1"),
        ("127.0.0.0/8", "::ffff:0:127.0.0.1"),
        ("127.0.0.0/8", "64:ff9b::127.0.0.1"),
        ("10.1.0.0/16", "10.1.255.255"),
        ("fd00::/8", "fd00::1"),
        ("64:ff9b::/96", "64:ff9b::808:808"),
    ],
)
def test_networks_can_be_allowed(network: str, address: str) -> None:
    """An address in an allowed network is permitted, also in its IPv6 forms."""
    assert PermittedAddresses([network]).permits(address)


@pytest.mark.parametrize(
    "address", ["10.2.0.0", "::ffff:10.2.0.0", "127.0.0.1", "::10.1.0.1", "2002:a01:1::", "::1"]
)
def test_what_is_not_in_the_allowed_network_stays_refused(address: str) -> None:
    """An exception applies only to its own network."""
    assert not PermittedAddresses(["10.1.0.0/16"]).permits(address)


def test_public_addresses_stay_permitted_beside_allowed_ones() -> None:
    """Allowed networks are exceptions, and do not replace the public ones."""
    assert PermittedAddresses(["10.1.0.0/16"]).permits("8.8.8.8")
