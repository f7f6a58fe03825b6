"""How results are posted to webhook URLs."""

import base64
import ipaddress
import os
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Literal
from urllib.parse import urlsplit

from potassium.config.checks import check_count, check_seconds
from potassium.errors import UsageError

__all__ = ["Webhooks"]

SECRET_PREFIX = "whsec_"  # noqa: S105 - not a secret itself
SECRET_LENGTHS = range(24, 65)  # bytes, per the Standard Webhooks specification


@dataclass(frozen=True, kw_only=True)
class Webhooks:
    """How results are posted to webhook URLs.

    Attributes:
        secret: the secret that signs deliveries, as Standard Webhooks specifies: ``"whsec_..."``.
            Several during a rotation, the newest first.
        client_urls: let clients send a URL for a background job in ``Webhook-Url``. It must lead
            to a public address.
        allow: networks that clients' URLs may lead to nevertheless, such as ``"10.1.0.0/16"``.
        store: ``"jobs"`` to keep deliveries with the background jobs of an app that has any, so
            that they continue after a restart; None to keep them in memory.
        timeout: maximum seconds for one delivery attempt.
        per_host: maximum number of concurrent deliveries to one host; never more than there are
            places left, out of 64, for other hosts.
        max_waiting: maximum number of deliveries that are kept in memory, if they are not stored;
            counted separately for the app's own URLs and for clients' URLs. Beyond it, deliveries
            are dropped, those that have failed most often first.
        max_bytes: maximum bytes of these deliveries, counted in the same way.
        proxy: the HTTP proxy for deliveries to the app's own URLs, such as
            ``"http://proxy.example:3128"``. Deliveries to clients' URLs never use it, because it
            would connect to addresses that have not been checked. Proxies named in the environment
            are ignored.
        verify: a file of CA certificates in PEM format to trust instead of the public ones, or an
            ``ssl.SSLContext``. Environment variables such as ``SSL_CERT_FILE`` are ignored.

    Raises:
        UsageError: a value is invalid.

    """

    secret: str | Sequence[str] | None = None
    client_urls: bool = False
    allow: Sequence[str] = ()
    store: Literal["jobs"] | None = "jobs"
    timeout: float = 10.0
    per_host: int = 8
    max_waiting: int = 10_000
    max_bytes: int = 64 * 1024 * 1024
    proxy: str | None = None
    verify: str | os.PathLike[str] | ssl.SSLContext | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if type(self.client_urls) is not bool:
            raise UsageError(f"client_urls={self.client_urls!r} must be True or False.")
        if self.store not in ("jobs", None):
            raise UsageError(f'store={self.store!r} must be "jobs" or None.')
        for secret in self.secrets:
            _key_of(secret)
        for network in self.allow:
            _network(network)
        check_seconds("timeout", self.timeout)
        for name in ("per_host", "max_waiting", "max_bytes"):
            check_count(name, getattr(self, name))
        if self.proxy is not None:
            _proxy(self.proxy)
        if self.verify is not None:
            # Loaded now: the file may not be found once the working directory has changed.
            object.__setattr__(self, "verify", _trust(self.verify))

    @property
    def trust(self) -> ssl.SSLContext | None:
        """What ``verify`` says; None to trust the public certificate authorities."""
        return self.verify if isinstance(self.verify, ssl.SSLContext) else None

    @property
    def secrets(self) -> Sequence[str]:
        """The secrets, newest first."""
        if self.secret is None:
            return ()
        return (self.secret,) if isinstance(self.secret, str) else tuple(self.secret)

    @property
    def keys(self) -> Sequence[bytes]:
        """The signing keys that the secrets encode, newest first."""
        return [_key_of(secret) for secret in self.secrets]


def _key_of(secret: object) -> bytes:
    """Return the key in a Standard Webhooks secret: ``whsec_`` and 24 to 64 bytes in Base64."""
    if isinstance(secret, str) and secret.startswith(SECRET_PREFIX):
        with suppress(ValueError):
            key = base64.b64decode(secret.removeprefix(SECRET_PREFIX), validate=True)
            if len(key) in SECRET_LENGTHS:
                return key
    raise UsageError(
        "secret=...: write whsec_ and 24 to 64 random bytes in Base64. Make one with: "
        'python -c "import base64, secrets; '
        "print('whsec_' + base64.b64encode(secrets.token_bytes(32)).decode())\""
    )


def _network(network: object) -> None:
    try:
        if not isinstance(network, str):
            raise ValueError  # noqa: TRY004, TRY301 - a number would be taken for an address
        ipaddress.ip_network(network)
    except ValueError:
        raise UsageError(f'allow=[{network!r}]: write a network, such as "10.1.0.0/16".') from None


def _proxy(url: object) -> None:
    is_valid = False
    if isinstance(url, str):
        with suppress(ValueError):  # an invalid port or IPv6 address
            parts = urlsplit(url)
            is_valid = (
                parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
            )
    if not is_valid:
        raise UsageError(  # without the URL, which may hold a password
            'proxy=...: write the URL of an HTTP proxy, such as "http://proxy.example:3128".'
        )


def _trust(given: object) -> ssl.SSLContext:
    if isinstance(given, ssl.SSLContext):
        return given
    if not isinstance(given, str | os.PathLike):
        raise UsageError(
            f"verify={given!r} must be a file of CA certificates, or an ssl.SSLContext."
        )
    try:
        return ssl.create_default_context(cafile=os.fspath(given))
    except (OSError, ValueError) as error:  # ssl.SSLError is an OSError
        raise UsageError(
            f"verify={os.fspath(given)!r} is not a file of CA certificates in PEM format: {error}"
        ) from error
