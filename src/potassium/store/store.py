"""``Store``: values that outlive a call."""

import asyncio
import logging
import os
import time
from collections.abc import Callable
from importlib.util import find_spec
from typing import Any, Literal

from potassium.config import check_count, check_seconds
from potassium.errors import UsageError
from potassium.store.backend import Backend
from potassium.store.bounded import Bounded
from potassium.store.config import Config, LocalConfig, RedisConfig, S3Config
from potassium.store.encoding import from_bytes, to_bytes

__all__ = ["Store"]

Name = Literal["local", "redis", "s3"]

LONGEST_KEY = 1024  # bytes in UTF-8, as in S3
LONGEST_TTL = 100 * 366 * 24 * 60 * 60  # seconds; "for ever" is None
DEFAULT_TTL = 600.0

CONFIGS: dict[str, type[Config]] = {"local": LocalConfig, "redis": RedisConfig, "s3": S3Config}
CLIENTS = {"redis": "redis", "s3": "obstore"}  # the library of each
EXAMPLES = {
    "local": 'Store(config=LocalConfig(path="store.db"))',
    "redis": 'Store(backend="redis", config=RedisConfig(host="localhost", port=6379))',
    "s3": 'Store(backend="s3", config=S3Config(bucket="name"))',
}

logger = logging.getLogger("potassium")


class Store:
    """Keeps values between calls, and between servers that share it.

    ::

        store = Store(backend="redis", config=RedisConfig(host="localhost", port=6379))
        store.set("greeting", {"text": "hello"}, ttl=60)
        store.get("greeting")

    Constructing one does no I/O, so it may be done when the app is imported. It may be used on any
    thread, and in a process that was forked; with S3, only if it had not been used before. In async
    code, use the methods that begin with ``a``: the others block the event loop.

    Args:
        backend: ``"local"`` for an SQLite file, ``"redis"`` or ``"s3"``; defaults to that of
            ``config``, then to ``"local"``.
        config: a ``LocalConfig``, ``RedisConfig`` or ``S3Config``.
        timeout: seconds after which an operation is given up.
        max_size: maximum bytes of a value, in its encoding.
        clock: returns seconds since 1970, for what expires; Redis has its own.

    Raises:
        UsageError: an option is invalid, or the library of the backend is not installed.

    """

    def __init__(
        self,
        backend: Name | None = None,
        config: Config | None = None,
        *,
        timeout: float = 5.0,
        max_size: int = 64 * 1024 * 1024,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._config = _config_of(backend, config)
        check_seconds("Store(timeout)", timeout)
        check_count("Store(max_size)", max_size)
        self._timeout = float(timeout)
        self._max_size = max_size
        self._clock = clock
        self._by_process: dict[int, Bounded] = {}  # a fork has only its own connections
        self._has_told = False

    def get(self, key: str) -> Any:
        """Return the value of ``key``; None if there is none, or it has expired.

        Blocks, for ``timeout`` seconds at most.

        Raises:
            StoreUnavailable: the backend does not answer in time, or refuses. A handler that lets
                it pass is answered with 503 ``store_unavailable``.
            UsageError: the key is invalid, or something else than a store has written the value.

        """
        self._tell_loop("get")
        _check_key(key)
        data = self._open().run(lambda backend: backend.get(key))
        return None if data is None else from_bytes(data, self._config.encoding)

    def set(self, key: str, value: Any, ttl: float | None = DEFAULT_TTL) -> None:
        """Keep ``value`` under ``key`` for ``ttl`` seconds, or, with None, until it is deleted.

        Blocks, for ``timeout`` seconds at most.

        Raises:
            StoreUnavailable: the backend does not answer in time, or refuses. The value may have
                been kept all the same.
            UsageError: the key or the ttl is invalid, or the value is too large or of a type that
                cannot be kept.

        """
        self._tell_loop("set")
        _check_key(key)
        ttl = _checked_ttl(ttl)
        data = self._encoded(value)
        self._open().run(lambda backend: backend.set(key, data, ttl))

    def delete(self, key: str) -> None:
        """Delete the value of ``key``, if there is one; blocks and raises as ``get`` does."""
        self._tell_loop("delete")
        _check_key(key)
        self._open().run(lambda backend: backend.delete(key))

    async def aget(self, key: str) -> Any:
        """Do the same as ``get``, without blocking the event loop."""
        _check_key(key)

        def read(backend: Backend) -> Any:
            data = backend.get(key)
            return None if data is None else from_bytes(data, self._config.encoding)

        return await self._open().run_async(read)

    async def aset(self, key: str, value: Any, ttl: float | None = DEFAULT_TTL) -> None:
        """Do the same as ``set``, without blocking the event loop.

        If it is cancelled, the value may have been kept.
        """
        _check_key(key)
        ttl = _checked_ttl(ttl)
        await self._open().run_async(lambda backend: backend.set(key, self._encoded(value), ttl))

    async def adelete(self, key: str) -> None:
        """Do the same as ``delete``, without blocking the event loop."""
        _check_key(key)
        await self._open().run_async(lambda backend: backend.delete(key))

    def close(self) -> None:
        """Disconnect once what is under way has ended; the next operation connects again."""
        opened = self._by_process.pop(os.getpid(), None)
        if opened is not None:
            opened.close()

    def _open(self) -> Bounded:
        opened = self._by_process.get(os.getpid())
        if opened is None:
            if self._by_process and isinstance(self._config, S3Config):
                raise UsageError(
                    "This process was forked from one that had used the store in S3, whose client "
                    "does not survive that. Use the store only after the fork, or start processes "
                    'with multiprocessing.get_context("spawn").'
                )
            # Two threads may make one at a time. It holds nothing before it is used.
            made = Bounded(self._backend(), self._timeout)
            opened = self._by_process.setdefault(os.getpid(), made)
        return opened

    def _backend(self) -> Backend:
        config = self._config
        if isinstance(config, LocalConfig):
            from potassium.store.sqlite import SqliteBackend  # noqa: PLC0415 - only what is used

            return SqliteBackend(config, self._timeout, self._clock)
        if isinstance(config, RedisConfig):
            from potassium.store.redis import RedisBackend  # noqa: PLC0415

            return RedisBackend(config, self._timeout)
        from potassium.store.s3 import S3Backend  # noqa: PLC0415

        return S3Backend(config, self._timeout, self._clock)

    def _encoded(self, value: Any) -> bytes:
        data = to_bytes(value, self._config.encoding)
        if len(data) > self._max_size:
            raise UsageError(
                f"store.set(): the value has {len(data)} bytes, and Store(max_size=...) allows "
                f"{self._max_size}."
            )
        return data

    def _tell_loop(self, method: str) -> None:
        """Say once that a method blocks the event loop, if it is called there."""
        if self._has_told:
            return
        try:
            asyncio.get_running_loop()
        except RuntimeError:
            return
        self._has_told = True
        logger.warning(
            "store.%s() was called in async code, where it blocks all other calls until the store "
            "answers: write await store.a%s(...). This is said once",
            method,
            method,
        )


def _config_of(backend: Name | None, config: Config | None) -> Config:
    """Return ``config``, or the default one.

    Raises:
        UsageError: it is not one, not that of ``backend``, or a library is missing.

    """
    if backend is None:
        found = (name for name, kind in CONFIGS.items() if isinstance(config, kind))
        name = "local" if config is None else next(found, "")
    else:
        name = backend
    if name not in CONFIGS:
        shown = f"backend={backend!r}" if config is None else f"config={config!r}"
        raise UsageError(f"Store({shown}): write {', '.join(EXAMPLES.values())}, or Store().")
    if name == "local" and config is None:
        return LocalConfig()
    if config is None or not isinstance(config, CONFIGS[name]):
        raise UsageError(f"Store(backend={name!r}, ...): write {EXAMPLES[name]}.")
    client = CLIENTS.get(name)
    if client is not None and find_spec(client) is None:
        raise UsageError(f'Store(backend={name!r}) needs {client}: pip install "potassium[{name}]"')
    return config


def _check_key(key: object) -> None:
    """Raise UsageError unless ``key`` can be the key of a value in every backend."""
    if not isinstance(key, str) or not key:
        raise UsageError(f"store: a key is text, and not empty; not {type(key).__name__}.")
    try:
        size = len(key.encode())
    except UnicodeEncodeError:
        raise UsageError("store: the key is not valid text: half of a surrogate pair.") from None
    if size > LONGEST_KEY:
        raise UsageError(f"store: the key has {size} bytes; it may have {LONGEST_KEY}. Hash it.")
    if "\0" in key:
        raise UsageError("store: the key has a character that no backend takes: NUL.")


def _checked_ttl(ttl: object) -> float | None:
    if ttl is None:
        return None
    check_seconds("store.set(ttl)", ttl)
    assert isinstance(ttl, int | float)  # noqa: S101 - checked
    if ttl > LONGEST_TTL:
        raise UsageError(f"store.set(ttl={ttl!r}): at most 100 years; for ever is ttl=None.")
    return float(ttl)
