"""URLs that the app's own code gives."""

from urllib.parse import urlsplit

__all__ = ["is_http_url"]


def is_http_url(url: object) -> bool:
    """Return whether ``url`` is one of http or https, with a host."""
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:  # a port or an IPv6 address that cannot be
        return False
