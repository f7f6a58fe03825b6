"""Webhook URLs given by the app's own code."""

import pytest

from potassium.webhooks.model import is_http_url


@pytest.mark.parametrize(
    "url",
    [
        "http://localhost:8001",
        "https://a.test/done?x=1#y",
        "http://127.0.0.1/",
        "http://[::1]:80/",
        "HTTP://A.TEST/",
        "https://user:password@a.test/",
        "http://a.test:65535/",
    ],
)
def test_what_can_be_posted_to_is_a_url(url: str) -> None:
    """Local URLs, and those with a user, are the app's own business."""
    assert is_http_url(url)


@pytest.mark.parametrize(
    "url",
    [
        "",
        "localhost:8001",
        "a.test/done",
        "//a.test/",
        "ftp://a.test/",
        "http://",
        "http:///done",
        "http://:80/",
        "http://a.test:0/",
        "http://a.test:65536/",
        "http://a.test:port/",
        "http://[::1/",
        b"http://a.test/",
        None,
        5,
    ],
)
def test_what_cannot_be_posted_to_is_none(url: object) -> None:
    """The scheme must be http or https, there must be a host, and any port must be valid."""
    assert not is_http_url(url)
