"""``ApiKeys``: who may call an app, and whose jobs are whose."""

import hashlib
import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field

from potassium.errors import UsageError

__all__ = ["ApiKeys", "digest_of", "keys_of"]

HASH = re.compile(r"sha256:([0-9a-fA-F]{64})")
NAME = re.compile(r"[A-Za-z0-9][\w.@-]{0,63}", re.ASCII)


@dataclass(frozen=True)
class ApiKeys:
    """The API keys of an app: ``ApiKeys({"shop": "a-key", "lab": ["old-key", "new-key"]})``.

    Instead of a key, its SHA-256 may be given: ``"sha256:"`` and 64 hexadecimal digits. Keys must
    be long and random then, so that nobody can guess one that has this hash.

    Attributes:
        keys: the keys by the names of their owners, which appear in the job store; several for one
            owner during a rotation. Or a list of keys, each of which is an owner of its own.
        open_paths: paths that need no key, for any method; in addition to health, readiness and
            warm-up.
        tenants: whether background jobs and idempotency keys belong to the owner whose key
            submitted them: for all others, they do not exist. By default, if there is more than
            one owner.

    Raises:
        UsageError: a value is invalid.

    """

    keys: Mapping[str, str | Sequence[str]] | Iterable[str] = field(repr=False)
    _: KW_ONLY
    open_paths: Sequence[str] = ()
    tenants: bool | None = None

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.keys, Mapping):
            if isinstance(self.keys, str) or not isinstance(self.keys, Iterable):
                raise UsageError("api_keys must be a list of keys, or a dict of them by name.")
            object.__setattr__(self, "keys", tuple(self.keys))
        if not self.owners:
            raise UsageError("ApiKeys([]): there is no key; for an app without, api_keys=[].")
        if isinstance(self.open_paths, str):
            raise UsageError("open_paths must be a list of paths, not one string.")
        for path in self.open_paths:
            if not isinstance(path, str) or not path.startswith("/"):
                raise UsageError(f'open_paths=[{path!r}]: write a path, such as "/docs".')
        if type(self.tenants) not in (bool, type(None)):
            raise UsageError(f"tenants={self.tenants!r} must be True or False.")

    @property
    def owners(self) -> Mapping[bytes, str]:
        """The owner of each key, by the key's SHA-256.

        The name of one without a name is a hash of that hash, so that it reveals no key.
        """
        owners: dict[bytes, str] = {}
        for name, key in self._named():
            given = HASH.fullmatch(_checked(key))
            digest = bytes.fromhex(given[1]) if given else digest_of(key.encode())
            owner = name or hashlib.sha256(b"potassium owner" + digest).hexdigest()[:16]
            if owners.setdefault(digest, owner) != owner:
                raise UsageError(f"api_keys: {owner} and {owners[digest]} have the same key.")
        return owners

    @property
    def have_tenants(self) -> bool:
        """Whether jobs belong to owners."""
        return len(set(self.owners.values())) > 1 if self.tenants is None else self.tenants

    def _named(self) -> Iterable[tuple[str, str]]:
        if not isinstance(self.keys, Mapping):
            return [("", key) for key in self.keys]
        named = []
        for name, keys in self.keys.items():
            if not isinstance(name, str) or not NAME.fullmatch(name):
                raise UsageError(f"api_keys: {name!r} must be a name of letters and digits.")
            several = [keys] if isinstance(keys, str) or not isinstance(keys, Iterable) else keys
            named += [(name, key) for key in several]
        return named


def keys_of(
    given: ApiKeys | Mapping[str, str | Sequence[str]] | Iterable[str] | None,
) -> ApiKeys | None:
    """Return the keys that an app was given, by default in ``POTASSIUM_API_KEYS``.

    Returns None if there are none on purpose: an empty list, or no variable.

    Raises:
        UsageError: they are invalid.

    """
    if given is None:
        given = _from_environment()
    if isinstance(given, ApiKeys):
        return given
    if isinstance(given, Iterable) and not isinstance(given, str | Mapping):
        given = list(given)
    return None if given in ([], {}) else ApiKeys(given)


def _from_environment() -> list[str]:
    value = os.environ.get("POTASSIUM_API_KEYS", "")
    keys = [key.strip() for key in value.split(",") if key.strip()]
    if value and not keys:
        raise UsageError(
            "POTASSIUM_API_KEYS is set, but contains no key: write keys separated by commas, or "
            "unset it to serve everybody."
        )
    return keys


def digest_of(key: bytes) -> bytes:
    """Return a hash of a key; hashes have equal lengths, so comparing them reveals no length."""
    return hashlib.sha256(key).digest()


def _checked(key: object) -> str:
    """Return a key that can be sent in a header; the errors do not show it."""
    if not isinstance(key, str) or not key or not key.isascii() or not key.isprintable():
        raise UsageError("api_keys: a key must be a string of printable ASCII characters.")
    if key != key.strip():
        raise UsageError("api_keys: a key must not begin or end with whitespace.")
    if key.startswith("sha256:") and not HASH.fullmatch(key):
        raise UsageError("api_keys: after sha256: come 64 hexadecimal digits, the key's SHA-256.")
    return key
