"""Where a store keeps its values, and in which encoding."""

from dataclasses import dataclass, field
from os import PathLike
from typing import Literal, get_args

from potassium.errors import UsageError

__all__ = ["Config", "Encoding", "LocalConfig", "RedisConfig", "S3Config"]

Encoding = Literal["json", "pickle"]

HIGHEST_PORT = 65535


@dataclass(frozen=True, kw_only=True)
class LocalConfig:
    """A store in an SQLite file, which several processes of one machine may share.

    Attributes:
        path: the file, relative to the working directory; a missing folder is created. Only its
            owner can read it.
        encoding: ``"json"``, or ``"pickle"`` for values of any class. Unpickling runs code: whoever
            can write the file can run code in your server.

    Raises:
        UsageError: a value is invalid.

    """

    path: str | PathLike[str] = ".potassium/store.db"
    encoding: Encoding = "json"

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.path, str | PathLike) or self.path == "":
            raise UsageError(f"LocalConfig(path={self.path!r}): write the name of a file.")
        _check_encoding("LocalConfig", self.encoding)


@dataclass(frozen=True)
class RedisConfig:
    """A store in Redis, or in Valkey or another server that speaks its protocol.

    Attributes:
        host: the host's name or address, or the path of a Unix socket, such as
            ``"/run/redis/redis.sock"``.
        port: the port; text with digits is accepted, as environment variables have it.
        username: the user, for servers with access control lists.
        password: the password.
        db: the number of the database.
        encoding: ``"json"``, or ``"pickle"`` for values of any class.
        ssl: whether to use TLS. The server's certificate is verified.
        allow_pickle: what ``encoding="pickle"`` requires. Unpickling runs code: whoever can write
            to this Redis, or change what is read on its way, can run code in your server.

    Raises:
        UsageError: a value is invalid, or pickle is not allowed.

    """

    host: str = "localhost"
    port: int | str = 6379
    username: str | None = None
    password: str | None = field(default=None, repr=False)
    db: int = 0
    encoding: Encoding = "json"
    ssl: bool = field(default=False, kw_only=True)
    allow_pickle: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.host, str) or not self.host:
            raise UsageError(f"RedisConfig(host={self.host!r}): write a name or an address.")
        port = str(self.port)
        if not (port.isdecimal() and len(port) <= len("65535") and int(port) <= HIGHEST_PORT):
            raise UsageError(f"RedisConfig(port={self.port!r}): write a number, such as 6379.")
        if type(self.db) is not int or self.db < 0:
            raise UsageError(f"RedisConfig(db={self.db!r}): write a number, such as 0.")
        for name in ("username", "password"):
            if not isinstance(getattr(self, name), str | None):
                raise UsageError(f"RedisConfig({name}=...): write text, or None.")
        _check_encoding("RedisConfig", self.encoding)
        _check_pickle("RedisConfig", self.encoding, allowed=self.allow_pickle)


@dataclass(frozen=True)
class S3Config:
    """A store in a bucket of S3, or of another service with its API.

    Each value is an object, under its key. S3 deletes nothing by itself: set a lifecycle rule.

    Attributes:
        aws_access_key_id: the id of the access key. Without it, the credentials are those of the
            environment: ``AWS_ACCESS_KEY_ID`` and so on, or the role of the machine.
        aws_secret_access_key: the secret of the access key.
        bucket: the name of the bucket.
        encoding: ``"json"``, or ``"pickle"`` for values of any class.
        region: the region of the bucket; defaults to ``AWS_REGION``, then us-east-1.
        endpoint_url: where another service than AWS is, such as ``"http://localhost:9000"``.
        prefix: what all keys begin with, such as ``"cache/"``.
        allow_pickle: what ``encoding="pickle"`` requires. Unpickling runs code: whoever can write
            to this bucket can run code in your server.

    Raises:
        UsageError: a value is invalid, or pickle is not allowed.

    """

    aws_access_key_id: str | None = None
    aws_secret_access_key: str | None = field(default=None, repr=False)
    bucket: str = ""
    encoding: Encoding = "json"
    region: str | None = field(default=None, kw_only=True)
    endpoint_url: str | None = field(default=None, kw_only=True)
    prefix: str = field(default="", kw_only=True)
    allow_pickle: bool = field(default=False, kw_only=True)

    def __post_init__(self) -> None:
        """Check every value."""
        if not isinstance(self.bucket, str) or not self.bucket:
            raise UsageError('S3Config(bucket=...): write the name of a bucket, as in bucket="a".')
        if (self.aws_access_key_id is None) != (self.aws_secret_access_key is None):
            raise UsageError(
                "S3Config(aws_access_key_id=..., aws_secret_access_key=...): give both, or neither "
                "for the credentials of the environment."
            )
        if not isinstance(self.prefix, str):
            raise UsageError(f'S3Config(prefix={self.prefix!r}): write text, such as "cache/".')
        url = self.endpoint_url
        if url is not None and not str(url).startswith(("http://", "https://")):
            raise UsageError(f"S3Config(endpoint_url={url!r}): write an http or https URL.")
        _check_encoding("S3Config", self.encoding)
        _check_pickle("S3Config", self.encoding, allowed=self.allow_pickle)


Config = LocalConfig | RedisConfig | S3Config


def _check_encoding(config: str, encoding: object) -> None:
    if encoding not in get_args(Encoding):
        raise UsageError(f'{config}(encoding={encoding!r}): write "json" or "pickle".')


def _check_pickle(config: str, encoding: Encoding, *, allowed: object) -> None:
    if encoding == "pickle" and allowed is not True:
        raise UsageError(
            f'{config}(encoding="pickle"): whoever can write to this store could run code in your '
            'server, because unpickling runs code. encoding="json" stores arrays and tensors, too. '
            "If only programs that you trust can write to it, add allow_pickle=True."
        )
