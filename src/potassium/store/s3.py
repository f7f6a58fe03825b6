"""Values in S3."""

import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from potassium.errors import UsageError
from potassium.store.config import S3Config

if TYPE_CHECKING:
    from obstore.store import S3Store

__all__ = ["S3Backend"]

THREADS = 16  # requests at a time, at most
NO_BUCKET = "NoSuchBucket"  # the code of an error that has the status of a missing object, too
EXPIRES = "potassium-expires"  # of an object's metadata: seconds since 1970


class S3Backend:
    """Keeps each value as an object, and the time at which it expires in its metadata.

    S3 has no expiry of single objects. One that has expired counts as missing, and is emptied when
    somebody asks for it: only if it is still the same, so that what another process writes at that
    moment is not lost.

    Args:
        config: where the bucket is.
        timeout: seconds for each request, and for all attempts at one.
        clock: returns seconds since 1970.

    Raises:
        ImportError: its client is not installed.

    """

    threads = THREADS

    def __init__(
        self, config: S3Config, timeout: float, clock: Callable[[], float] = time.time
    ) -> None:
        from obstore import exceptions  # noqa: PLC0415 - only for apps that use it

        self.faults: tuple[type[Exception], ...] = (exceptions.BaseError, OSError)
        self.place = f"the bucket {config.bucket}"
        self._config = config
        self._timeout = timedelta(seconds=timeout)
        self._clock = clock
        self._bucket: S3Store | None = None

    def get(self, key: str) -> bytes | None:
        """Return what is kept under ``key``; None if there is nothing, or it has expired."""
        import obstore  # noqa: PLC0415 - as above

        bucket, path = self._open(), self._path(key)
        try:
            found = obstore.get(bucket, path)
        except FileNotFoundError as error:
            if NO_BUCKET in str(error):
                raise
            return None
        expires = found.attributes.get(EXPIRES)
        if expires is None or float(expires) > self._clock():
            return bytes(found.bytes())
        etag = found.meta["e_tag"]
        if found.meta["size"] and etag is not None:
            with suppress(*self.faults):  # not every service can do it
                empty = {EXPIRES: expires}
                obstore.put(bucket, path, b"", attributes=empty, mode={"e_tag": etag})
        return None

    def set(self, key: str, data: bytes, ttl: float | None) -> None:
        """Keep ``data`` as an object."""
        import obstore  # noqa: PLC0415 - as above

        path, kept = self._path(key), {}
        if ttl is not None:
            kept[EXPIRES] = repr(self._clock() + ttl)
        obstore.put(self._open(), path, data, attributes=kept, use_multipart=False)

    def delete(self, key: str) -> None:
        """Delete what is kept under ``key``, if there is anything."""
        import obstore  # noqa: PLC0415 - as above

        with suppress(FileNotFoundError):
            obstore.delete(self._open(), self._path(key))

    def close(self) -> None:
        """Forget the connections."""
        self._bucket = None

    def _open(self) -> "S3Store":
        if self._bucket is None:
            from obstore.store import S3Store  # noqa: PLC0415 - as above

            config = self._config
            options = {
                "access_key_id": config.aws_access_key_id,
                "secret_access_key": config.aws_secret_access_key,
                "region": config.region,
                "endpoint": config.endpoint_url,
            }
            given: Any = {name: value for name, value in options.items() if value is not None}
            self._bucket = S3Store(
                config.bucket,
                client_options={
                    "timeout": self._timeout,
                    "connect_timeout": self._timeout,
                    "allow_http": (config.endpoint_url or "").startswith("http://"),
                },
                retry_config={"max_retries": 2, "retry_timeout": self._timeout},
                **given,
            )
        return self._bucket

    def _path(self, key: str) -> str:
        """Return the name of the object of ``key``.

        Raises:
            UsageError: S3 has no such name, or the client would take it for another one.

        """
        path = self._config.prefix + key
        is_path = all(part not in ("", ".", "..") for part in path.split("/"))
        if not is_path or not path.isprintable():
            raise UsageError(
                'store: keys in S3 must be printable, and not begin or end with "/", nor have '
                '"//", "/./" or "/../" in them.'
            )
        return path
