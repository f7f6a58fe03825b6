"""What is known about a delivery from its URL."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st
from webhooks.fake_store import delivery_to


@pytest.mark.parametrize(
    ("url", "host"),
    [
        ("http://Example.com/done", "example.com"),
        ("http://user:pass@example.com:8080?a=/b@c", "example.com:8080"),
        ("https://[2A00::1]:443/", "[2a00::1]:443"),
        ("http://example.com#/a", "example.com"),
        ("http://[broken", "[broken"),
        ("nonsense", ""),
    ],
)
def test_deliveries_of_one_receiver_have_one_host(url: str, host: str) -> None:
    """A receiver is identified by its host and port, in lower case and without the user."""
    assert delivery_to(url).host == host


@pytest.mark.parametrize(
    ("url", "owner"),
    [
        ("http://Example.com:8080/done", "example.com"),
        ("http://example.com./done", "example.com"),
        ("http://127.0.0.1:1", "127.0.0.1"),
        ("https://[2A00:1:2:3::1]:443/", "2a00:1:2:3::/64"),
        ("https://[2a00:1:2:3:4:5:6:7]/", "2a00:1:2:3::/64"),
        ("https://[::ffff:8.8.8.8]/", "8.8.8.8"),
        ("http://[broken", "broken"),
        ("nonsense", ""),
    ],
)
def test_a_clients_ports_and_addresses_have_one_owner(url: str, owner: str) -> None:
    """Whoever has a machine has all its ports, and whoever has an IPv6 address has many."""
    assert delivery_to(url, is_guarded=True).owner == owner
    assert delivery_to(url).owner == delivery_to(url).host


@pytest.mark.parametrize(
    ("is_guarded", "shown"),
    [(True, "https://example.com:8080/a/b"), (False, "https://example.com:8080")],
)
def test_the_shown_url_has_no_credentials(is_guarded: bool, shown: str) -> None:
    """Neither the user nor the query nor the fragment is shown; nor the path, if it is the app's.

    For many a chat service, the path of the URL is the credential.
    """
    url = "https://user:secret@example.com:8080/a/b?token=secret#secret"
    assert replace(delivery_to(url), is_guarded=is_guarded).shown_url == shown


@given(st.text() | st.from_regex(r"https?://\S*", fullmatch=True))
def test_no_url_is_too_odd(url: str) -> None:
    """Any URL, however malformed, can be shown, without its query."""
    for is_guarded in (False, True):
        delivery = delivery_to(url, is_guarded=is_guarded)
        assert "?" not in delivery.shown_url + delivery.host + delivery.owner
