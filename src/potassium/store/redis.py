"""Values in Redis."""

from typing import Any

from potassium.store.config import RedisConfig

__all__ = ["RedisBackend"]

THREADS = 16  # connections, at most


class RedisBackend:
    """Keeps values under their keys as they are, and lets Redis expire them.

    Args:
        config: where the server is.
        timeout: seconds for connecting, and for each read and write.

    Raises:
        ImportError: its client is not installed.

    """

    threads = THREADS

    def __init__(self, config: RedisConfig, timeout: float) -> None:
        # Here, not above: only for apps that use it.
        from redis import Redis, exceptions  # noqa: PLC0415
        from redis.backoff import NoBackoff  # noqa: PLC0415
        from redis.retry import Retry  # noqa: PLC0415

        self.faults: tuple[type[Exception], ...] = (exceptions.RedisError, OSError)
        is_path = config.host.startswith("/")
        self.place = f"Redis at {config.host}" + ("" if is_path else f":{config.port}")
        # A connection that the server has closed meanwhile is replaced; what was sent over it does
        # no harm if it is sent again.
        again = Retry(NoBackoff(), 1, (exceptions.ConnectionError,))
        where: dict[str, Any] = (
            {"unix_socket_path": config.host}
            if is_path
            else {"host": config.host, "port": int(config.port), "ssl": config.ssl}
        )
        self._client = Redis(
            **where,
            username=config.username,
            password=config.password,
            db=config.db,
            protocol=2,  # which all servers and proxies speak
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=again,
        )

    def get(self, key: str) -> bytes | None:
        """Return what is kept under ``key``; None if there is nothing, or it has expired."""
        found = self._client.get(key)
        return None if found is None else bytes(found)  # type: ignore[arg-type]

    def set(self, key: str, data: bytes, ttl: float | None) -> None:
        """Keep ``data``; Redis counts in milliseconds."""
        self._client.set(key, data, px=None if ttl is None else max(round(ttl * 1000), 1))

    def delete(self, key: str) -> None:
        """Delete what is kept under ``key``, if there is anything."""
        self._client.delete(key)

    def close(self) -> None:
        """Disconnect."""
        self._client.close()
